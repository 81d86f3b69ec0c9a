"""Processes that use one metadata store: at once, killed in the middle, or for their modules.

metadata.py open|acquire|die|start TARGET
"""

from __future__ import annotations

import importlib
import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect

from millstream.storage.metadata.address import parse_address
from millstream.storage.metadata.store import open_metadata

importlib.import_module("millstream.storage.metadata.migration")  # once, for all that are forked

PROCESSES = 8
TARGET = sys.argv[2] if "://" in sys.argv[2] else Path(sys.argv[2])


def at_once(work: Callable[[int], str]) -> None:
    """Print what the work gives or raises in each of several processes that begin together."""
    forks = multiprocessing.get_context("fork")
    barrier, results = forks.Barrier(PROCESSES), forks.Queue()

    def run(number: int) -> None:
        barrier.wait()
        try:
            results.put(work(number))
        except Exception as error:  # noqa: BLE001  # the test looks at them
            results.put(f"{type(error).__name__}: {error}")

    processes = [forks.Process(target=run, args=[number]) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    for _ in processes:
        print(results.get())
    for process in processes:
        process.join()


def open_(_: int) -> str:
    with open_metadata(TARGET) as store:
        return f"opened {store.jobs.get('none')}"


def acquire(number: int) -> str:
    with open_metadata(TARGET) as store:
        job = store.jobs.get("orders")
        assert job
        lease = store.leases.acquire(job.id, f"process-{number}", duration_s=60)
        return f"won by {lease.owner} in epoch {lease.epoch}"


def die() -> None:
    """Kill a process that opens a new store at each of its statements, and print what is left."""
    for point in itertools.count(1):
        child = os.fork()
        if not child:
            die_at(point)
            open_metadata(TARGET).close()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        print(f"{'killed' if killed else f'ended with {status}'}: {tables()} tables", flush=True)
        if not killed:
            break


def die_at(point: int) -> None:
    """End this process at the n-th of its statements and commits, before it takes effect."""
    counted = itertools.count(1)

    def count(*_: Any) -> None:
        if next(counted) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", count)
    event.listen(Engine, "commit", count)


def tables() -> int:
    engine = create_engine(parse_address(TARGET))
    found = inspect(engine).get_table_names()
    engine.dispose()
    return len(found)


if __name__ == "__main__":
    match sys.argv[1]:
        case "open":
            at_once(open_)
        case "acquire":
            at_once(acquire)
        case "die":
            die()
