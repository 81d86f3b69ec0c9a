"""A job that stands where ``PLACE`` says when it is told to end; it prints "there" when it does."""

import asyncio
import os
import select
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import millstream as ms

PLACE = os.environ["PLACE"]


def there() -> None:
    print("there", flush=True)


def stand_still() -> None:
    """Block in a call that nothing but the end of the process ends."""
    there()
    while True:
        select.select([], [], [], 3600)


class Sink(ms.Sink[int]):
    def stand_at(self, place: str) -> None:
        if place == PLACE:
            stand_still()

    def open(self, ctx: ms.SinkContext) -> None:
        self.stand_at("opening")

    def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        if PLACE in ("working", "closing", "failing"):
            there() if value == 0 else time.sleep(0.001)
        if PLACE == "failing":
            raise ValueError("the sink's own failure")
        self.stand_at("sink")

    def flush(self) -> None:
        self.stand_at("flushing")

    def finish(self) -> None:
        self.stand_at("finishing")

    def close(self) -> None:
        self.stand_at("closing")


class Process(ms.KeyedProcessFunction[int, int]):
    def process_element(self, value: int, ctx: ms.ProcessContext[int]) -> None:
        ctx.collect(value)

    def close(self) -> None:
        stand_still()


def numbers(position: Any) -> Iterator[tuple[list[int], int]]:
    yield [0, 1, 2], 3
    if PLACE in ("source", "failing"):
        there() if PLACE == "source" else None
        while True:
            select.select([], [], [], 3600)
    while PLACE not in ("flushing", "finishing", "process closing"):
        yield [3], 4


async def numbers_async(position: Any) -> AsyncIterator[tuple[list[int], int]]:
    yield [0, 1, 2], 3
    there()
    await asyncio.sleep(3600)


def in_engine(n: int) -> int:
    if PLACE == "engine" and n == 1:
        stand_still()
    return n


async def on_the_loop(n: int) -> int:
    if n == 1:
        if PLACE == "loop":
            stand_still()
        elif PLACE == "to_thread":
            await asyncio.to_thread(stand_still)
        elif PLACE == "deaf":
            there()
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    continue
        else:
            there()
            await asyncio.sleep(3600)
    return n


job = ms.Job(PLACE, engine=ms.EngineSettings(grace=os.environ.get("GRACE", "1s")))
stream: ms.Stream[int] = (
    job.source(numbers_async, uid="in")
    if PLACE == "async source"
    else job.source(numbers, uid="in")
)
stream = stream.map(in_engine, uid="op")
if PLACE in ("loop", "to_thread", "deaf", "waiting calls"):
    stream = stream.map_async(on_the_loop, uid="async")
if PLACE == "process closing":
    stream = stream.key_by(lambda n: n).process(Process(), uid="process")
if PLACE == "threads of its own":

    def with_a_thread(value: int) -> int:
        if value == 0:
            threading.Thread(target=stand_still, name="its own", daemon=False).start()
        return value

    stream = stream.map(with_a_thread)
stream.sink(Sink(), uid="out")

if __name__ == "__main__":
    ms.main(job)
