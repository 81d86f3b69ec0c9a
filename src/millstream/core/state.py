"""Keyed state: how it is declared, and what a function does with it.

A state is declared as a class attribute of a process function and found there when the job is
built, so its name and type are part of the graph. Reading the attribute on an instance gives the
live state of the current key.
"""

from __future__ import annotations

from typing import Any, Generic, NoReturn, Protocol, TypeVar, overload

from millstream.core.errors import ConfigError

T = TypeVar("T")
_TAKEN = "_millstream_states"  # the class attribute in which take_states keeps what it took


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
        >>> class Visits:  # a KeyedProcessFunction
        ...     seen = ValueStateDescriptor(int, default=0)
        >>> Visits.seen.name
        'seen'
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
        # For type checkers, and for classes that only mix states in: a process function's own are
        # taken out of its class (see take_states), and the engine sets live ones on its copy.
        return self if instance is None else UnboundState(owner.__name__, str(self.name))


def find_states(function_class: type) -> dict[str, ValueStateDescriptor[Any]]:
    """Return the states a process function's class declares, by attribute name.

    Raises:
        ConfigError: two of them have one name.
    """
    found: dict[str, ValueStateDescriptor[Any]] = {}
    for base in reversed(function_class.__mro__):
        found.update(_descriptors(base))
        found.update(vars(base).get(_TAKEN, {}))
    names = [descriptor.name for descriptor in found.values()]
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


class UnboundState:
    """Stands for a state on an instance that no engine runs."""

    __slots__ = ("_message",)

    def __init__(self, owner: str, name: str) -> None:
        self._message = (
            f"state {name!r} of {owner} was used outside a running job; use it in process_element"
        )

    def value(self) -> NoReturn:
        """Refuse: there is no key.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(self._message)

    def update(self, value: object) -> NoReturn:
        """Refuse: there is no key."""
        raise ConfigError(self._message)

    def clear(self) -> NoReturn:
        """Refuse: there is no key."""
        raise ConfigError(self._message)


def _descriptors(function_class: type) -> dict[str, ValueStateDescriptor[Any]]:
    return {
        attribute: value
        for attribute, value in vars(function_class).items()
        if isinstance(value, ValueStateDescriptor)
    }
