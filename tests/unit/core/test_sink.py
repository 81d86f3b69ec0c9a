"""What may be a sink, and what is said of what may not."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from millstream.core.errors import ConfigError, RecordError
from millstream.core.sink import AsyncSink, Sink, SinkContext, as_sink

CONTEXT = SinkContext("job", "out")


class Listing(Sink[int]):
    def __init__(self) -> None:
        self.taken: list[int] = []

    def invoke(self, value: int, ctx: SinkContext) -> None:
        self.taken.append(value)


class ListingLater(AsyncSink[int]):
    async def invoke(self, value: int, ctx: SinkContext) -> None:
        pass


def traced(method: Any) -> Any:
    @functools.wraps(method)
    def call(*arguments: Any) -> Any:
        return method(*arguments)

    return call


class Traced(AsyncSink[int]):
    @traced
    async def invoke(self, value: int, ctx: SinkContext) -> None:
        pass


@pytest.mark.parametrize("sink", [Listing(), ListingLater(), Traced()])
def test_an_instance_of_the_class_forms_is_taken_as_it_is(sink: Any) -> None:
    assert as_sink(sink) is sink
    assert sink.describe() == {}


def test_a_batch_is_by_default_one_call_per_record_in_order() -> None:
    sink = Listing()
    sink.invoke_batch(range(4), CONTEXT)
    assert sink.taken == [0, 1, 2, 3]


def test_the_other_methods_do_nothing_unless_they_are_overridden() -> None:
    sink = Listing()
    sink.validate()
    sink.open(CONTEXT)
    sink.flush()
    sink.finish()
    sink.close()
    assert sink.taken == []


def test_a_function_is_called_per_record() -> None:
    taken: list[int] = []
    sink = as_sink(taken.append)
    assert isinstance(sink, Sink)
    sink.invoke_batch([1, 2], CONTEXT)
    assert taken == [1, 2]
    assert sink.describe() == {"function": "list.append"}


async def later(record: Any) -> None:
    pass


class Later:
    async def __call__(self, record: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("function", "name"),
    [(later, "later"), (functools.partial(later), "later"), (Later(), "Later")],
)
def test_an_async_function_of_any_kind_is_awaited(function: Any, name: str) -> None:
    sink = as_sink(function)
    assert isinstance(sink, AsyncSink)
    assert sink.describe() == {"function": name}


def test_a_coroutine_that_a_plain_function_returns_is_an_error() -> None:
    sink = as_sink(lambda record: later(record))  # noqa: PLW0108  # as users do
    assert isinstance(sink, Sink)
    with pytest.raises(RecordError, match=r"<lambda> returned a coroutine, .*pass the 'async def'"):
        sink.invoke(1, CONTEXT)


def test_any_other_result_of_a_function_is_ignored() -> None:
    sink = as_sink(lambda record: [record])
    assert isinstance(sink, Sink)
    sink.invoke(1, CONTEXT)


def yields(record: Any) -> Iterator[Any]:
    yield record


async def yields_later(record: Any) -> Any:
    yield record


WRONG: list[tuple[Any, str]] = [
    (Listing, "a sink is an instance; got the class Listing: add"),
    (int, "a sink is an instance; got the class int"),
    (yields, "the sink 'yields' yields, so calling it would do nothing; use flat_map"),
    (functools.partial(yields), "the sink 'yields' yields"),
    (yields_later, "the sink 'yields_later' yields"),
    (None, "a sink is a Sink, an AsyncSink or a function of one record; got None"),
    ([], r"got \[\]; for a list to append to use millstream.collection.sink"),
    (3, "function of one record; got 3"),
]


@pytest.mark.parametrize(("sink", "message"), WRONG)
def test_what_is_no_sink_is_refused_with_what_was_meant(sink: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        as_sink(sink)


async def waits(self: Any, *_: Any) -> None:
    pass


def blocks(self: Any, *_: Any) -> None:
    pass


METHODS = ["open", "invoke", "invoke_batch", "flush", "finish", "close"]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_the_other_kind_is_refused(name: str) -> None:
    waiting = type("Mine", (Listing,), {name: waits})()
    with pytest.raises(ConfigError, match=f"Mine.{name} is 'async def', but Sink's methods block"):
        as_sink(waiting)
    blocking = type("Mine", (ListingLater,), {name: blocks})()
    with pytest.raises(ConfigError, match=f"Mine.{name} is not 'async def', but AsyncSink's meth"):
        as_sink(blocking)


def yields_nothing(self: Any, *_: Any) -> Any:
    yield


async def waits_and_yields(self: Any, *_: Any) -> Any:
    yield


@pytest.mark.parametrize("name", METHODS)
def test_a_method_that_yields_would_do_nothing_and_is_refused(name: str) -> None:
    yielding = type("Mine", (Listing,), {name: yields_nothing})()
    message = f"Mine.{name} yields, so calling it would do nothing; a sink emits nothing"
    with pytest.raises(ConfigError, match=message):
        as_sink(yielding)
    for method in (yields_nothing, waits_and_yields):
        with pytest.raises(ConfigError, match=message):
            as_sink(type("Mine", (ListingLater,), {name: method})())
    with pytest.raises(ConfigError, match=f"Mine.{name} is 'async def', but Sink's methods block"):
        as_sink(type("Mine", (Listing,), {name: waits_and_yields})())


@pytest.mark.parametrize("base", [Listing, ListingLater])
@pytest.mark.parametrize("name", ["validate", "describe"])
def test_a_check_or_a_description_that_yields_is_refused(base: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=f"Mine.{name} yields, so calling it would do nothing"):
        as_sink(type("Mine", (base,), {name: yields_nothing})())


async def takes_only_itself_later(self: Any) -> None:
    pass


def takes_only_itself(self: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("name", "call"),
    [("open", "ctx"), ("invoke", "value, ctx"), ("invoke_batch", "values, ctx")],
)
def test_a_method_without_its_arguments_is_refused_with_how_it_is_called(
    name: str, call: str
) -> None:
    for base, method in ((Listing, takes_only_itself), (ListingLater, takes_only_itself_later)):
        with pytest.raises(ConfigError, match=rf"Mine\.{name} is called as {name}\({call}\), but"):
            as_sink(type("Mine", (base,), {name: method})())


@pytest.mark.parametrize("base", [Listing, ListingLater])
def test_a_check_that_nobody_would_await_is_refused(base: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"Mine\.validate is 'async def', but nothing would await"
    ):
        as_sink(type("Mine", (base,), {"validate": waits})())


def test_a_class_form_needs_invoke() -> None:
    for form in (Sink, AsyncSink):
        with pytest.raises(TypeError, match=r"abstract method '?invoke'?"):
            form()  # type: ignore[abstract]  # wrong on purpose


def test_a_sink_may_take_batches_alone_if_invoke_says_so() -> None:
    class InBatches(Sink[int]):
        taken: tuple[int, ...] = ()

        def invoke(self, value: int, ctx: SinkContext) -> None:
            raise AssertionError

        def invoke_batch(self, values: Sequence[int], ctx: SinkContext) -> None:
            self.taken = tuple(values)

    sink = InBatches()
    sink.invoke_batch([1, 2], CONTEXT)
    assert sink.taken == (1, 2)
