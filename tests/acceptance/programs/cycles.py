"""A job whose records form reference cycles, under a memory guard of little more than it has.

Arguments: manage_gc (1 or 0), and how many records. It prints the most memory it had, in MB.
"""

import sys
import time
from collections.abc import Iterator
from typing import Any

import millstream as ms
from millstream.engine.gc_policy import memory_limit_bytes, resident_bytes

RECORD_BYTES = 10_000
ALLOWED_MB = 60  # above what the process has at its start


class Cyclic:
    def __init__(self, n: int) -> None:
        self.n = n
        self.payload = bytes(RECORD_BYTES)
        self.self = self


def source(position: Any) -> Iterator[tuple[list[int], int]]:
    count = int(sys.argv[2])
    for start in range(0, count, 1000):
        yield list(range(start, start + 1000)), start + 1000
        time.sleep(0.05)  # 200 MB/s at most: the guard looks twice a second


most = 0


def look(n: int) -> None:
    global most  # noqa: PLW0603  # a program of one run
    if n % 1000 == 0:
        most = max(most, resident_bytes())


if __name__ == "__main__":
    share = (resident_bytes() + ALLOWED_MB * 1_000_000) / memory_limit_bytes()
    engine = ms.EngineSettings(manage_gc=sys.argv[1] == "1", memory_share=share)
    job = ms.Job("cycles", engine=engine)
    before = resident_bytes()
    job.source(source, uid="in").map(Cyclic).map(lambda c: c.n).sink(look, uid="out")
    ms.run(job)
    print((most - before) // 1_000_000)
