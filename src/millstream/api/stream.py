"""Streams: each method adds one operator to the job and returns the stream behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar, overload

from millstream.api.checks import (
    IN_ENGINE,
    check_aggregates,
    check_map_async,
    check_process,
    key_selector,
    refuse_unbounded,
)
from millstream.api.place import Place, located
from millstream.core.aggregate import Aggregate
from millstream.core.connector import find_connector
from millstream.core.duration import Duration, parse_duration_ms
from millstream.core.element import CHUNK_SIZE
from millstream.core.errors import ConfigError, GraphError
from millstream.core.expression import Expr
from millstream.core.function_kind import is_async
from millstream.core.operator import KeyedProcessFunction
from millstream.core.retry import Retry
from millstream.core.sink import AsyncSink, Sink
from millstream.core.two_phase import TwoPhaseCommitSink, as_sink_form
from millstream.operators.aggregate import AggregateBy
from millstream.operators.endpoints import SinkOperator, Union
from millstream.operators.filter import Filter
from millstream.operators.flat_map import FlatMap
from millstream.operators.function_check import check_function
from millstream.operators.key_by import KeyBy
from millstream.operators.loop import MISSING
from millstream.operators.map import Map
from millstream.operators.map_async import MapAsync
from millstream.operators.map_batches import MapBatches
from millstream.operators.process import Process
from millstream.operators.reduce import Reduce
from millstream.operators.split import Split

T = TypeVar("T")
U = TypeVar("U")
A = TypeVar("A")
OUT = TypeVar("OUT")
_OF_KEYED_STREAMS = ("reduce", "aggregate", "process")


class Stream(Generic[T]):
    """A stream of records of type ``T``, in a job that is being built.

    Functions may be lambdas, ``def`` or, where it is said, ``async def`` and generators.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    # -- one record at a time -------------------------------------------------------------------

    @overload
    def map(self, function: Expr, *, uid: str | None = None) -> Stream[Any]: ...
    @overload
    def map(self, function: Callable[[T], Awaitable[U]], *, uid: str) -> Stream[U]: ...
    @overload
    def map(self, function: Callable[[T], U], *, uid: str | None = None) -> Stream[U]: ...
    def map(self, function: Any, *, uid: str | None = None) -> Stream[Any]:
        """Replace each record by a function or an expression of it.

        An ``async def`` becomes a ``map_async``, ordered, with its defaults.
        """
        where = self._place.where("map", uid)
        if is_async(function):
            return self._async(where, MapAsync(function, "record"), uid)
        self._place.check(where, function, generator="use flat_map to emit what it yields")
        return Stream(self._place.add(Map(function), uid))

    @overload
    def filter(self, condition: Callable[[T], Awaitable[object]], *, uid: str) -> Stream[T]: ...
    @overload
    def filter(
        self, condition: Callable[[T], object] | Expr, *, uid: str | None = None
    ) -> Stream[T]: ...
    def filter(self, condition: Any, *, uid: str | None = None) -> Stream[T]:
        """Keep the records for which a function or an expression is true (null is not)."""
        where, record_type = self._place.where("filter", uid), self._place.record_type
        if is_async(condition):
            return self._async(where, MapAsync(condition, "keep"), uid, record_type)
        self._place.check(where, condition, generator="a condition returns true or false")
        return Stream(self._place.add(Filter(condition), uid, record_type=record_type))

    @overload
    def flat_map(
        self, function: Callable[[T], Awaitable[Iterable[U]]], *, uid: str
    ) -> Stream[U]: ...
    @overload
    def flat_map(
        self, function: Callable[[T], Iterable[U]], *, uid: str | None = None
    ) -> Stream[U]: ...
    def flat_map(self, function: Any, *, uid: str | None = None) -> Stream[Any]:
        """Replace each record by the items of an iterable.

        A generator is resumed as downstream asks, so one record may become any number in flat
        memory. An ``async def`` that returns a list becomes a ``map_async``.
        """
        where = self._place.where("flat_map", uid)
        if is_async(function):
            return self._async(where, MapAsync(function, "records"), uid)
        check_function(where, function)
        return Stream(self._place.add(FlatMap(function), uid))

    def map_batches(
        self,
        function: Callable[[Sequence[T]], Iterable[U]],
        *,
        max_size: int = CHUNK_SIZE,
        uid: str | None = None,
    ) -> Stream[U]:
        """Replace a list of records, what is ready, by an iterable of any length.

        Args:
            function: called with 1 to ``max_size`` records; never waits for a list to fill.
            max_size: most records per call, up to 1,024.
            uid: an optional name.
        """
        where = self._place.where("map_batches", uid)
        check_function(where, function, asynchronous="use map_async, per record")
        if type(max_size) is not int or not 1 <= max_size <= CHUNK_SIZE:
            raise GraphError(f"{where}: max_size must be 1 to {CHUNK_SIZE}; got {max_size!r}")
        return Stream(self._place.add(MapBatches(function, max_size), uid))

    def map_async(  # noqa: PLR0913  # options of one call, by keyword
        self,
        function: Callable[[T], Awaitable[U]],
        *,
        uid: str,
        ordered: bool = True,
        capacity: int = 100,
        timeout: Duration | None = None,
        retry: Retry | None = None,
    ) -> Stream[U]:
        """Await a function of each record, many in flight at once.

        Args:
            function: an ``async def``; it runs on the engine's event loop and must not block.
            uid: names what is in flight in a checkpoint.
            ordered: emit in input order; else as results arrive.
            capacity: most records in flight.
            timeout: the longest time for one record, all attempts included; the job fails then.
            retry: how a failing call is tried again; by default it fails the job.
        """
        where = self._place.where("map_async", uid)
        timeout_ms = None if timeout is None else parse_duration_ms(timeout, f"{where}: timeout")
        if timeout_ms == 0:
            raise GraphError(f"{where}: timeout must be 1 ms or more; got {timeout!r}")
        definition = MapAsync(function, "record", ordered, capacity, timeout_ms, retry)
        return self._async(where, definition, uid)

    def _async(
        self, where: str, definition: MapAsync, uid: str | None, record_type: Any = None
    ) -> Stream[Any]:
        check_map_async(where, definition)
        if uid is None:
            raise GraphError(
                f"{where} awaits its function, so it needs uid=…: a checkpoint keeps under it what "
                "is in flight"
            )
        return Stream(self._place.add(definition, uid, record_type=record_type))

    # -- by key, several streams ----------------------------------------------------------------

    def key_by(
        self, key: str | Expr | Callable[[T], Hashable], *more: str, uid: str | None = None
    ) -> KeyedStream[T]:
        """Partition by key: field names, an expression, or a function.

        Args:
            key: a field's name, an expression, or a function of the record.
            more: further field names; the key is then a tuple.
            uid: an optional name.

        Raises:
            GraphError: the key is of a type that cannot be one, where that is known beforehand.
        """
        definition = key_selector(self._place, self._place.where("key_by", uid), key, more)
        place = self._place.add(definition, uid, record_type=self._place.record_type)
        return KeyedStream(place, definition)

    def union(self, *others: Stream[T], uid: str | None = None) -> Stream[T]:
        """Merge with other streams of the same job; the records of each keep their order."""
        where, place = self._place.where("union", uid), self._place
        if not others:
            raise GraphError(f"{where} needs at least one other stream")
        for other in others:
            if not isinstance(other, Stream):
                raise GraphError(f"{where}: expected a Stream; got {other!r}{_guess(other)}")
            if other._place.graph is not place.graph:
                raise GraphError(
                    f"{where}: that stream belongs to job {other._place.graph.job!r}, this one to "
                    f"{place.graph.job!r}; build both on one Job"
                )
        edges = tuple(stream._place.edge for stream in (self, *others))
        if len(set(edges)) < len(edges):
            raise GraphError(f"{where}: the same stream is named twice; map it to copy its records")
        same = all(other._place.record_type is place.record_type for other in others)
        record_type = place.record_type if same else None
        return Stream(place.add(Union(), uid, record_type=record_type, inputs=edges))

    def split(
        self, selector: Callable[[T], str] | Expr, *names: str, uid: str | None = None
    ) -> dict[str, Stream[T]]:
        """Send each record to one of several streams.

        Args:
            selector: a function or an expression that gives one of ``names``.
            names: of the streams; each must be used.
            uid: an optional name.

        Returns:
            The streams by name.
        """
        where = self._place.where("split", uid)
        if not all(isinstance(name, str) and name for name in names):
            raise GraphError(f"{where}: names must be non-empty strings; got {names!r}")
        names = tuple(map(str.__str__, names))  # plain text, also of a StrEnum
        if len(set(names)) < max(2, len(names)):
            raise GraphError(f"{where}: expected two or more different names; got {names!r}")
        self._place.check(
            where,
            selector,
            generator="a selector returns one name",
            asynchronous="compute the name by map_async before",
        )
        place = self._place.add(Split(selector, names), uid, side_outputs=names)
        return {name: Stream(place.side(name, self._place.record_type)) for name in names}

    def side_output(self, tag: str) -> Stream[Any]:
        """Return a side output that the operator of this stream declares."""
        declared = self._place.graph.node(self._place.node).side_outputs
        if tag not in declared:
            has = ", ".join(declared) or "none"
            where = self._place.where("side_output", None)
            raise GraphError(
                f"{where}: {self._place.node!r} has no side output {tag!r}; it declares: {has}"
            )
        return Stream(self._place.side(tag))

    # -- the end --------------------------------------------------------------------------------

    @overload
    def sink(
        self,
        sink: Sink[T] | AsyncSink[T] | TwoPhaseCommitSink[T, Any] | Callable[[T], object],
        *,
        uid: str,
    ) -> None: ...
    @overload
    def sink(self, sink: str, *, uid: str, **options: Any) -> None: ...
    def sink(self, sink: Any, *, uid: str | None = None, **options: Any) -> None:
        """End the stream; a stream may have several sinks, and the slowest sets the pace.

        Args:
            sink: a ``Sink``, an ``AsyncSink``, a ``TwoPhaseCommitSink``, a function (also
                ``async def``) called per record, or a connector's name, with its options.
            uid: names the sink.
            options: the options of a connector given by name.
        """
        where = self._place.where("sink", uid)
        with located(where):
            if isinstance(sink, str):
                made = as_sink_form(find_connector(sink).make_sink(options))
            elif options:
                raise ConfigError(
                    f"unknown options {', '.join(sorted(options))}; options like these are for a "
                    "connector given by name"
                )
            else:
                made = as_sink_form(sink)
        if made is not sink and not isinstance(sink, str):
            check_function(where, sink)
        self._place.add(SinkOperator(made), uid)

    def disable_chaining(self) -> Self:
        """Give the operator of this stream a task of its own."""
        self._place.graph.disable_chaining(self._place.node)
        return self

    if not TYPE_CHECKING:  # or a type checker would believe that there is every method

        def __getattr__(self, name: str) -> Any:
            advice = ""
            if name in _OF_KEYED_STREAMS:
                advice = f"; it needs a key: .key_by(…).{name}(…)"
            raise AttributeError(f"a Stream has no {name!r}{advice}")

    def __repr__(self) -> str:
        side = f", side output {self._place.tag!r}" if self._place.tag else ""
        return f"Stream(behind {self._place.node!r}{side})"

    def __iter__(self) -> Any:
        raise TypeError("a Stream is a description and has no records yet; end it with .sink(…)")


class KeyedStream(Generic[T]):
    """A stream whose records are partitioned by key; each key has its own state."""

    def __init__(self, place: Place, key_by: KeyBy) -> None:
        self._place = place
        self._key_by = key_by

    @overload
    def reduce(self, function: Callable[[T, T], T], *, uid: str) -> Stream[T]: ...
    @overload
    def reduce(self, function: Callable[[A, T], A], *, initial: A, uid: str) -> Stream[A]: ...
    def reduce(
        self, function: Callable[[Any, Any], Any], *, initial: Any = MISSING, uid: str | None = None
    ) -> Stream[Any]:
        """Fold the records of each key; the new value is emitted after every record.

        Args:
            function: ``(value so far, record)`` to the new value; it must return a new value, not
                change the old one.
            initial: the value before a key's first record; without it the first record is it.
            uid: names the state.
        """
        where = self._place.where("reduce", uid)
        check_function(
            where,
            function,
            arguments=2,
            generator="it returns the new value",
            asynchronous=IN_ENGINE,
        )
        if isinstance(initial, list | dict | set | bytearray):
            raise GraphError(
                f"{where}: initial={initial!r} would be shared between keys; use an immutable "
                "value, such as a tuple, and return a new one"
            )
        return Stream(self._place.add(Reduce(function, initial, self._key_by), uid))

    @overload
    def aggregate(
        self, unnamed: Aggregate, *, emit: Literal["each", "final"] = "each", uid: str
    ) -> Stream[Any]: ...
    @overload
    def aggregate(
        self, *, emit: Literal["each", "final"] = "each", uid: str, **named: Aggregate
    ) -> Stream[dict[str, Any]]: ...
    def aggregate(
        self,
        unnamed: Aggregate | None = None,
        *,
        emit: Literal["each", "final"] = "each",
        uid: str | None = None,
        **named: Aggregate,
    ) -> Stream[Any]:
        """Keep aggregates per key, computed without a Python call per record.

        Args:
            unnamed: one aggregate; its bare value is emitted.
            emit: ``each``: the new result after every record; ``final``: one result per key, in
                order of first appearance, when the input ends.
            uid: names the state.
            named: aggregates by result field; a dict with the key's fields and these is emitted.

        Example:
            ``.key_by("user").aggregate(total=ms.sum("amount"), n=ms.count(), uid="totals")``
        """
        where = self._place.where("aggregate", uid)
        aggregates = named if unnamed is None else {"": unnamed, **named}
        check_aggregates(self._place, where, aggregates, self._key_by)
        if emit not in ("each", "final"):
            raise GraphError(f"{where}: emit must be 'each' or 'final'; got {emit!r}")
        if emit == "final":
            refuse_unbounded(self._place, where)
        return Stream(self._place.add(AggregateBy(aggregates, emit, self._key_by), uid))

    @overload
    def process(self, function: KeyedProcessFunction[T, OUT], *, uid: str) -> Stream[OUT]: ...
    @overload
    def process(
        self, function: KeyedProcessFunction[T, OUT], *, side_outputs: Sequence[str], uid: str
    ) -> Stream[OUT]: ...
    def process(
        self,
        function: KeyedProcessFunction[T, OUT],
        *,
        side_outputs: Sequence[str] = (),
        uid: str | None = None,
    ) -> Stream[OUT]:
        """Call a function of your own, with state and timers per key, for each record.

        Args:
            function: an instance; each run works on a copy of it.
            side_outputs: tags for ``ctx.output``; each must be used, by ``.side_output(tag)``.
            uid: names the state.
        """
        check_process(self._place.where("process", uid), function, side_outputs)
        definition = Process(function, tuple(map(str.__str__, side_outputs)), self._key_by)
        return Stream(self._place.add(definition, uid, side_outputs=definition.side_outputs))

    def disable_chaining(self) -> Self:
        """Keep the key_by a task of its own, also at parallelism 1."""
        self._place.graph.disable_chaining(self._place.node)
        return self

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            advice = ""
            if not name.startswith("_") and hasattr(Stream, name):
                advice = (
                    f", only {', '.join(_OF_KEYED_STREAMS)}: call {name} before key_by, or on the "
                    "result of one of these"
                )
            raise AttributeError(f"a KeyedStream has no {name!r}{advice}")

    def __repr__(self) -> str:
        return f"KeyedStream(behind {self._place.node!r})"


def _guess(other: object) -> str:
    if isinstance(other, KeyedStream):
        return "; keyed streams cannot be united: unite the streams first, and key the result"
    return "; did you forget to unpack it?" * isinstance(other, tuple | list | dict)
