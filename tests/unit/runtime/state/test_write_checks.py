"""A value that no snapshot could keep is refused when it is written, with state and record."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.runtime.snapshot.errors import StateEncodeError
from millstream.runtime.state.memory import MemoryStateBackend

TTL = ms.StateTtlConfig(timedelta(hours=1))
Write = Callable[[Any, Any], object]


class Latest(ms.AggregateFunction[Any, list[Any], Any]):
    def create_accumulator(self) -> list[Any]:
        return []

    def add(self, value: Any, accumulator: list[Any]) -> list[Any]:
        return [value]

    def get_result(self, accumulator: list[Any]) -> Any:
        return accumulator[0]


WRITES: list[tuple[str, Callable[[Any], Any], Write]] = [
    (
        "value",
        lambda ttl: ms.ValueStateDescriptor(Any, default=None, name="s", ttl=ttl),
        lambda s, v: s.update(v),
    ),
    ("list.add", lambda ttl: ms.ListStateDescriptor(Any, name="s", ttl=ttl), lambda s, v: s.add(v)),
    (
        "list.add_all",
        lambda ttl: ms.ListStateDescriptor(Any, name="s", ttl=ttl),
        lambda s, v: s.add_all([1, v]),
    ),
    (
        "list.update",
        lambda ttl: ms.ListStateDescriptor(Any, name="s", ttl=ttl),
        lambda s, v: s.update([v]),
    ),
    (
        "map.put",
        lambda ttl: ms.MapStateDescriptor(str, Any, name="s", ttl=ttl),
        lambda s, v: s.put("k", v),
    ),
    (
        "map.put_all",
        lambda ttl: ms.MapStateDescriptor(str, Any, name="s", ttl=ttl),
        lambda s, v: s.put_all([("k", v)]),
    ),
    (
        "reducing",
        lambda ttl: ms.ReducingStateDescriptor(Any, lambda a, b: b, name="s", ttl=ttl),
        lambda s, v: s.add(v),
    ),
    (
        "aggregating",
        lambda ttl: ms.AggregatingStateDescriptor(Latest(), list, name="s", ttl=ttl),
        lambda s, v: s.add(v),
    ),
]
NAMES = [name for name, _, _ in WRITES]


@pytest.mark.parametrize("ttl", [None, TTL], ids=["kept", "expiring"])
@pytest.mark.parametrize(("declare", "write"), [(d, w) for _, d, w in WRITES], ids=NAMES)
def test_every_write_is_checked_and_nothing_refused_is_kept(
    declare: Callable[[Any], Any], write: Write, ttl: Any
) -> None:
    backend = MemoryStateBackend(kept=True)
    state = backend.state("op", declare(ttl))
    state.key = "user"
    with pytest.raises(StateEncodeError, match=r"state 's': value.* of type _thread\.lock and"):
        write(state, threading.Lock())
    (only,) = backend.begin_snapshot().states
    assert only.next_slice(10) in (([], []), None)


@pytest.mark.parametrize(("declare", "write"), [(d, w) for _, d, w in WRITES], ids=NAMES)
def test_without_snapshots_state_may_hold_anything(
    declare: Callable[[Any], Any], write: Write
) -> None:
    state = MemoryStateBackend().state("op", declare(None))
    state.key = "user"
    write(state, threading.Lock())


KEYED: dict[str, Callable[[Any], Any]] = {
    "reduce": lambda s: s.reduce(lambda a, b: b, uid="op"),
    "reduce from a value": lambda s: s.reduce(lambda a, b: b["v"], initial=0, uid="op"),
    "a lone sum": lambda s: s.aggregate(ms.sum("v"), uid="op"),
    "aggregates": lambda s: s.aggregate(low=ms.min("v"), n=ms.count(), uid="op"),
}


class Odd(int):
    """No type that state keeps: what comes back would be an int."""


@pytest.mark.parametrize("build", KEYED.values(), ids=KEYED)
def test_operators_refuse_it_at_the_record_that_brings_it(build: Any, tmp_path: Path) -> None:
    job = ms.Job("job")
    records = [{"k": 1, "v": 1}, {"k": 1, "v": 2}, {"k": 1, "v": Odd(3)}, {"k": 2, "v": 4}]
    keyed = job.source(ms.collection.source(records), uid="in").key_by("k")
    build(keyed).sink(ms.blackhole.sink(), uid="out")
    with pytest.raises(ms.errors.OperatorError) as caught:
        ms.run(job, folder=tmp_path)
    message = str(caught.value)
    assert "operator 'op' failed on record {'k': 1, 'v': 3} at the beginning + 2" in message
    assert re.search(r"state '\w+': value.* and cannot be kept in state: state keeps", message)
