"""Uids: who needs one, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import ConfigError, GraphError
from tests.unit.api.jobs import begun, stream


class Passing(ms.KeyedProcessFunction[Any, Any]):
    def process_element(self, value: Any, ctx: ms.ProcessContext[Any]) -> None:
        ctx.collect(value)


async def waits(record: Any) -> Any:
    return record


Call = Callable[[ms.Stream[Any], Any], object]

# Typed as Any where the signature asks for a uid: an untyped caller may leave it out.
STATEFUL: dict[str, Call] = {
    "reduce": lambda s, uid: s.key_by("a").reduce(lambda a, b: a, uid=uid),
    "aggregate": lambda s, uid: s.key_by("a").aggregate(ms.count(), uid=uid),
    "process": lambda s, uid: s.key_by("a").process(Passing(), uid=uid),
    "map_async": lambda s, uid: s.map_async(waits, uid=uid),
    "map of an async def": lambda s, uid: s.map(waits, uid=uid),
    "filter of an async def": lambda s, uid: s.filter(waits, uid=uid),
    "flat_map of an async def": lambda s, uid: s.flat_map(waits, uid=uid),
    "sink": lambda s, uid: s.sink(print, uid=uid),
}
STATELESS: dict[str, Call] = {
    "map": lambda s, uid: s.map(str, uid=uid),
    "filter": lambda s, uid: s.filter(bool, uid=uid),
    "flat_map": lambda s, uid: s.flat_map(list, uid=uid),
    "map_batches": lambda s, uid: s.map_batches(list, uid=uid),
    "key_by": lambda s, uid: s.key_by("a", uid=uid),
    "union": lambda s, uid: s.union(s.map(str, uid="other"), uid=uid),
    "split": lambda s, uid: s.split(str, "a", "b", uid=uid),
}


@pytest.mark.parametrize("call", STATEFUL.values(), ids=STATEFUL.keys())
def test_what_keeps_state_or_meets_the_outside_needs_a_uid(call: Call) -> None:
    with pytest.raises(GraphError, match=r"at test_uid\.py:\d+.*needs uid=…"):
        call(stream(), None)


def test_a_source_needs_a_uid() -> None:
    with pytest.raises(GraphError, match=r"source at test_uid\.py:\d+ needs uid=…"):
        ms.Job("job").source(ms.collection.source([1]), uid=None)  # type: ignore[call-overload]


@pytest.mark.parametrize("call", STATELESS.values(), ids=STATELESS.keys())
def test_a_stateless_operator_may_do_without_one(call: Call) -> None:
    call(stream(), None)


@pytest.mark.parametrize("uid", ["", "  ", 3, ["a"], b"a"])
def test_a_uid_is_a_text(uid: Any) -> None:
    for call in (*STATEFUL.values(), *STATELESS.values()):
        with pytest.raises(GraphError, match="uid must be a non-empty string; got"):
            call(stream(), uid)


@pytest.mark.parametrize(
    ("uid", "fault"),
    [
        (" a", "must not begin or end with white space; got ' a', write 'a'"),
        ("a\n", "must not begin or end with white space; got 'a\\n', write 'a'"),
        ("a\u3000", "must not begin or end with white space"),
        ("a\nb", "must be one line without control characters; got 'a\\nb'"),
        ("a\0b", "must be one line without control characters; got 'a\\x00b'"),
        ("a\x1b[31mb", "must be one line without control characters"),
        ("a\x85b", "must be one line without control characters"),
        ("a\u2028b", "must be one line without control characters"),
        ("a\ud800b", "must be one line without control characters"),
    ],
)
def test_a_uid_and_a_job_are_named_in_one_line_of_what_can_be_shown(uid: str, fault: str) -> None:
    for call in (*STATEFUL.values(), *STATELESS.values()):
        with pytest.raises(GraphError, match=rf" at test_uid\.py:\d+ .*: uid {re.escape(fault)}"):
            call(stream(), uid)
    with pytest.raises(ConfigError, match=rf"Job\(name\): the name {re.escape(fault)}"):
        ms.Job(uid)


@pytest.mark.parametrize(
    "uid", ["a b", "größe", "客户", "a/b:c", "\u0645\u06cc\u200c\u0634\u0648\u062f", "👩\u200d🚀"]
)
def test_any_other_text_is_a_uid_and_a_job_name(uid: str) -> None:
    for call in (*STATEFUL.values(), *STATELESS.values()):
        call(stream(), uid)
    assert ms.Job(uid).name == uid


@pytest.mark.parametrize("call", [*STATEFUL.values(), *STATELESS.values()])
def test_a_uid_is_used_once_in_a_job(call: Call) -> None:
    with pytest.raises(GraphError, match=r"'in' is used twice: by source at jobs\.py"):
        call(stream(), "in")


def test_two_jobs_may_use_the_same_uid() -> None:
    begun()
    begun()


def test_a_refused_operator_leaves_the_job_as_it_was() -> None:
    job, numbers = begun([1])
    for refused in (lambda: numbers.map(5), lambda: numbers.key_by("a").aggregate(uid="x")):  # type: ignore[call-overload]
        with pytest.raises(ConfigError):
            refused()
    results: list[int] = []
    numbers.sink(ms.collection.sink(results), uid="out")
    with pytest.raises(GraphError, match="key_by 'key_by-1'"):
        ms.run(job)  # the key_by before the refused aggregate is there, and leads nowhere


def test_fingerprint_leaves_out_the_names_of_functions_and_lines_but_not_uids() -> None:
    def fingerprint(function: Any, uid: str | None) -> str:
        job, numbers = begun([1])
        numbers.map(function, uid=uid).sink(ms.blackhole.sink(), uid="out")
        return ms.explain(job, "json").split('"fingerprint": "')[1][:16]

    assert fingerprint(str, None) == fingerprint(lambda record: record, None)
    assert fingerprint(str, "mapped") != fingerprint(str, "renamed")


def test_fingerprint_counts_an_operator_without_uid_by_its_kind_and_place() -> None:
    """A stateless operator that comes or goes changes the structure, so it may not be silent."""

    def fingerprint(*operators: str) -> str:
        job, numbers = begun([1])
        for name in operators:
            numbers = getattr(numbers, name)(bool)
        numbers.sink(ms.blackhole.sink(), uid="out")
        return ms.explain(job, "json").split('"fingerprint": "')[1][:16]

    assert fingerprint("map") != fingerprint("filter") != fingerprint()
    assert fingerprint("map", "filter") != fingerprint("filter", "map")
