"""Classes in snapshots: what each is called, its fields, and how an object is made again."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from enum import Enum, Flag
from operator import attrgetter
from pathlib import Path
from typing import Any  # a serialisation edge: objects of any class

import msgspec

from millstream.runtime.snapshot.errors import StateDecodeError
from millstream.runtime.snapshot.tags import NotKeptError

_Row = tuple[Any, ...]  # the values of an object's fields
_Maker = Callable[[Iterable[_Row]], list[Any]]


class Classes:
    """Finds classes by the names that snapshots have for them.

    A name is looked for among the declared classes, then among those of the modules that are
    loaded; nothing is imported because a snapshot names it. A declared class is found again when it
    has moved to another module.
    """

    def __init__(self, declared: Iterable[type] = ()) -> None:
        self._declared = {class_name(each): each for each in declared}
        plain_names = [each.__qualname__ for each in self._declared.values()]
        self._moved = {
            each.__qualname__: each
            for each in self._declared.values()
            if plain_names.count(each.__qualname__) == 1
        }

    def name(self, cls: type) -> str:
        """Return what a class is called in a snapshot.

        Raises:
            NotKeptError: under that name it would not be found again.
        """
        name = class_name(cls)
        if self._find(name) is not cls:
            raise NotKeptError(
                f"the class {name} would not be found again by that name; define it at the top of "
                "a module, or declare it as the type of the state"
            )
        return name

    def find(self, name: str) -> type:
        """Return the class of that name.

        Raises:
            StateDecodeError: there is none.
        """
        found = self._find(name)
        if found is None:
            raise StateDecodeError(
                f"saved state has values of the class {name}, which is not there (any more); "
                "bring it back, or load the state by a migration function"
            )
        return found

    def _find(self, name: str) -> type | None:
        if name in self._declared:
            return self._declared[name]
        module, _, path = name.partition(":")
        loaded = [sys.modules.get(module)]
        if module == _main_name():
            loaded.insert(0, sys.modules["__main__"])
        for owner in loaded:
            found: Any = owner
            for part in path.split("."):
                found = getattr(found, "__dict__", {}).get(
                    part
                )  # a module's __getattr__ may import
            if isinstance(found, type) and (issubclass(found, Enum) or is_record(found)):
                return found
        return self._moved.get(path)


def class_name(cls: type) -> str:
    """Return ``module:qualname``; a job file run as ``__main__`` has its own name as module."""
    module = cls.__module__
    return f"{_main_name() if module == '__main__' else module}:{cls.__qualname__}"


def _main_name() -> str:
    """Return what ``__main__`` is called when it is imported instead of run."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return str(spec.name)
    return Path(file).stem if file else "__main__"


def is_record(cls: type) -> bool:
    """Return whether it is a class of named fields: Struct, dataclass or named tuple."""
    if issubclass(cls, tuple):
        return hasattr(cls, "_fields") and hasattr(cls, "_make")
    if issubclass(cls, msgspec.Struct):
        return True
    # One that is a dict or an Exception as well has more in it than its fields.
    return dataclasses.is_dataclass(cls) and cls.__new__ is object.__new__


def record_fields(cls: Any) -> tuple[str, ...]:
    """Return the names of a record class's fields, in order."""
    if issubclass(cls, msgspec.Struct):
        return tuple(cls.__struct_fields__)
    if issubclass(cls, tuple):
        return tuple(cls._fields)
    return tuple(field.name for field in dataclasses.fields(cls))


class Constant:
    """Makes a default that is always the same value."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self) -> Any:
        """Return the value."""
        return self.value


def record_defaults(cls: Any) -> dict[str, Callable[[], Any]]:
    """Return what makes the value of each field that has a default."""
    if issubclass(cls, tuple):
        defaults = cls._field_defaults
        return {name: Constant(value) for name, value in defaults.items()}
    struct = issubclass(cls, msgspec.Struct)
    none: Any = msgspec.NODEFAULT if struct else dataclasses.MISSING
    found: dict[str, Callable[[], Any]] = {}
    fields: Any = msgspec.structs.fields(cls) if struct else dataclasses.fields(cls)
    for field in fields:
        if field.default_factory is not none:
            found[field.name] = field.default_factory
        elif field.default is not none:
            found[field.name] = Constant(field.default)
    return found


def row_of(fields: Sequence[str]) -> Callable[[Any], _Row]:
    """Return what turns an object into the tuple of its fields' values."""
    if len(fields) > 1:
        return attrgetter(*fields)
    return lambda value: tuple(getattr(value, name) for name in fields)


def maker(cls: Any, stored: Sequence[str]) -> _Maker:
    """Return what makes objects of rows with the values of ``stored`` fields.

    A field that is not stored gets its default. The fields are set as they were: ``__init__`` and
    ``__post_init__``, which may change them, are not called. (A Struct's ``__post_init__`` is
    called for the first row of many, whose copies the others are: nothing else makes a Struct.)

    Raises:
        StateDecodeError: the class has no such field (any more), or a new one without default.
    """
    own = record_fields(cls)
    gone = [name for name in stored if name not in own]
    new = [name for name in own if name not in stored]
    defaults = record_defaults(cls) if new else {}
    bare = [name for name in new if name not in defaults]
    if gone or bare:
        what = [f"saved state has a field {name!r}, which the class has not" for name in gone]
        what += [f"the field {name!r} is new and has no default" for name in bare]
        raise StateDecodeError(
            f"class {class_name(cls)}: {'; '.join(what)}: give a new field a default; anything "
            "else needs a migration function"
        )
    make = _from_full_rows(cls, own)
    if tuple(stored) == own:
        return make
    at = {name: index for index, name in enumerate(stored)}
    return lambda rows: make(
        tuple(row[at[name]] if name in at else defaults[name]() for name in own) for row in rows
    )


def _from_full_rows(cls: Any, own: tuple[str, ...]) -> _Maker:
    if issubclass(cls, tuple):
        return lambda rows: list(map(cls._make, rows))
    if not issubclass(cls, msgspec.Struct):
        return lambda rows: [
            _filled(object.__new__(cls), own, row, object.__setattr__) for row in rows
        ]
    by_position = cls.__match_args__ == own
    call = _by_name(cls, own) if not by_position else lambda row: cls(*row)
    if not hasattr(cls, "__post_init__"):
        return lambda rows: list(map(call, rows))

    def copies(rows: Iterable[_Row]) -> list[Any]:
        made: list[Any] = []
        for row in rows:
            each = copy(made[0]) if made else call(row)
            made.append(_filled(each, own, row, msgspec.structs.force_setattr))
        return made

    return copies


def _by_name(cls: Any, own: tuple[str, ...]) -> Callable[[_Row], Any]:
    return lambda row: cls(**dict(zip(own, row, strict=True)))


def _filled(
    target: Any, names: tuple[str, ...], row: _Row, set_field: Callable[[Any, str, Any], None]
) -> Any:
    """Set the fields, also past ``frozen=True``."""
    for name, value in zip(names, row, strict=True):
        set_field(target, name, value)
    return target


def enum_member(member: Enum) -> str | int:
    """Return a member's name, or the value of a combination of flags.

    Raises:
        NotKeptError: the class has no member of that name.
    """
    cls = type(member)
    if cls.__members__.get(member.name) is member:
        return member.name
    if isinstance(member, Flag) and isinstance(member.value, int):
        return member.value
    raise NotKeptError(f"{member!r} is no member of {class_name(cls)}")


def find_enum_member(cls: Any, name: str | int) -> Enum:
    """Return the member that ``enum_member`` has named.

    Raises:
        StateDecodeError: the class has it no more.
    """
    try:
        found: Enum = cls[name] if isinstance(name, str) else cls(name)
    except (KeyError, ValueError) as error:
        raise StateDecodeError(
            f"saved state has the member {name!r} of {class_name(cls)}, which is not there (any "
            "more); bring it back, or load the state by a migration function"
        ) from error
    return found
