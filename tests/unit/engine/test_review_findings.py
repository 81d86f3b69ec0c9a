"""What a reading of the code found wrong, each as a job."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import millstream as ms


class Keeper(ms.KeyedProcessFunction[dict[str, Any], int]):
    """Keeps ``ctx.collect`` from its first record."""

    def process_element(self, value: dict[str, Any], ctx: ms.ProcessContext[int]) -> None:
        if not hasattr(self, "emit"):
            self.emit = ctx.collect
        self.emit(value["n"])


class Aside(ms.KeyedProcessFunction[dict[str, Any], dict[str, Any]]):
    def process_element(
        self, value: dict[str, Any], ctx: ms.ProcessContext[dict[str, Any]]
    ) -> None:
        ctx.output("odd", value) if value["n"] % 2 else ctx.collect(value)


class Name(StrEnum):
    USER = "user"
    N = "n"


def records(count: int) -> list[dict[str, Any]]:
    return [{"user": f"u{n % 3}", "n": n} for n in range(count)]


def test_a_collect_that_is_kept_loses_nothing() -> None:
    results: list[int] = []
    job = ms.Job("kept")
    source = job.source(ms.collection.source(records(5000)), uid="in")
    source.key_by("user").process(Keeper(), uid="p").sink(ms.collection.sink(results), uid="out")
    ms.run(job)
    assert results == list(range(5000))


def test_side_outputs_do_not_upset_the_edge_to_a_key_by() -> None:
    main: list[Any] = []
    odd: list[Any] = []
    job = ms.Job("aside")
    source = job.source(ms.collection.source(records(10)), uid="in")
    made = source.key_by("user").process(Aside(), side_outputs=["odd"], uid="p")
    made.side_output("odd").sink(ms.collection.sink(odd), uid="odd")
    made.key_by("user").aggregate(ms.count(), uid="n").sink(ms.collection.sink(main), uid="out")
    assert ms.run(job).status is ms.JobStatus.COMPLETED
    assert (len(main), len(odd)) == (5, 5)


def test_names_may_be_members_of_a_str_enum() -> None:
    results: list[Any] = []
    job = ms.Job("enum")
    source = job.source(ms.collection.source(records(2)), uid="in")
    kept = source.filter(ms.col(Name.N) >= 0).key_by(Name.USER)
    kept.aggregate(n=ms.sum(Name.N), uid="a").sink(ms.collection.sink(results), uid="out")
    ms.run(job)
    assert results == [{"user": "u0", "n": 0}, {"user": "u1", "n": 1}]
