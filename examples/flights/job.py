"""The mean arrival delay of each carrier, from all flights that left New York City in 2013."""

import msgspec

import millstream as ms
from data import FLIGHTS

RESULT = FLIGHTS.with_name("mean_delay.jsonl")


class Flight(msgspec.Struct):
    """The columns to read; the file has 19, and writes NA for what is not known."""

    carrier: str
    origin: str
    dep_delay: float | None
    arr_delay: float | None
    distance: int


job = ms.Job("flights")
flights = job.source(
    ms.csv.source(FLIGHTS, type=Flight, null_values=("NA", "")),
    uid="flights",
)
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
per_carrier.sink(ms.jsonl.sink(RESULT), uid="file")

if __name__ == "__main__":
    ms.main(job)
