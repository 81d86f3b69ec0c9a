"""State: how it is declared, and how a function's class is asked what it declares.

A state is declared as a class attribute of a process function and found there when the job is
built, so its name and type are part of the graph. Reading the attribute on an instance gives the
live state of the current key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, Unpack

from millstream.core.errors import ConfigError
from millstream.core.state_descriptor import StateDescriptor, StateOptions, check_function
from millstream.core.state_kinds import (
    AggregateFunction,
    AggregatingState,
    ListState,
    MapState,
    ReducingState,
    ValueState,
)
from millstream.core.timers import PROCESSING_TIME_TIMERS

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
IN = TypeVar("IN")
OUT = TypeVar("OUT")
_TAKEN = "_millstream_states"  # the class attribute in which take_states keeps what it took


class ValueStateDescriptor(StateDescriptor[ValueState[T]], Generic[T]):
    """Declares one value per key.

    Args:
        type: the value's type; part of the graph's fingerprint.
        default: what ``value()`` gives for a key without one. It is shared between keys, so it
            must be immutable.
        options: ``name``, ``ttl``, ``version``, ``migrate``: see ``StateDescriptor``.

    Example:
        >>> class Visits:  # a KeyedProcessFunction
        ...     seen = ValueStateDescriptor(int, default=0)
        >>> Visits.seen.name
        'seen'
    """

    kind = "value"

    def __init__(self, type: type[T], *, default: T, **options: Unpack[StateOptions]) -> None:
        if isinstance(default, list | dict | set | bytearray):
            raise ConfigError(
                f"the default of a ValueState is shared between keys and must be immutable; "
                f"got {default!r}: use None and make a new one in process_element"
            )
        super().__init__(**options)
        self.type = type
        self.default = default


class ListStateDescriptor(StateDescriptor[ListState[T]], Generic[T]):
    """Declares a list per key.

    Args:
        type: the elements' type.
        options: ``name``, ``ttl``, ``version``, ``migrate``: see ``StateDescriptor``.
    """

    kind = "list"

    def __init__(self, type: type[T], **options: Unpack[StateOptions]) -> None:
        super().__init__(**options)
        self.type = list[type]  # type: ignore[valid-type]  # made at run time, for the fingerprint


class MapStateDescriptor(StateDescriptor[MapState[K, V]], Generic[K, V]):
    """Declares a map per key.

    Args:
        key_type: the type of the map's keys.
        value_type: the type of its values.
        options: ``name``, ``ttl``, ``version``, ``migrate``: see ``StateDescriptor``.
    """

    kind = "map"

    def __init__(
        self, key_type: type[K], value_type: type[V], **options: Unpack[StateOptions]
    ) -> None:
        super().__init__(**options)
        self.type = dict[key_type, value_type]  # type: ignore[valid-type]  # as of a list


class ReducingStateDescriptor(StateDescriptor[ReducingState[T]], Generic[T]):
    """Declares a value per key into which others are reduced.

    Args:
        type: the values' type.
        function: ``function(value so far, added)`` returns the new value; it must not change
            the old one in place.
        options: ``name``, ``ttl``, ``version``, ``migrate``: see ``StateDescriptor``.

    Example:
        >>> largest = ReducingStateDescriptor(int, max)
    """

    kind = "reducing"

    def __init__(
        self, type: type[T], function: Callable[[T, T], T], **options: Unpack[StateOptions]
    ) -> None:
        check_function(function, 2, "ReducingStateDescriptor")
        super().__init__(**options)
        self.type = type
        self.function = function


class AggregatingStateDescriptor(StateDescriptor[AggregatingState[IN, OUT]], Generic[IN, OUT]):
    """Declares an accumulator per key.

    Args:
        function: how values become a result; an instance.
        type: the accumulator's type, for the graph's fingerprint.
        options: ``name``, ``ttl``, ``version``, ``migrate``: see ``StateDescriptor``; what
            migrates are accumulators.
    """

    kind = "aggregating"

    def __init__(
        self,
        function: AggregateFunction[IN, Any, OUT],
        type: Any = Any,
        **options: Unpack[StateOptions],
    ) -> None:
        if not isinstance(function, AggregateFunction):
            raise ConfigError(
                f"AggregatingStateDescriptor: expected an instance of an AggregateFunction; got "
                f"{function!r}"
            )
        check_function(function.add, 2, "AggregatingStateDescriptor")
        super().__init__(**options)
        self.type = type
        self.function = function


class OperatorStateDescriptor(StateDescriptor[ListState[T]], Generic[T]):
    """Declares a list of the whole operator's, whatever the key (Flink's operator list state).

    It is a list so that it can be dealt out when the operator runs on more workers. It is there
    in ``open`` as well.

    Args:
        type: the elements' type.
        options: ``name``, ``version``, ``migrate``: see ``StateDescriptor``.
    """

    kind = "operator"
    keyed = False

    def __init__(self, type: type[T], **options: Unpack[StateOptions]) -> None:
        if options.get("ttl") is not None:
            raise ConfigError("OperatorStateDescriptor: an operator's own state has no ttl")
        super().__init__(**options)
        self.type = list[type]  # type: ignore[valid-type]  # as of a list per key


def find_states(function_class: type) -> dict[str, StateDescriptor[Any]]:
    """Return the states a process function's class declares, by attribute name.

    Raises:
        ConfigError: two of them have one name, or one has that of the timers.
    """
    found: dict[str, StateDescriptor[Any]] = {}
    for base in reversed(function_class.__mro__):
        found.update(_descriptors(base))
        found.update(vars(base).get(_TAKEN, {}))
    names = [descriptor.name for descriptor in found.values()]
    if PROCESSING_TIME_TIMERS in names:
        raise ConfigError(
            f"{function_class.__name__} names a state {PROCESSING_TIME_TIMERS!r}, which is where "
            "its timers are; give it another name"
        )
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(
            f"{function_class.__name__} declares two states named {sorted(map(str, twice))[0]!r}; "
            "give each a name of its own"
        )
    return found


def take_states(function_class: type) -> None:
    """Take the states out of a class that has just been made, and remember them.

    A class attribute with ``__get__`` keeps CPython 3.11 from specialising ``self.total``, even
    where the instance has the attribute; nor must the class have ``__getattr__``.
    """
    taken = _descriptors(function_class)
    for attribute in taken:
        delattr(function_class, attribute)
    # A dataclass with slots is a second class, made of what is left of the first.
    setattr(function_class, _TAKEN, {**vars(function_class).get(_TAKEN, {}), **taken})


def _descriptors(function_class: type) -> dict[str, StateDescriptor[Any]]:
    return {
        attribute: value
        for attribute, value in vars(function_class).items()
        if isinstance(value, StateDescriptor)
    }
