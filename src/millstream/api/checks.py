"""Refuses, when a job is built, what the operators of a stream could not do."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from millstream.api.place import Place, located
from millstream.api.record_type import (
    check_fields,
    check_key_field,
    check_key_function,
    promises_key_type,
)
from millstream.core.aggregate import Aggregate
from millstream.core.errors import GraphError
from millstream.core.expression import Expr, fields
from millstream.core.function_kind import is_async
from millstream.core.method_check import check_method
from millstream.core.operator import KeyedProcessFunction
from millstream.core.retry import Retry
from millstream.core.source import AnySource, Boundedness
from millstream.core.state import find_states
from millstream.core.state_descriptor import StateDescriptor
from millstream.operators.endpoints import SourceOperator
from millstream.operators.function_check import check_function
from millstream.operators.key_by import KeyBy
from millstream.operators.map_async import MapAsync

IN_ENGINE = (
    "it owns keyed state in the engine's thread, which must not wait; do the waiting in a "
    "map_async before it"
)


def key_selector(place: Place, where: str, key: Any, more: tuple[str, ...]) -> KeyBy:
    """Return the definition of a key_by.

    Raises:
        GraphError: the key is no field, expression or function, or of a type that cannot be one.
    """
    if isinstance(key, str):
        names = (key, *more)
        if not all(isinstance(name, str) and name for name in names):
            raise GraphError(f"{where}: expected field names; got {names!r}")
        names = tuple(map(str.__str__, names))  # plain text, also of a StrEnum
        check_fields(where, place.record_type, names)
        for name in names:
            check_key_field(where, place.record_type, name)
        decoders = [source.decoder for _, source in _sources(place)]
        validated = all(decoder is not None and decoder.validates for decoder in decoders)
        typed = validated and promises_key_type(place.record_type, names)
        return KeyBy(names, names, typed=typed)
    if more:
        raise GraphError(f"{where}: several keys must all be field names; got {key!r}")
    if isinstance(key, list | tuple):
        several = ", ".join(map(repr, key))
        raise GraphError(
            f"{where}: expected a function; got {key!r}; for several fields write key_by({several})"
        )
    place.check(
        where,
        key,
        generator="a key is one value",
        asynchronous="a key is computed in the engine's thread: look it up by map_async before, "
        "and key by the result",
    )
    if not isinstance(key, Expr):
        check_key_function(where, key)
    return KeyBy(key, ("key",))


def check_map_async(where: str, operator: MapAsync) -> None:
    """Refuse a function that is not ``async def``, and options out of range."""
    function = operator.function
    if not is_async(function):
        raise GraphError(
            f"{where} takes an 'async def'; {function!r} is none: use map for plain functions"
        )
    yields = inspect.isasyncgenfunction(function)
    check_function(
        where,
        function,
        asynchronous="an async generator has no place here: return a list" if yields else "",
    )
    if not isinstance(operator.ordered, bool):
        raise GraphError(f"{where}: ordered must be True or False; got {operator.ordered!r}")
    if type(operator.capacity) is not int or operator.capacity < 1:
        raise GraphError(f"{where}: capacity must be 1 or more records; got {operator.capacity!r}")
    if operator.retry is not None and not isinstance(operator.retry, Retry):
        raise GraphError(f"{where}: retry must be Retry(…); got {operator.retry!r}")


def check_aggregates(
    place: Place, where: str, aggregates: dict[str, Aggregate], key_by: KeyBy
) -> None:
    """Refuse none at all, an unnamed one among named ones, and what is no aggregate."""
    if not aggregates or ("" in aggregates and len(aggregates) > 1):
        raise GraphError(
            f"{where}: give either one aggregate, or named ones: total=ms.sum('amount'), …"
        )
    for name, each in aggregates.items():
        if not isinstance(each, Aggregate):
            raise GraphError(
                f"{where}: {name or 'the aggregate'} must be ms.count(), ms.sum(…), "
                f"ms.mean(…), ms.min(…) or ms.max(…); got {each!r}; for a function of your own "
                "use reduce"
            )
        if each.operand is not None:
            check_fields(where, place.record_type, fields(each.operand))
        if name in key_by.names:
            raise GraphError(f"{where}: {name!r} is the name of a key; choose another")


def check_process(where: str, function: Any, side_outputs: Any) -> None:
    """Refuse what is no instance of a process function, or one that waits."""
    if isinstance(function, type):
        raise GraphError(f"{where}: pass an instance: {function.__name__}()")
    if not isinstance(function, KeyedProcessFunction):
        raise GraphError(f"{where}: expected a KeyedProcessFunction; got {function!r}")
    for name in ("open", "process_element", "on_timer", "close"):
        if is_async(getattr(function, name)):
            raise GraphError(
                f"{where}: {type(function).__name__}.{name} is 'async def'; {IN_ENGINE}"
            )
        emits = name in ("process_element", "on_timer")
        instead = "" if emits else "emit from process_element or on_timer"
        with located(where):
            check_method(function, KeyedProcessFunction, name, instead)
    for name, value in vars(function).items():
        if isinstance(value, StateDescriptor):
            raise GraphError(
                f"{where}: the state {name!r} is set on the instance; declare it in the body of "
                f"class {type(function).__name__}, where the graph finds it"
            )
    with located(where):
        find_states(type(function))
    if isinstance(side_outputs, str):
        raise GraphError(f"{where}: side_outputs must be a list; write [{side_outputs!r}]")
    if not isinstance(side_outputs, Sequence) or not all(
        isinstance(tag, str) and tag for tag in side_outputs
    ):
        raise GraphError(f"{where}: side_outputs must be a list of names; got {side_outputs!r}")
    if len(set(side_outputs)) < len(side_outputs):
        raise GraphError(f"{where}: side_outputs names one twice: {side_outputs!r}")


def refuse_unbounded(place: Place, where: str) -> None:
    """Refuse to wait for the end of an input that has none."""
    for uid, source in _sources(place):
        if source.boundedness is Boundedness.UNBOUNDED:
            raise GraphError(
                f"{where}: emit='final' waits for the end of the input, but source {uid!r} is "
                "unbounded; use emit='each'"
            )


def _sources(place: Place) -> Iterator[tuple[str, AnySource]]:
    """Yield the sources that a stream's records come from, with their uids."""
    seen: set[str] = set()  # each node once: diamonds would double the ways to it
    ahead = [place.node]
    while ahead:
        node_id = ahead.pop()
        if node_id not in seen:
            seen.add(node_id)
            node = place.graph.node(node_id)
            ahead += [edge.source for edge in node.inputs]
            if isinstance(node.definition, SourceOperator):
                yield node.id, node.definition.source
