"""What the declarations of all kinds of state have in common: name, life, version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, NoReturn, Self, TypedDict, TypeVar, cast, overload

from millstream.core.duration import Duration
from millstream.core.errors import ConfigError
from millstream.core.function_kind import call_fault, is_async, name_of
from millstream.core.state_ttl import StateTtlConfig

S = TypeVar("S")

Migrate = Callable[[Any], Any]
"""From a value as it was saved to what it is now."""


class StateOptions(TypedDict, total=False):
    """What may be said of a state of any kind; see ``StateDescriptor``."""

    name: str | None
    ttl: Duration | StateTtlConfig | None
    version: int
    migrate: Migrate | Mapping[int, Migrate] | None


class StateDescriptor(Generic[S]):
    """Declares a state, as an attribute in the body of a process function's class.

    Args:
        name: names the state in snapshots; by default the attribute's name.
        ttl: how long a value lives: ``"5m"``, a ``timedelta``, or a ``StateTtlConfig``.
        version: of the values' form. Raise it when a saved value has to become another one.
        migrate: makes of a value saved under a lower version what it is now; of a list each
            element, of a map each value. Either one function for all lower versions, or one
            step from each to the next: ``{1: from_1_to_2, 2: from_2_to_3}``. It runs before the
            job starts.

    Attributes:
        kind: what it keeps: ``value``, ``list``, ``map``, ``reducing``, ``aggregating``,
            ``operator``.
        keyed: whether it has a value for each key, or one for the whole operator.
        type: the type of what is kept for one key; part of the graph's fingerprint.
    """

    kind: ClassVar[str]
    keyed: ClassVar[bool] = True
    type: Any  # a class, or what typing makes of it

    def __init__(
        self,
        *,
        name: str | None = None,
        ttl: Duration | StateTtlConfig | None = None,
        version: int = 1,
        migrate: Migrate | Mapping[int, Migrate] | None = None,
    ) -> None:
        self.name = name
        self.ttl = ttl if ttl is None or isinstance(ttl, StateTtlConfig) else StateTtlConfig(ttl)
        self.version = version
        self.migrate = migrate
        _check_version(version, migrate)

    def __set_name__(self, owner: object, name: str) -> None:
        self.attribute = name
        self.name = self.name or name

    @overload
    def __get__(self, instance: None, owner: Any) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: Any) -> S: ...
    def __get__(self, instance: object | None, owner: Any) -> Self | S:
        # For type checkers, and for classes that only mix states in: a process function's own are
        # taken out of its class (see take_states), and the engine sets live ones on its copy.
        if instance is None:
            return self
        return cast(S, UnboundState(owner.__name__, str(self.name)))


class UnboundState:
    """Stands for a state on an instance that no engine runs; it refuses to be used."""

    __slots__ = ("_message",)

    def __init__(self, owner: str, name: str) -> None:
        self._message = (
            f"state {name!r} of {owner} was used outside a running job; use it in process_element"
        )

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("_"):  # such as __deepcopy__, which copies of the function look for
            raise AttributeError(name)
        return self._refuse

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise ConfigError(self._message)


def check_function(function: Any, arguments: int, where: str) -> None:
    """Refuse what cannot be called with so many arguments, or would have to be awaited.

    Raises:
        ConfigError: with the reason.
    """
    if not callable(function):
        raise ConfigError(f"{where}: expected a function; got {function!r}")
    if is_async(function):
        raise ConfigError(f"{where}: {name_of(function)} is 'async def'; state waits for nothing")
    fault = call_fault(function, arguments)
    if fault:
        raise ConfigError(f"{where}: {fault}")


def _check_version(version: Any, migrate: Any) -> None:
    if type(version) is not int or version < 1:
        raise ConfigError(f"version of a state: expected 1 or more; got {version!r}")
    if migrate is None:
        return
    if version == 1:
        raise ConfigError("migrate: there is nothing before version 1; say version=2 with it")
    if not isinstance(migrate, Mapping):
        check_function(migrate, 1, "migrate")
        return
    numbered = bool(migrate) and all(type(step) is int and step > 0 for step in migrate)
    if not numbered or set(migrate) != set(range(min(migrate), version)):
        raise ConfigError(
            f"migrate: expected a step from each version to the next, the last one from "
            f"{version - 1}; got steps from {list(migrate)}"
        )
    for step, function in migrate.items():
        check_function(function, 1, f"migrate from version {step}")
