"""Records of a megabyte, made as fast as they are taken, before a sink that takes 50 a second.

Arguments: the form of the source, and how many records. Prints by how many MB the process grew.
"""

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import millstream as ms

MB = 1_000_000


def batches(position: Any) -> Iterator[tuple[list[bytes], int]]:
    for n in range(position or 0, int(sys.argv[2])):
        yield [b"x" * MB], n + 1


class Collecting(ms.Source[bytes]):
    def run(self, ctx: ms.SourceContext[bytes]) -> None:
        for _ in range(int(sys.argv[2])):
            ctx.collect(b"x" * MB)


def slow(record: bytes) -> None:
    time.sleep(0.02)


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / MB


def main() -> None:
    job = ms.Job("large records")
    source: Any = batches if sys.argv[1] == "batches" else Collecting()
    big = job.source(source, uid="in").filter(lambda record: len(record) > 0)
    parts = big.split(lambda record: "a" if record else "b", "a", "b")
    parts["a"].sink(slow, uid="out")
    parts["b"].sink(slow, uid="never")
    before, most, ended = resident_mb(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.01):
            most = max(most, resident_mb())

    watching = threading.Thread(target=watch)
    watching.start()
    ms.run(job)
    ended.set()
    watching.join()
    print(round(most - before))


if __name__ == "__main__":
    main()
