"""A source that could give 1,000,000 records/s, and a sink that takes 10,000/s, one by one.

The sink checks that every record comes, once and in order, and prints how many came. Argument: how
long to run, in seconds.
"""

import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import millstream as ms

RATE = 10_000  # records/s


class Paced(ms.Sink[dict[str, Any]]):
    """Takes records at its rate, however they are handed over."""

    def __init__(self) -> None:
        self.taken = 0
        self.began_s = 0.0

    def invoke(self, value: dict[str, Any], ctx: ms.SinkContext) -> None:
        assert value["n"] == self.taken, f"expected {self.taken}, got {value}"
        if not self.taken:
            self.began_s = time.monotonic()
            print("taking", flush=True)
        self.taken += 1
        ahead_s = self.began_s + self.taken / RATE - time.monotonic()
        if ahead_s > 0.002:
            time.sleep(ahead_s)

    def close(self) -> None:
        print("taken", self.taken, flush=True)


def source(position: Any) -> Iterator[tuple[list[dict[str, Any]], int]]:
    start = 0
    while True:
        yield [{"n": n, "text": "x" * 100} for n in range(start, start + 1000)], start + 1000
        start += 1000


if __name__ == "__main__":
    job = ms.Job("slow sink")
    job.source(source, uid="in", boundedness=ms.Boundedness.UNBOUNDED).sink(Paced(), uid="out")
    execution = ms.start(job)
    threading.Timer(float(sys.argv[1]), execution.cancel).start()
    print(execution.wait().report(), flush=True)
