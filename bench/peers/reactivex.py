"""ReactiveX for Python, a call per record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import reactivex as rx  # type: ignore[import-not-found]  # only in its own environment
from reactivex import operators as ops

from bench import data
from bench import functions as f
from bench.data import Answer


def _run(stream: Any) -> Answer:
    answer: Answer = [0, 0]

    def sink(value: float) -> None:
        answer[0] += 1
        answer[1] += value

    def fail(error: Exception) -> None:
        raise error

    stream.subscribe(sink, on_error=fail)
    return answer


def w1(records: int) -> Callable[[], Answer]:
    def run() -> Answer:
        numbers = rx.from_iterable(range(records))
        return _run(numbers.pipe(ops.map(f.add_one), ops.filter(f.is_even), ops.map(f.triple)))

    return run


def w2(records: int) -> Callable[[], Answer]:
    path = data.events_file(records)

    def run() -> Answer:
        with path.open("rb") as lines:
            return _run(
                rx.from_iterable(lines).pipe(
                    ops.map(f.decode),
                    ops.filter(f.is_large),
                    ops.group_by(f.user_of),
                    ops.flat_map(lambda group: group.pipe(ops.scan(f.add_amount, 0.0))),
                )
            )

    return run
