"""A job that waits for input that does not come. Argument: simple, or everything."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import millstream as ms
from millstream.control.wiring import plan
from millstream.core.ports import SystemClock, ThreadSpawner
from millstream.engine.run import JobRun
from millstream.engine.supervisor import Supervisor
from millstream.operators.program import Program
from millstream.runtime.state.memory import MemoryStateBackend

HOUR_S = 3600


def quiet(position: Any) -> Iterator[tuple[list[int], int]]:
    yield list(range(1000)), 1000
    time.sleep(HOUR_S)


async def quiet_async(position: Any) -> AsyncIterator[tuple[list[int], int]]:
    yield list(range(1000)), 1000
    await asyncio.sleep(HOUR_S)


async def same(n: int) -> int:
    return n


def simple() -> ms.Job:
    job = ms.Job("idle")
    stream = job.source(quiet, uid="in", boundedness=ms.Boundedness.UNBOUNDED)
    stream.map(lambda n: n).sink(ms.blackhole.sink(), uid="out")
    return job


def everything() -> ms.Job:
    job = ms.Job("idle")
    stream = job.source(quiet, uid="in", boundedness=ms.Boundedness.UNBOUNDED)
    other = job.source(quiet_async, uid="other in", boundedness=ms.Boundedness.UNBOUNDED)
    both = stream.union(other, uid="both").map_async(same, uid="async")
    both.key_by(lambda n: n % 10).aggregate(ms.count(), uid="n").sink(same, uid="out")
    both.sink(ms.blackhole.sink(), uid="other out")
    return job


if __name__ == "__main__":
    job = {"simple": simple, "everything": everything}[sys.argv[1]]()
    clock = SystemClock()
    run = JobRun(
        Program(plan(job), job.stream_graph.definitions()),
        job.engine,
        clock=clock,
        spawner=ThreadSpawner(),
        states=MemoryStateBackend(),
    )
    # A timer that is not due for long must not make the engine look at the clock all the time.
    run.dispatcher.call_at(clock.monotonic_ns() + HOUR_S * 1_000_000_000, lambda: None)
    run.start()
    print("waiting", flush=True)
    Supervisor(run, job.engine, clock).wait()
