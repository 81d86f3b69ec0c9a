"""A job inside whose engine one chunk is lost, or doubled, on purpose: ``FAULT`` says which."""

import os
from typing import Any

import millstream as ms
from millstream.core.element import Chunk
from millstream.engine.channel import Inlet

COPIES = {"lost": 0, "doubled": 2, "none": 1}[os.environ["FAULT"]]

take = Inlet.on_next
chunks = 0


def take_wrongly(self: Inlet, chunk: Chunk) -> None:
    global chunks  # noqa: PLW0603  # a program of one run
    chunks += 1
    copies = COPIES if chunks == 12 else 1
    for _ in range(copies):
        take(self, chunk)
    if not copies:
        self.outstanding -= len(chunk)  # or what is missing would be waited for


Inlet.on_next = take_wrongly  # type: ignore[method-assign]

job = ms.Job("counted")
numbers: ms.Stream[Any] = job.source(ms.sequence.source(20_000), uid="in")
numbers.map(lambda n: {"n": n}, uid="op").sink(ms.jsonl.sink("out.jsonl"), uid="out")

if __name__ == "__main__":
    ms.main(job)
