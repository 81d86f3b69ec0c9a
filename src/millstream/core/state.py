"""Keyed state: how it is declared, and what a function does with it.

A state is declared as a class attribute of a process function and found there when the job is
built, so its name and type are part of the graph. Reading the attribute on an instance gives the
live state of the current key.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar, overload

from millstream.core.errors import ConfigError, InternalError

T = TypeVar("T")


class ValueState(Protocol[T]):
    """One value per key (Flink's ``ValueState``)."""

    def value(self) -> T:
        """Return the current key's value, or the descriptor's default.

        Do not change a value in place: ``update`` with a new one, so that a snapshot in flight
        sees the old one.
        """

    def update(self, value: T) -> None:
        """Set the current key's value."""

    def clear(self) -> None:
        """Forget the current key's value."""


class ValueStateDescriptor(Generic[T]):
    """Declares one value per key.

    Args:
        type: the value's type; part of the graph's fingerprint.
        default: what ``value()`` gives for a key without one. It is shared between keys, so it
            must be immutable.
        name: names the state in snapshots; by default the attribute's name.

    Example:
        >>> class Visits(KeyedProcessFunction[str, int]):
        ...     seen = ValueStateDescriptor(int, default=0)
    """

    kind = "value"

    def __init__(self, type: type[T], *, default: T, name: str | None = None) -> None:
        if isinstance(default, list | dict | set | bytearray):
            raise ConfigError(
                f"the default of a ValueState is shared between keys and must be immutable; "
                f"got {default!r}: use None and make a new one in process_element"
            )
        self.type = type
        self.default = default
        self.name = name

    def __set_name__(self, owner: object, name: str) -> None:
        self.attribute = name
        self.name = self.name or name

    @overload
    def __get__(self, instance: None, owner: Any) -> ValueStateDescriptor[T]: ...
    @overload
    def __get__(self, instance: object, owner: Any) -> ValueState[T]: ...
    def __get__(
        self, instance: object | None, owner: Any
    ) -> ValueStateDescriptor[T] | ValueState[T]:
        # A running engine puts the live state into the instance's dict, which Python prefers to
        # this method; so it is reached only where no engine runs.
        if instance is None:
            return self
        raise InternalError(
            f"state {self.name!r} of {owner.__name__} was read outside a running job"
        )


def find_states(function_class: type) -> dict[str, ValueStateDescriptor[Any]]:
    """Return the states a process function's class declares, by attribute name.

    Raises:
        ConfigError: two of them have one name.
    """
    found: dict[str, ValueStateDescriptor[Any]] = {}
    for base in reversed(function_class.__mro__):
        for attribute, value in vars(base).items():
            if isinstance(value, ValueStateDescriptor):
                found[attribute] = value
    names = [descriptor.name for descriptor in found.values()]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(
            f"{function_class.__name__} declares two states named {sorted(map(str, twice))[0]!r}; "
            "give each a name of its own"
        )
    return found
