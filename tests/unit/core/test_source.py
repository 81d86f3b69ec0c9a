"""What may be a source, and what is said of what may not."""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from millstream.core.errors import ConfigError
from millstream.core.source import AsyncBatchSource, BatchSource, Boundedness, Source, as_source


def generator(position: Any) -> Iterator[tuple[list[int], Any]]:
    yield [1], 1


async def async_generator(position: Any) -> AsyncIterator[tuple[list[int], Any]]:
    yield [1], 1


class Batches(BatchSource[int]):
    def read(self, position: Any) -> Iterator[tuple[list[int], Any]]:
        yield [1], 1


class AsyncBatches(AsyncBatchSource[int]):
    async def read(self, position: Any) -> AsyncIterator[tuple[list[int], Any]]:
        yield [1], 1


class Delegating(AsyncBatchSource[int]):
    def read(self, position: Any) -> AsyncIterator[tuple[list[int], Any]]:
        return async_generator(position)


class Running(Source[int]):
    def run(self, ctx: Any) -> None:
        pass


@pytest.mark.parametrize("source", [Batches(), AsyncBatches(), Delegating(), Running()])
def test_an_instance_of_the_class_forms_is_taken_as_it_is(source: Any) -> None:
    assert as_source(source) is source
    assert source.boundedness is Boundedness.BOUNDED
    assert source.describe() == {}


@pytest.mark.parametrize("function", [generator, functools.partial(generator)])
def test_a_generator_function_is_read_in_batches(function: Any) -> None:
    source = as_source(function)
    assert isinstance(source, BatchSource)
    assert list(source.read(None)) == [([1], 1)]
    assert source.describe() == {"generator": "generator"}


@pytest.mark.parametrize("function", [async_generator, functools.partial(async_generator)])
def test_an_async_generator_function_is_read_on_the_event_loop(function: Any) -> None:
    source = as_source(function)
    assert isinstance(source, AsyncBatchSource)
    assert source.describe() == {"generator": "async_generator"}


def test_a_generator_can_be_said_to_never_end() -> None:
    unbounded = as_source(generator, Boundedness.UNBOUNDED)
    assert unbounded.boundedness is Boundedness.UNBOUNDED
    assert as_source(generator).boundedness is Boundedness.BOUNDED  # each wrapper has its own


@pytest.mark.parametrize("boundedness", ["unbounded", True, None])
def test_the_boundedness_of_a_class_is_a_member_of_its_enum(boundedness: Any) -> None:
    source = type("Mine", (Batches,), {"boundedness": boundedness})()
    with pytest.raises(ConfigError, match=r"Mine.boundedness must be Boundedness.BOUNDED or .*got"):
        as_source(source)


@pytest.mark.parametrize("boundedness", list(Boundedness))
def test_a_class_declares_its_own_boundedness(boundedness: Boundedness) -> None:
    message = r"is for generator functions; Batches declares its own \(bounded\)"
    with pytest.raises(ConfigError, match=message):
        as_source(Batches(), boundedness)


def plain(position: Any) -> list[int]:
    return [1]


WRONG: list[tuple[Any, str]] = [
    (Batches, "got the class Batches; did you forget to make an instance?"),
    (Running, "got the class Running; did you forget to make an instance?"),
    (generator(None), "got the generator object 'generator'; pass the function itself, without ()"),
    (plain, "got the function 'plain', which does not yield"),
    (lambda position: [1], "got the function '<lambda>', which does not yield"),
    ([1, 2], r"got \[1, 2\]; for a list of records use millstream.collection.source"),
    (None, "got None; for a list"),
    (3, "got 3; for a list"),
    (len, "got the function 'len', which does not yield"),
]


@pytest.mark.parametrize(("source", "message"), WRONG)
def test_what_is_no_source_is_refused_with_what_was_meant(source: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("()", r"\(\)")) as refused:
        as_source(source)
    assert str(refused.value).startswith("a source is a generator function of (records, position)")


def without_position() -> Iterator[tuple[list[int], Any]]:
    yield [1], 1


def of_two(page: Any, position: Any) -> Iterator[tuple[list[int], Any]]:
    yield [1], 1


async def async_of_two(page: Any, position: Any) -> AsyncIterator[tuple[list[int], Any]]:
    yield [1], 1


@pytest.mark.parametrize("function", [without_position, of_two, async_of_two])
def test_a_generator_takes_the_position_to_start_from(function: Any) -> None:
    with pytest.raises(ConfigError, match=f"'{function.__name__}' must take one argument, the pos"):
        as_source(function)


def test_further_arguments_with_defaults_are_fine() -> None:
    def paged(position: Any, size: int = 5) -> Iterator[tuple[list[int], Any]]:
        yield [size], position

    source = as_source(paged)
    assert isinstance(source, BatchSource)
    assert list(source.read(7)) == [([5], 7)]


async def waits(self: Any, *_: Any) -> Any:
    return None


async def waits_and_yields(self: Any, *_: Any) -> Any:
    yield [1], 1


def blocks(self: Any, *_: Any) -> Any:
    return None


def yields(self: Any, *_: Any) -> Any:
    yield [1], 1


@pytest.mark.parametrize(
    ("base", "name", "method"),
    [
        (Running, "run", waits),
        (Running, "run", waits_and_yields),
        (Running, "snapshot_state", waits),
        (Running, "cancel", waits),
        (Batches, "read", waits),
        (Batches, "read", waits_and_yields),
        (Batches, "open", waits),
        (Batches, "cancel", waits),
        (AsyncBatches, "validate", waits),
    ],
)
def test_a_method_that_nobody_would_await_is_refused(base: Any, name: str, method: Any) -> None:
    source = type("Mine", (base,), {name: method})()
    with pytest.raises(ConfigError, match=f"Mine.{name} is 'async def', but nothing would await"):
        as_source(source)


@pytest.mark.parametrize(
    ("base", "names"),
    [
        (Running, ["run", "open", "close", "cancel", "snapshot_state", "restore_state"]),
        (Batches, ["open", "close", "cancel", "validate", "describe"]),
        (AsyncBatches, ["open", "close", "validate", "describe"]),
    ],
)
def test_a_method_that_yields_would_do_nothing_and_is_refused(base: Any, names: list[str]) -> None:
    for name in names:
        source = type("Mine", (base,), {name: yields})()
        with pytest.raises(ConfigError, match=f"Mine.{name} yields, so calling it would do nothi"):
            as_source(source)


def test_a_run_that_yields_is_told_of_read_and_of_collect() -> None:
    source = type("Mine", (Running,), {"run": yields})()
    message = (
        r"derive from BatchSource and yield \(records, position\) from read, or emit each "
        r"record by ctx\.collect"
    )
    with pytest.raises(ConfigError, match=message):
        as_source(source)


@pytest.mark.parametrize("name", ["open", "close"])
def test_a_method_of_an_async_source_that_waits_and_yields_is_refused(name: str) -> None:
    source = type("Mine", (AsyncBatches,), {name: waits_and_yields})()
    with pytest.raises(ConfigError, match=f"Mine.{name} yields, so calling it would do nothing"):
        as_source(source)


async def yields_without_position(self: Any) -> Any:
    yield [1], 1


@pytest.mark.parametrize(
    ("base", "name", "method", "call"),
    [
        (Running, "run", lambda self: None, "run(ctx)"),
        (Running, "restore_state", lambda self: None, "restore_state(state)"),
        (Running, "cancel", lambda self, reason: None, "cancel()"),
        (Batches, "read", lambda self: iter([]), "read(position)"),
        (AsyncBatches, "read", yields_without_position, "read(position)"),
    ],
)
def test_a_method_with_other_arguments_is_refused_with_how_it_is_called(
    base: Any, name: str, method: Any, call: str
) -> None:
    with pytest.raises(ConfigError, match=rf"Mine\.{name} is called as {re.escape(call)}, but"):
        as_source(type("Mine", (base,), {name: method})())


@pytest.mark.parametrize("name", ["open", "close"])
def test_a_method_of_an_async_source_that_cannot_be_awaited_is_refused(name: str) -> None:
    source = type("Mine", (AsyncBatches,), {name: blocks})()
    with pytest.raises(ConfigError, match=f"Mine.{name} is not 'async def', but AsyncBatchSource"):
        as_source(source)


@pytest.mark.parametrize("method", [waits, yields])
def test_an_async_source_that_does_not_yield_asynchronously_is_refused(method: Any) -> None:
    source = type("Mine", (AsyncBatches,), {"read": method})()
    with pytest.raises(ConfigError, match=r"Mine\.read must be an async generator"):
        as_source(source)


def test_a_class_form_needs_its_method() -> None:
    for form, name in ((Source, "run"), (BatchSource, "read"), (AsyncBatchSource, "read")):
        with pytest.raises(TypeError, match=f"abstract method '?{name}'?"):
            form()  # type: ignore[abstract]  # wrong on purpose
