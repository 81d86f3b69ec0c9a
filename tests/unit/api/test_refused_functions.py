"""Functions that an operator could not call are refused when the job is built, with a way out."""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import millstream as ms
from tests.unit.api.jobs import collected, refusal


def yields(record: Any) -> Iterator[Any]:
    yield record


def yields_from_two(old: Any, record: Any) -> Iterator[Any]:
    yield record


async def waits(record: Any) -> Any:
    return record


async def waits_for_two(old: Any, record: Any) -> Any:
    return record


async def yields_and_waits(record: Any) -> AsyncIterator[Any]:
    yield record


class Waiting:
    async def __call__(self, record: Any) -> Any:
        return record

    async def method(self, record: Any) -> Any:
        return record


class Yielding:
    def __call__(self, record: Any) -> Iterator[Any]:
        yield record


class WaitingProcess(ms.KeyedProcessFunction[Any, Any]):
    async def process_element(self, value: Any, ctx: Any) -> None:  # type: ignore[override]
        pass


class YieldingAndWaitingProcess(ms.KeyedProcessFunction[Any, Any]):
    async def process_element(self, value: Any, ctx: Any) -> Any:
        yield value


class WaitingToOpen(ms.KeyedProcessFunction[Any, Any]):
    async def open(self, ctx: Any) -> None:  # type: ignore[override]
        pass

    def process_element(self, value: Any, ctx: Any) -> None:
        pass


class YieldingToOpen(ms.KeyedProcessFunction[Any, Any]):
    def open(self, ctx: Any) -> Any:
        yield

    def process_element(self, value: Any, ctx: Any) -> None:
        pass


class YieldingToClose(ms.KeyedProcessFunction[Any, Any]):
    def process_element(self, value: Any, ctx: Any) -> None:
        pass

    def close(self) -> Any:
        yield


class Contextless(ms.KeyedProcessFunction[Any, Any]):
    def process_element(self, value: Any) -> None:  # type: ignore[override]
        pass


# Typed as Any: these calls are wrong on purpose.
Build = Callable[[Any], object]
WAITING = (waits, Waiting(), Waiting().method, functools.partial(waits))
YIELDING = (yields, Yielding(), functools.partial(yields))


# How each method is called with the function that is looked at.
CALLS: dict[str, Callable[[Any, Any], object]] = {
    "map": lambda s, f: s.map(f, uid="m"),
    "filter": lambda s, f: s.filter(f, uid="m"),
    "flat_map": lambda s, f: s.flat_map(f, uid="m"),
    "map_batches": lambda s, f: s.map_batches(f),
    "map_async": lambda s, f: s.map_async(f, uid="m"),
    "key_by": lambda s, f: s.key_by(f),
    "split": lambda s, f: s.split(f, "a", "b"),
    "reduce": lambda s, f: s.key_by("a").reduce(f, uid="r"),
    "process": lambda s, f: s.key_by("a").process(f(), uid="p"),
}

IN_ENGINE = "do the waiting in a map_async before it"
AS_LIST = "an async generator has no place here: return a list"
REFUSED: list[tuple[str, Any, str]] = [
    *(("map", each, "use flat_map to emit what it yields") for each in YIELDING),
    *(("filter", each, "a condition returns true or false") for each in YIELDING),
    *(("key_by", each, "a key is one value") for each in YIELDING),
    *(("split", each, "a selector returns one name") for each in YIELDING),
    ("reduce", yields_from_two, "it returns the new value"),
    *(("key_by", each, "look it up by map_async before") for each in WAITING),
    *(("split", each, "compute the name by map_async before") for each in WAITING),
    *(("map_batches", each, "use map_async, per record") for each in WAITING),
    ("reduce", waits_for_two, IN_ENGINE),
    ("process", WaitingProcess, IN_ENGINE),
    ("process", YieldingAndWaitingProcess, IN_ENGINE),
    ("process", WaitingToOpen, IN_ENGINE),
    ("process", YieldingToOpen, "YieldingToOpen.open yields, so calling it would do nothing; emit"),
    ("process", YieldingToClose, "YieldingToClose.close yields, so calling it would do nothing; "),
    ("process", Contextless, "process_element is called as process_element(value, ctx), but"),
    *((name, yields_and_waits, AS_LIST) for name in ("map", "filter", "flat_map", "map_async")),
    ("map_async", yields, "use map for plain functions"),
    ("map_async", str, "use map for plain functions"),
    ("map_async", ms.it, "use map for plain functions"),
]


@pytest.mark.parametrize(("method", "function", "alternative"), REFUSED)
def test_a_generator_or_an_async_def_in_the_wrong_place_is_refused_with_the_alternative(
    method: str, function: Any, alternative: str
) -> None:
    message = refusal(lambda s: CALLS[method](s, function))
    assert alternative in message
    where = r"(| '\w+') at test_refused_functions\.py:\d+ \(job 'job'\)"
    assert re.match(method + where, message), message


PLACES: dict[str, Callable[[Any, Any], object]] = {
    "map": lambda s, f: s.map(f),
    "filter": lambda s, f: s.filter(f),
    "flat_map": lambda s, f: s.flat_map(f),
    "map_batches": lambda s, f: s.map_batches(f),
    "reduce": lambda s, f: s.key_by("a").reduce(f, uid="r"),
    "split": lambda s, f: s.split(f, "a", "b"),
    "sink": lambda s, f: s.sink(f, uid="out"),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_what_is_no_function_is_refused(place: Callable[[Any, Any], object]) -> None:
    values: list[Any] = [None, 3, ["a"], {"a": 1}, object()]
    for value in values:
        message = refusal(functools.partial(lambda value, s: place(s, value), value))
        assert "expected a function; got" in message or "a function of one record; got" in message


@pytest.mark.parametrize("place", list(PLACES.values())[:-1], ids=list(PLACES)[:-1])
def test_none_where_a_function_belongs_suggests_that_it_was_called(
    place: Callable[[Any, Any], object],
) -> None:
    assert "did you call it, instead of passing it?" in refusal(lambda s: place(s, None))


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize(
    "function", [lambda: 1, lambda a, b, c: 1, lambda *, record: record], ids=["0", "3", "keyword"]
)
def test_a_function_of_another_number_of_arguments_is_refused(
    place: Callable[[Any, Any], object], function: Any
) -> None:
    message = refusal(lambda s: place(s, function))
    assert "calls its function with" in message
    assert "does not take that" in message


def test_a_key_function_of_no_argument_is_refused() -> None:
    def key() -> int:
        return 1

    message = refusal(lambda s: s.key_by(key))  # type: ignore[arg-type]  # wrong on purpose
    assert "1 argument, but test_a_key_function_of_no_argument_is_refused.<locals>.key()" in message


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (str, ["1", "2"]),
        (float, [1.0, 2.0]),
        (lambda record, factor=3: record * factor, [3, 6]),
        (lambda *records: records, [(1,), (2,)]),
        (functools.partial(pow, 2), [2, 4]),
        ({1: "one", 2: "two"}.__getitem__, ["one", "two"]),
        (type("Adding", (), {"__call__": lambda self, record: record + 1})(), [2, 3]),
        (abs, [1, 2]),
    ],
)
def test_any_callable_of_one_argument_will_do(function: Any, expected: list[Any]) -> None:
    assert collected(lambda s: s.map(function), [1, 2]) == expected


FUNCTION_ONLY: dict[str, Build] = {
    "flat_map": lambda s: s.flat_map(ms.it),
    "map_batches": lambda s: s.map_batches(ms.it),
    "reduce": lambda s: s.key_by("a").reduce(ms.it, uid="r"),
}


@pytest.mark.parametrize("build", FUNCTION_ONLY.values(), ids=FUNCTION_ONLY.keys())
def test_an_expression_where_only_a_function_will_do_is_refused(build: Build) -> None:
    assert "takes a function, not an expression; got it" in refusal(build)


def test_an_expression_is_no_sink() -> None:
    assert "a function of one record; got it" in refusal(lambda s: PLACES["sink"](s, ms.it))


UNFINISHED = [
    lambda s: s.map(ms.when(ms.it > 1)),
    lambda s: s.filter(ms.when(ms.it > 1).then(True)),
    lambda s: s.key_by(ms.when(ms.it > 1).then(1)),
]


@pytest.mark.parametrize("build", UNFINISHED)
def test_an_unfinished_choice_is_no_function(build: Build) -> None:
    assert "expected a function; got When" in refusal(build).replace("Then(", "When(")


def test_a_process_function_is_an_instance() -> None:
    class Passing(ms.KeyedProcessFunction[Any, Any]):
        def process_element(self, value: Any, ctx: Any) -> None:
            pass

    assert "pass an instance: Passing()" in refusal(
        lambda s: s.key_by("a").process(Passing, uid="p")  # type: ignore[call-overload]
    )


@pytest.mark.parametrize("wrong", [print, None, "Passing", ms.it])
def test_only_a_process_function_can_process(wrong: Any) -> None:
    message = refusal(lambda s: s.key_by("a").process(wrong, uid="p"))
    assert "expected a KeyedProcessFunction; got" in message


@pytest.mark.parametrize(
    ("side_outputs", "message"),
    [
        ("late", r"side_outputs must be a list; write \['late'\]"),
        (None, "side_outputs must be a list of names; got None"),
        ([1], r"side_outputs must be a list of names; got \[1\]"),
        ([""], "side_outputs must be a list of names"),
        ({"a": 1}, "side_outputs must be a list of names"),
        (["a", "b", "a"], "side_outputs names one twice"),
    ],
)
def test_side_outputs_are_a_list_of_different_names(side_outputs: Any, message: str) -> None:
    class Passing(ms.KeyedProcessFunction[Any, Any]):
        def process_element(self, value: Any, ctx: Any) -> None:
            pass

    refused = refusal(
        lambda s: s.key_by("a").process(Passing(), uid="p", side_outputs=side_outputs)
    )
    assert re.search(message, refused)
