"""Options of streams that are refused when the job is built: what, where, and what to do."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import ConfigError, GraphError
from tests.unit.api.jobs import begun, refusal, stream

# Typed as Any: these calls are wrong on purpose.
Build = Callable[[Any], object]


async def waits(record: Any) -> Any:
    return record


def fold(old: Any, record: Any) -> Any:
    return record


def endless(position: Any) -> Iterator[tuple[list[int], Any]]:
    yield [1], 1


def refused_with(build: Build, message: str) -> None:
    refused = refusal(build)
    assert re.search(message, refused), refused
    assert "(job 'job')" in refused


@pytest.mark.parametrize("size", [0, -1, 1025, 1.0, "10", True, None])
def test_map_batches_takes_lists_of_1_to_1024_records(size: Any) -> None:
    refused_with(lambda s: s.map_batches(list, max_size=size), "max_size must be 1 to 1024; got")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ordered": 1}, "ordered must be True or False; got 1"),
        ({"ordered": None}, "ordered must be True or False"),
        ({"capacity": 0}, "capacity must be 1 or more records; got 0"),
        ({"capacity": True}, "capacity must be 1 or more"),
        ({"capacity": 1.5}, "capacity must be 1 or more"),
        ({"timeout": 5}, "timeout: expected a duration such as '10s' or.*which has no unit"),
        ({"timeout": "5"}, "timeout: '5' is not a duration; write for example '250ms'"),
        ({"timeout": timedelta(seconds=-1)}, "timeout: a duration cannot be negative"),
        ({"timeout": "0s"}, "timeout must be 1 ms or more; got '0s'"),
        ({"timeout": timedelta(microseconds=1)}, "timeout must be 1 ms or more"),
        ({"retry": 3}, r"retry must be Retry\(…\); got 3"),
        ({"retry": ms.Retry}, r"retry must be Retry\(…\); got <class"),
    ],
)
def test_options_of_map_async(options: dict[str, Any], message: str) -> None:
    refused_with(lambda s: s.map_async(waits, uid="m", **options), message)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (("",), r"expected field names; got \(''"),
        (("a", ""), "expected field names"),
        (("a", 3), "expected field names"),
        (("a", lambda record: 1), "expected field names"),
        ((ms.col("a"), "b"), "several keys must all be field names"),
        ((str, "b"), "several keys must all be field names"),
        ((["a", "b"],), r"expected a function; got \['a', 'b'\]; for several fields write"),
        ((("a", "b"),), "for several fields write key_by\\('a', 'b'\\)"),
        ((None,), "expected a function; got None"),
        ((1,), "expected a function; got 1"),
    ],
)
def test_what_a_stream_cannot_be_keyed_by(key: tuple[Any, ...], message: str) -> None:
    refused_with(lambda s: s.key_by(*key), message)


@pytest.mark.parametrize(
    "initial", [[], {}, set(), bytearray(), [1], ms.json()], ids=lambda value: repr(value)[:9]
)
def test_an_initial_value_that_keys_would_share_is_refused_where_it_is_seen(initial: Any) -> None:
    def build(s: ms.Stream[Any]) -> object:
        return s.key_by("a").reduce(fold, initial=initial, uid="r")

    if isinstance(initial, list | dict | set | bytearray):
        refused_with(build, "would be shared between keys; use an immutable value, such as a tuple")
    else:
        build(stream())  # nobody knows whether an object of another class can be changed


AGGREGATES: list[tuple[Build, str]] = [
    (lambda k: k.aggregate(uid="a"), "give either one aggregate, or named ones"),
    (lambda k: k.aggregate(None, uid="a"), "give either one aggregate, or named ones"),
    (lambda k: k.aggregate(ms.count(), n=ms.count(), uid="a"), "give either one aggregate, or"),
    (lambda k: k.aggregate("amount", uid="a"), "the aggregate must be ms.count.*got 'amount'"),
    (lambda k: k.aggregate(ms.sum, uid="a"), "the aggregate must be ms.count"),
    (lambda k: k.aggregate(total=sum, uid="a"), "total must be .*for a function of your own use"),
    (lambda k: k.aggregate(total=ms.col("a"), uid="a"), "total must be ms.count"),
    (lambda k: k.aggregate(user=ms.count(), uid="a"), "'user' is the name of a key; choose"),
    (lambda k: k.aggregate(ms.count(), emit="last", uid="a"), "must be 'each' or 'final'; got 'l"),
    (lambda k: k.aggregate(ms.count(), emit=None, uid="a"), "must be 'each' or 'final'; got None"),
]


@pytest.mark.parametrize(("build", "message"), AGGREGATES)
def test_aggregates_that_are_refused(build: Build, message: str) -> None:
    refused_with(lambda s: build(s.key_by("user")), message)


def test_the_name_of_a_function_key_is_taken_as_well() -> None:
    refused_with(lambda s: s.key_by(str).aggregate(key=ms.count(), uid="a"), "'key' is the name")


@pytest.mark.parametrize("boundedness", [ms.Boundedness.UNBOUNDED, "unbounded"])
@pytest.mark.parametrize(
    "behind", [lambda s: s, lambda s: s.map(str), lambda s: s.union(s.map(str))]
)
def test_a_final_result_of_an_unbounded_source_is_refused(
    behind: Build, boundedness: ms.Boundedness | str
) -> None:
    job = ms.Job("job")
    numbers: Any = job.source(endless, uid="clicks", boundedness=boundedness)
    message = "emit='final' waits for the end of the input, but source 'clicks' is unbounded"
    with pytest.raises(GraphError, match=message):
        behind(numbers).key_by("a").aggregate(ms.count(), emit="final", uid="n")  # type: ignore[attr-defined]
    numbers.key_by("a").aggregate(ms.count(), emit="each", uid="n")


UNIONS: list[tuple[Build, str]] = [
    (lambda s: s.union(), "needs at least one other stream"),
    (lambda s: s.union(s), "the same stream is named twice; map it to copy its records"),
    (lambda s: s.union(s.map(str), s.map(str).union(s), s), "the same stream is named twice"),
    (lambda s: s.union([s]), r"expected a Stream; got \[.*did you forget to unpack it\?"),
    (lambda s: s.union(s.split(str, "a", "b")), "did you forget to unpack it"),
    (lambda s: s.union(s.key_by("a")), "got KeyedStream.*: unite the streams first, and key the r"),
    (lambda s: s.union(None), "expected a Stream; got None"),
    (lambda s: s.union(ms.Job("job")), "expected a Stream; got Job"),
]


@pytest.mark.parametrize(("build", "message"), UNIONS)
def test_unions_that_are_refused(build: Build, message: str) -> None:
    refused_with(build, message)


@pytest.mark.parametrize("name", ["reduce", "aggregate", "process"])
def test_what_needs_a_key_says_so_on_a_stream_without_one(name: str) -> None:
    with pytest.raises(
        AttributeError, match=rf"'{name}'; it needs a key: .key_by\(…\).{name}\(…\)"
    ):
        getattr(stream(), name)


@pytest.mark.parametrize("name", ["map", "filter", "flat_map", "map_async", "sink", "key_by"])
def test_what_a_keyed_stream_does_not_have_says_what_it_has(name: str) -> None:
    message = f"no '{name}', only reduce, aggregate, process: call {name} before key_by, or on the"
    with pytest.raises(AttributeError, match=message):
        getattr(stream().key_by("a"), name)


def test_a_name_that_no_stream_has_is_a_plain_attribute_error() -> None:
    for each in (stream(), stream().key_by("a")):
        with pytest.raises(AttributeError, match=r"has no 'window'$"):
            each.window  # type: ignore[union-attr]  # noqa: B018
        assert not hasattr(each, "__wrapped__")
        assert copy.copy(each)._place == each._place


def test_a_stream_of_another_job_is_refused_even_if_that_has_the_same_name() -> None:
    refused_with(
        lambda s: s.union(begun()[1]), "belongs to job 'job', this one to 'job'; build both"
    )


@pytest.mark.parametrize(
    "names", [(), ("a",), ("a", "a"), ("a", ""), ("a", 1), (["a", "b"],), ("a", None)]
)
def test_a_split_has_two_or_more_different_names(names: Any) -> None:
    refused_with(
        lambda s: s.split(str, *names),
        "expected two or more different names|names must be non-empty strings",
    )


def test_a_side_output_is_declared_by_its_operator() -> None:
    refused_with(
        lambda s: s.side_output("late"), "'in' has no side output 'late'; it declares: none"
    )
    refused_with(
        lambda s: s.split(str, "a", "b", uid="parts")["a"].side_output("c"),
        "'parts' has no side output 'c'; it declares: a, b",
    )


def test_each_stream_of_a_split_must_be_used() -> None:
    job, numbers = begun([1])
    numbers.split(str, "a", "b", uid="parts")["a"].sink(ms.blackhole.sink(), uid="out")
    message = r"'parts' at test_refused_options\.py:\d+: its side output 'b' leads nowhere"
    with pytest.raises(GraphError, match=message):
        ms.run(job)


@pytest.mark.parametrize("bounds", ["endless", "", True, 1, "UNBOUNDED"])
def test_boundedness_is_one_of_two(bounds: Any) -> None:
    message = (
        r"source 'in' at test_refused_options\.py:\d+ \(job 'job'\): boundedness: expected one of "
        "'bounded', 'unbounded'; got"
    )
    with pytest.raises(ConfigError, match=message):
        ms.Job("job").source(endless, uid="in", boundedness=bounds)
