"""A process function that does what its records say, in a run that moves only when told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import millstream as ms
from millstream.core.accounting import Account
from millstream.engine.account import account_of
from millstream.engine.intake import SLICE_NS
from millstream.storage.checkpoints.local import LocalCheckpointStorage
from tests.unit.engine.checkpoint.stepped_run import SteppedRun

START_MS = 1_700_000_000_000  # where a ManualClock begins
Context = ms.ProcessContext[Any]
Act = Callable[[Context], Any]
Record = tuple[str, Act]
"""A key, and what to do about it."""


def register(*times: int) -> Act:
    """Register timers, so many ms after the start."""

    def act(ctx: Context) -> None:
        for time_ms in times:
            ctx.timer_service.register_processing_time_timer(START_MS + time_ms)

    return act


def delete(*times: int) -> Act:
    """Delete timers."""

    def act(ctx: Context) -> None:
        for time_ms in times:
            ctx.timer_service.delete_processing_time_timer(START_MS + time_ms)

    return act


def emit(value: Any) -> Act:
    """Collect a value."""
    return lambda ctx: ctx.collect(value)


class Obeys(ms.KeyedProcessFunction[Record, Any]):
    """Counts the records of each key, and collects ``(key, timer's ms, count)`` of each timer."""

    records = ms.ValueStateDescriptor(int, default=0)

    def process_element(self, value: Record, ctx: Context) -> None:
        self.records.update(self.records.value() + 1)
        value[1](ctx)

    def on_timer(self, timestamp: int, ctx: Context) -> Iterator[Any] | None:
        ctx.collect((ctx.current_key, timestamp - START_MS, self.records.value()))
        return None


def nothing(position: Any) -> Iterator[tuple[list[Any], Any]]:
    yield from ()


def first(record: Record) -> str:
    """Return a record's key."""
    return record[0]


Build = Callable[[ms.Stream[Any]], ms.Stream[Any]]


class TimedRun:
    """A source, a process function and a sink, stepped.

    Args:
        function: the process function.
        folder: for checkpoints.
        build: what stands behind the function.
        side: a side output's tag; its records are in ``aside``.
        options: ``checkpoints``, ``restored``, ``engine``.
    """

    def __init__(
        self,
        function: ms.KeyedProcessFunction[Any, Any],
        folder: Path,
        *,
        build: Build = lambda stream: stream,
        side: str = "",
        **options: Any,
    ) -> None:
        self.out: list[Any] = []
        self.aside: list[Any] = []
        job = ms.Job("stepped", engine=options.get("engine", ms.EngineSettings()))
        keyed = job.source(nothing, uid="in").key_by(first)
        tags = [side] if side else []
        made = keyed.process(function, side_outputs=tags, uid="p")
        build(made).sink(self.out.append, uid="out")
        if side:
            made.side_output(side).sink(self.aside.append, uid="aside")
        settings = options.get("checkpoints", ms.CheckpointSettings())
        storage = LocalCheckpointStorage(folder, "stepped")
        self.run = SteppedRun(job, storage, settings, options.get("restored", ""))
        self.clock = self.run.clock
        self.given = 0

    def give(self, *records: Record) -> None:
        """Let the source give records, as one chunk, and let happen what follows."""
        self.given += len(records)
        self.run.give("in", list(records), self.given)
        self.run.settle()

    def warm_up(self) -> None:
        """Let the sink ask for more than a record at a time; forget what it was given."""
        for _ in range(4):
            self.give(*[("", emit(None))] * 8)
        self.out.clear()

    def pass_time(self, ms: int) -> None:
        self.run.pass_time(ms)

    def end(self) -> Account:
        """End the input; return what was counted."""
        self.run.end("in")
        self.run.settle()
        account = account_of(self.run.assembly, cut_short=False)
        edges = [each for each in account.edges if each.name != "in -> engine"]  # by the test
        assert not list(Account(account.operators, tuple(edges)).violations())
        return account

    def failure(self) -> BaseException:
        """Let happen what follows, which is a failure."""
        try:
            self.run.settle()
        except Exception as error:  # noqa: BLE001  # the test looks at it
            return error
        raise AssertionError("it does not fail")


class Restless(ms.KeyedProcessFunction[Record, Any]):
    """Each timer registers the next one, which is due at once."""

    def __init__(self, fired: list[int]) -> None:
        self.fired = fired

    def process_element(self, value: Record, ctx: Context) -> None:
        value[1](ctx)

    def on_timer(self, timestamp: int, ctx: Context) -> None:
        self.fired[0] += 1
        ctx.timer_service.register_processing_time_timer(timestamp + 1)


class Ticking:
    """A clock that moves each time that somebody looks."""

    def __init__(self, real: Any) -> None:
        self._real, self._more = real, 0

    def __call__(self) -> int:
        self._more += SLICE_NS // 50
        return int(self._real()) + self._more
