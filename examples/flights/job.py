"""Flights from New York City in 2013: the mean delay of each carrier, and what never arrived."""

import os

import msgspec

import millstream as ms
from data import FLIGHTS
from paced import Paced

RESULT = FLIGHTS.with_name("mean_delay.jsonl")
NEVER_ARRIVED = FLIGHTS.with_name("never_arrived")  # a folder of parts
RATE = float(os.environ.get("FLIGHTS_PER_SECOND", "0"))  # 0: as fast as it goes


class Flight(msgspec.Struct):
    """The columns to read; the file has 19, and writes NA for what is not known."""

    carrier: str
    origin: str
    dep_delay: float | None
    arr_delay: float | None
    distance: int


source = ms.csv.source(FLIGHTS, type=Flight, null_values=("NA", ""))

job = ms.Job("flights", checkpoint_interval="1s")
flights = job.source(Paced(source, RATE) if RATE else source, uid="flights")
per_carrier = (
    flights.filter(ms.col("arr_delay").is_not_null())  # cancelled and diverted flights have none
    .key_by("carrier")
    .aggregate(
        mean_delay=ms.mean("arr_delay"),
        flights=ms.count(),
        emit="final",
        uid="per_carrier",
    )
)
per_carrier.sink(
    ms.console.sink(format="table", title="Mean arrival delay by carrier, minutes"),
    uid="screen",
)
per_carrier.sink(ms.jsonl.sink(RESULT), uid="file")  # appears at the end
flights.filter(ms.col("arr_delay").is_null()).sink(
    ms.jsonl.sink(folder=NEVER_ARRIVED),  # a part appears with each checkpoint
    uid="never_arrived",
)

if __name__ == "__main__":
    ms.main(job)
