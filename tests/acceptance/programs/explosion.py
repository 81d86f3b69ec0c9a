"""One record that becomes 10,000,000, consumed slowly. Argument: by a generator, or by a range."""

import sys
import time
from collections.abc import Iterator
from typing import Any

import millstream as ms

RECORDS = 10_000_000


def generate(n: int) -> Iterator[dict[str, int]]:
    for number in range(RECORDS):
        yield {"n": number}


def return_range(n: int) -> range:
    return range(RECORDS)


class Slow(ms.Sink[Any]):
    def __init__(self) -> None:
        self.taken = 0

    def invoke(self, value: Any, ctx: ms.SinkContext) -> None:
        if not self.taken:
            print("taking", flush=True)
        self.taken += 1
        if self.taken % 100 == 0:
            time.sleep(0.01)


if __name__ == "__main__":
    job = ms.Job("explosion")
    function: Any = {"generator": generate, "range": return_range}[sys.argv[1]]
    job.source(ms.collection.source([1]), uid="in").flat_map(function).sink(Slow(), uid="out")
    ms.run(job)
