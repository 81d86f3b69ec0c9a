"""Where streams end: what a user's sink implements, and what it is given."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from millstream.core.errors import ConfigError, RecordError
from millstream.core.function_kind import (
    is_async,
    is_async_generator,
    is_coroutine,
    is_generator,
    name_of,
)
from millstream.core.job_graph import Guarantee
from millstream.core.method_check import check_method

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SinkContext:
    """What a sink is told about the run it is part of.

    Attributes:
        job: the job's name.
        uid: the sink's uid.
    """

    job: str
    uid: str


class _AnySink(ABC):
    """What the forms of a sink share."""

    guarantee: ClassVar[Guarantee] = Guarantee.AT_LEAST_ONCE
    """How often a record takes effect in it when a run is killed and another goes on. A sink of
    your own that writes under a key, so that again is without effect, may say EXACTLY_ONCE."""

    def validate(self) -> None:
        """Check the outside world (a folder is there, a server answers) before anything runs.

        Raises:
            ConfigError: with what to do.
        """

    def describe(self) -> Mapping[str, Any]:
        """Return the options to show in plans and fingerprints; never a secret."""
        return {}


class Sink(_AnySink, Generic[T]):
    """A sink that may block: all its methods run on one thread of its own.

    Order of calls: ``open``, then ``invoke_batch`` and ``flush`` in any number, then ``finish`` if
    the whole input was taken, then ``close`` always. A sink that is slow holds its stream back:
    what is handed over and not yet returned is bounded to about half a second's worth.
    """

    def open(self, ctx: SinkContext) -> None:
        """Acquire what the sink needs."""

    @abstractmethod
    def invoke(self, value: T, ctx: SinkContext) -> None:
        """Take one record. Returning does not promise that it is durable: ``flush`` does."""

    def invoke_batch(self, values: Sequence[T], ctx: SinkContext) -> None:
        """Take records in order; the form the engine calls. By default, ``invoke`` of each."""
        invoke = self.invoke
        for value in values:
            invoke(value, ctx)

    def flush(self) -> None:
        """Make everything taken so far durable. Called at each checkpoint barrier and at the end.

        A sink that buffers decides by itself when else to write.
        """

    def finish(self) -> None:
        """Let the result appear: the input ended, and all of it was taken and flushed."""

    def close(self) -> None:
        """Release what ``open`` acquired; after a failure also remove what is half-written."""


class AsyncSink(_AnySink, Generic[T]):
    """A sink on the engine's event loop; as ``Sink``, but nothing in it may block."""

    async def open(self, ctx: SinkContext) -> None:
        """Acquire what the sink needs."""

    @abstractmethod
    async def invoke(self, value: T, ctx: SinkContext) -> None:
        """Take one record."""

    async def invoke_batch(self, values: Sequence[T], ctx: SinkContext) -> None:
        """Take records in order; the form the engine calls. By default, ``invoke`` of each."""
        for value in values:
            await self.invoke(value, ctx)

    async def flush(self) -> None:
        """Make everything taken so far durable."""

    async def finish(self) -> None:
        """Let the result appear: the input ended, and all of it was taken and flushed."""

    async def close(self) -> None:
        """Release what ``open`` acquired."""


AnySink = Sink[Any] | AsyncSink[Any]


class _FunctionSink(Sink[T]):
    def __init__(self, function: Callable[[T], object]) -> None:
        self.function = function

    def invoke(self, value: T, ctx: SinkContext) -> None:
        result = self.function(value)
        # A lambda around a call of an `async def` is a plain function; nobody would await it.
        if result is not None and inspect.iscoroutine(result):
            result.close()
            raise RecordError(
                f"{name_of(self.function)} returned a coroutine, which a plain function's caller "
                "does not await; pass the 'async def' itself"
            )

    def describe(self) -> Mapping[str, Any]:
        return {"function": name_of(self.function)}


class _AsyncFunctionSink(AsyncSink[T]):
    def __init__(self, function: Callable[[T], Any]) -> None:
        self.function = function

    async def invoke(self, value: T, ctx: SinkContext) -> None:
        await self.function(value)

    def describe(self) -> Mapping[str, Any]:
        return {"function": name_of(self.function)}


def as_sink(sink: Any) -> AnySink:
    """Return ``sink`` as one of the class forms; a function is called once per record.

    Raises:
        ConfigError: it is none of the forms.
    """
    if isinstance(sink, Sink | AsyncSink):
        _check_methods(sink)
        return sink
    if isinstance(sink, type):
        raise ConfigError(f"a sink is an instance; got the class {sink.__name__}: add ()")
    if is_generator(sink) or is_async_generator(sink):
        raise ConfigError(
            f"the sink {name_of(sink)!r} yields, so calling it would do nothing; "
            "use flat_map for a function that yields"
        )
    if is_coroutine(sink):
        return _AsyncFunctionSink(sink)
    if callable(sink):
        return _FunctionSink(sink)
    hint = "; for a list to append to use millstream.collection.sink(…)" * isinstance(sink, list)
    raise ConfigError(
        f"a sink is a Sink, an AsyncSink or a function of one record; got {sink!r}{hint}"
    )


def check_guarantee(sink: _AnySink) -> None:
    """Refuse a guarantee that is none.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(sink.guarantee, Guarantee):
        raise ConfigError(
            f"{type(sink).__name__}.guarantee must be a Guarantee, such as "
            f"Guarantee.EXACTLY_ONCE; got {sink.guarantee!r}"
        )


def _check_methods(sink: AnySink) -> None:
    """Refuse a method that the engine would call without awaiting it, or await in vain."""
    kind, form = type(sink).__name__, AsyncSink if isinstance(sink, AsyncSink) else Sink
    check_guarantee(sink)
    for name in ("open", "invoke", "invoke_batch", "flush", "finish", "close"):
        method = getattr(sink, name)
        if form is Sink and is_async(method):
            raise ConfigError(
                f"{kind}.{name} is 'async def', but Sink's methods block; "
                "derive from AsyncSink instead"
            )
        check_method(sink, form, name, "a sink emits nothing, so take the yield out")
        decorated = hasattr(method, "__wrapped__")  # it may return an awaitable
        if form is AsyncSink and not is_coroutine(method) and not decorated:
            raise ConfigError(
                f"{kind}.{name} is not 'async def', but AsyncSink's methods are awaited; "
                "derive from Sink for one that blocks"
            )
    for name in ("validate", "describe"):
        if is_async(getattr(sink, name)):
            raise ConfigError(f"{kind}.{name} is 'async def', but nothing would await it")
        check_method(sink, form, name)
