"""Describes the declared type of a state, so that state of another type is refused by name."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any, NotRequired  # a declared type may be anything that Python takes for one

import msgspec

from millstream.core.errors import ConfigError
from millstream.core.stable_repr import stable_repr
from millstream.runtime.snapshot.classes import Constant, is_record, record_defaults, record_fields
from millstream.runtime.snapshot.tags import TO_BYTES

_PLAIN = {type(None), bool, float, bytes, *TO_BYTES}  # TO_BYTES has int and str
_GENERIC = {list, tuple, dict, set, frozenset}
_Classes = dict[type, bool]  # those met; True: it is being described right now


class FieldDescription(msgspec.Struct, frozen=True, omit_defaults=True):
    """A field of a class: its type, and its default as text, None if it has none."""

    type: TypeDescription
    default: str | None = None


class TypeDescription(msgspec.Struct, frozen=True, omit_defaults=True):
    """A type as plain values.

    Attributes:
        name: ``int``, ``list``, ``any``, ``union``, or a class by its qualified name.
        args: of a generic type or a union.
        fields: of a Struct, dataclass, named tuple or TypedDict, by name. A class within itself
            has none.
        members: of an Enum.
    """

    name: str
    args: tuple[TypeDescription, ...] = ()
    fields: dict[str, FieldDescription] | None = None
    members: tuple[str, ...] | None = None

    def __str__(self) -> str:
        if self.name == "union":
            return " | ".join(map(str, self.args))
        text = f"{self.name}[{', '.join(map(str, self.args))}]" if self.args else self.name
        if self.members is not None:
            return f"{text}({' | '.join(self.members)})"
        if self.fields is None:
            return text
        fields = (
            f"{name}: {each.type}" + (f" = {each.default}" if each.default is not None else "")
            for name, each in self.fields.items()
        )
        return f"{text}({', '.join(fields)})"


def describe(declared: Any) -> TypeDescription:
    """Return the description of a declared type.

    Example:
        >>> print(describe(dict[str, tuple[int, float] | None]))
        dict[str, tuple[int, float] | None]

    Raises:
        ConfigError: a part of it is a class that state does not keep.
    """
    return _describe(declared, {})


def declared_classes(declared: Any) -> list[type]:
    """Return the classes that a declared type names, for a ``Codec``."""
    found: _Classes = {}
    _describe(declared, found)
    return list(found)


def type_changes(old: TypeDescription, new: TypeDescription, path: str = "the type") -> list[str]:
    """Return what keeps state of an old type from being read as a new one; nothing: it loads.

    A field with a default may be new, and an Enum may have new members. A class may have moved to
    another module.
    """
    if (old.name, len(old.args)) != (new.name, len(new.args)) or (
        (old.fields is None, old.members is None) != (new.fields is None, new.members is None)
    ):
        return [f"{path} was {old}, is {new}"]
    changes = [
        change
        for index, (before, after) in enumerate(zip(old.args, new.args, strict=True))
        for change in type_changes(before, after, f"{path}[{index}]")
    ]
    changes += _member_changes(old, new, path)
    before_fields, after_fields = old.fields or {}, new.fields or {}
    owner = new.name if new.fields is not None else path
    for name, before in before_fields.items():
        if name not in after_fields:
            changes.append(f"{owner}.{name} ({before.type}) is gone")
        else:
            changes += type_changes(before.type, after_fields[name].type, f"{owner}.{name}")
    changes += [
        f"{owner}.{name} ({field.type}) is new and has no default"
        for name, field in after_fields.items()
        if name not in before_fields and field.default is None
    ]
    return changes


def _member_changes(old: TypeDescription, new: TypeDescription, path: str) -> Iterator[str]:
    for name in old.members or ():
        if name not in (new.members or ()):
            yield f"{path}: the member {new.name}.{name} is gone"


def _describe(declared: Any, classes: _Classes) -> TypeDescription:
    if declared is Any or declared is object:
        return TypeDescription("any")
    if declared is None:
        return TypeDescription("None")
    if declared is Ellipsis:
        return TypeDescription("...")
    if isinstance(declared, typing.TypeVar | str | typing.ForwardRef):
        return TypeDescription("any")  # what it stands for is not known here
    if isinstance(declared, typing.NewType):
        return _describe(declared.__supertype__, classes)
    origin, args = typing.get_origin(declared), typing.get_args(declared)
    if origin in (typing.Annotated, typing.Required, NotRequired):
        return _describe(args[0], classes)
    if origin is typing.Literal:
        return TypeDescription("Literal", tuple(TypeDescription(stable_repr(a)) for a in args))
    if origin in (typing.Union, types.UnionType):
        members = sorted((_describe(each, classes) for each in args), key=_none_last)
        return TypeDescription("union", tuple(members))
    parts = tuple(_describe(each, classes) for each in args)
    return _describe_class(origin or declared, parts, classes)


def _none_last(description: TypeDescription) -> tuple[bool, str]:
    return description.name == "None", str(description)


def _describe_class(
    cls: Any, args: tuple[TypeDescription, ...], classes: _Classes
) -> TypeDescription:
    if not isinstance(cls, type):
        raise ConfigError(f"{cls!r} is no type that state can be declared as")
    if cls in _PLAIN or cls in _GENERIC:
        return TypeDescription("None" if cls is type(None) else cls.__name__, args)
    if cls.__module__ in ("collections.abc", "typing"):
        return TypeDescription(cls.__qualname__, args)  # Mapping, Sequence, Hashable …
    if issubclass(cls, Enum):
        classes[cls] = False
        return TypeDescription(cls.__qualname__, members=tuple(cls.__members__))
    if not typing.is_typeddict(cls) and not is_record(cls):
        raise ConfigError(
            f"state cannot keep objects of the class {cls.__module__}.{cls.__qualname__}; make it "
            "a msgspec.Struct or a dataclass, or keep its fields"
        )
    if classes.get(cls):
        return TypeDescription(cls.__qualname__, args)  # within itself
    classes[cls] = True
    fields = _describe_fields(cls, classes)
    classes[cls] = False
    return TypeDescription(cls.__qualname__, args, fields)


def _describe_fields(cls: Any, classes: _Classes) -> dict[str, FieldDescription]:
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError:  # it names what only a type checker sees
        hints = {}
    if is_record(cls):
        names = record_fields(cls)
        texts = {name: _default_text(make) for name, make in record_defaults(cls).items()}
    else:
        names = tuple(hints)
        # Where annotations are text, only the hints tell which keys are optional.
        absent = [name for name in names if typing.get_origin(hints.get(name)) is NotRequired]
        texts = dict.fromkeys([*cls.__optional_keys__, *absent], "absent")
    return {
        name: FieldDescription(_describe(hints.get(name, Any), classes), texts.get(name))
        for name in names
    }


def _default_text(make: Any) -> str:
    if isinstance(make, Constant):
        return stable_repr(make.value)
    return f"{getattr(make, '__qualname__', 'a function')}()"
