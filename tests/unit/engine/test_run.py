"""A run inside a program: its threads and files, next to others, again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from tests.support.stepping import wait_until
from tests.unit.engine.driving import Begun, drop, never_ending, numbers, threads

THOUSAND = numbers(1000)


async def same(n: int) -> int:
    return n


def all_kinds(results: list[Any], source: Any = THOUSAND) -> ms.Job:
    """Return a job with an operator of every kind, and threads of every kind."""
    job = ms.Job("all kinds")
    other = job.source(numbers(500), uid="other in")
    stream = job.source(source, uid="in").union(other, uid="union")
    parts = stream.split(lambda n: "even" if n % 2 == 0 else "odd", "even", "odd", uid="split")
    parts["odd"].map_batches(list).filter(lambda n: n % 3 == 0).sink(drop, uid="odd out")
    keyed = parts["even"].flat_map(lambda n: (n, n)).map_async(same, uid="async").key_by(ms.it % 7)
    keyed.aggregate(ms.sum(ms.it), emit="final", uid="sums").sink(results.append, uid="out")
    return job


def open_files() -> list[str]:
    folder = Path("/proc/self/fd")  # Linux
    return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []


def test_a_job_can_be_run_again_with_the_same_result() -> None:
    results: list[Any] = []
    job = all_kinds(results)
    first = ms.run(job)
    before = list(results)
    results.clear()
    second = ms.run(job)
    assert sorted(before) == sorted(results)
    assert len(before) == 7
    assert first.account.operators == second.account.operators


def test_it_leaves_no_thread_and_no_file_open() -> None:
    ms.run(all_kinds([]))
    assert not threads()
    before = open_files()
    ms.run(all_kinds([]))
    assert not threads()
    assert open_files() == before


def test_its_threads_are_named_after_what_runs_on_them() -> None:
    go_on = threading.Event()

    def wait(n: int) -> None:
        go_on.wait(10)

    job = ms.Job("job")
    job.source(never_ending, uid="in").map_async(same, uid="async").sink(wait, uid="out")
    begun = Begun(job)
    wait_until(lambda: len(threads()) == 4, "four threads")
    assert threads() == [
        "millstream-engine",
        "millstream-loop",
        "millstream-sink out",
        "millstream-source in",
    ]
    go_on.set()
    begun.end()
    assert not threads()


def test_it_runs_in_a_thread_that_is_not_the_main_one() -> None:
    results: list[int] = []
    job = ms.Job("job")
    job.source(numbers(1000), uid="in").sink(results.append, uid="out")
    with ThreadPoolExecutor(1) as pool:
        status = pool.submit(ms.run, job).result().status
    assert status is ms.JobStatus.COMPLETED
    assert results == list(range(1000))


def test_two_runs_in_one_process_do_not_know_of_each_other() -> None:
    def job(name: str, results: list[int], function: Callable[[int], int]) -> ms.Job:
        made = ms.Job(name)
        made.source(numbers(5000), uid="in").map(function, uid="op").sink(results.append, uid="out")
        return made

    def fail(n: int) -> int:
        raise ValueError(n)

    first: list[int] = []
    third: list[int] = []
    with ThreadPoolExecutor(3) as pool:
        runs = [
            pool.submit(ms.run, job("first", first, lambda n: n)),
            pool.submit(ms.run, job("second", [], fail)),
            pool.submit(ms.run, job("third", third, lambda n: -n)),
        ]
        assert runs[0].result().status is ms.JobStatus.COMPLETED
        with pytest.raises(ms.errors.OperatorError, match="'op'"):
            runs[1].result()
        assert runs[2].result().status is ms.JobStatus.COMPLETED
    assert first == [-n for n in third] == list(range(5000))


def test_the_same_job_runs_twice_at_once() -> None:
    job = ms.Job("job")
    (
        job.source(numbers(2000), uid="in")
        .key_by(lambda n: n % 3)
        .aggregate(ms.count(), emit="final", uid="n")
        .sink(drop, uid="out")
    )
    with ThreadPoolExecutor(2) as pool:
        results = [each.result() for each in [pool.submit(ms.run, job) for _ in range(2)]]
    assert results[0].account.operators == results[1].account.operators


def test_a_barrier_passes_every_sink_of_a_run(tmp_path: Path) -> None:
    begun = Begun(all_kinds([], never_ending), tmp_path)
    number = begun.checkpoint().checkpoint_id
    assert begun.journal.summaries[number].sinks.keys() == {"out", "odd out"}
    begun.end()


def test_a_sink_may_change_its_list_beside_another_sink() -> None:
    class Empties(ms.Sink[int]):
        def invoke(self, value: int, ctx: ms.SinkContext) -> None:
            raise AssertionError("invoke_batch takes them")

        def invoke_batch(self, values: Sequence[int], ctx: ms.SinkContext) -> None:
            assert isinstance(values, list)
            values.clear()

    kept: list[int] = []
    job = ms.Job("job")
    stream = job.source(numbers(10_000), uid="in").map(lambda n: n)
    stream.sink(Empties(), uid="empties")
    stream.sink(kept.append, uid="keeps")
    ms.run(job)
    assert kept == list(range(10_000))
