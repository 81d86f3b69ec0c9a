"""Checks field names and key types against a record type that is known before the run."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from millstream.core.errors import GraphError
from millstream.core.function_kind import name_of
from millstream.core.key import check_key_type


def fields_of(record_type: Any) -> dict[str, Any] | None:
    """Return a typed record's fields with their types, or None where they are not known."""
    if not isinstance(record_type, type):
        return None
    typed = typing.is_typeddict(record_type) or any(
        hasattr(record_type, mark)
        for mark in ("__struct_fields__", "__dataclass_fields__", "_fields")
    )
    if not typed:
        return None
    try:
        hints = typing.get_type_hints(record_type)
    except (NameError, TypeError):  # a type only the checker can see; the records will tell
        return None
    return hints or dict.fromkeys(getattr(record_type, "_fields", ()), Any)


def check_fields(where: str, record_type: Any, names: Iterable[str]) -> None:
    """Refuse a field that the record type does not have.

    Raises:
        GraphError: with the nearest name.
    """
    fields = fields_of(record_type)
    if fields is None:
        return
    for name in names:
        attribute = not typing.is_typeddict(record_type) and hasattr(record_type, name)
        if name in fields or attribute:
            continue
        near = difflib.get_close_matches(name, fields, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise GraphError(
            f"{where}: {record_type.__name__} has no field {name!r}{guess}; "
            f"it has: {', '.join(fields)}"
        )


def check_key_field(where: str, record_type: Any, name: str) -> None:
    """Refuse a key field whose declared type cannot be a key."""
    declared = (fields_of(record_type) or {}).get(name)
    for kind in _refused(declared):
        check_key_type(kind, f"{where}: field {name!r} of {record_type.__name__}")


def promises_key_type(record_type: Any, names: tuple[str, ...]) -> bool:
    """Return whether a decoder that validates makes sure of the key: one field, of an exact type.

    msgspec puts exactly a ``str``, ``bytes`` or ``int`` where the type says so, but takes a default
    (``user: str = None``) and what ``__post_init__`` does as they are.
    """
    kinds = [(fields_of(record_type) or {}).get(name) for name in names]
    exact = kinds[0] in (str, bytes, int) and len(kinds) == 1
    changed = hasattr(record_type, "__post_init__")
    return exact and not changed and not _has_default(record_type, names[0])


def _has_default(record_type: Any, name: str) -> bool:
    if hasattr(record_type, "__struct_fields__"):
        with_default = len(record_type.__struct_fields__) - len(record_type.__struct_defaults__)
        return name in record_type.__struct_fields__[with_default:]
    if hasattr(record_type, "__dataclass_fields__"):
        field = record_type.__dataclass_fields__[name]
        missing = dataclasses.MISSING
        return field.default is not missing or field.default_factory is not missing
    return name in getattr(record_type, "_field_defaults", ())


def check_key_function(where: str, function: Callable[..., Any]) -> None:
    """Refuse a key function whose declared result cannot be a key."""
    try:
        declared = typing.get_type_hints(function).get("return")
    except (NameError, TypeError):
        return
    for kind in _refused(declared):
        check_key_type(kind, f"{where}: the result of {name_of(function)}")


def _refused(declared: Any) -> Iterator[type]:
    """Yield what is certainly no key in a declared type: itself, or a member of a union."""
    is_union = typing.get_origin(declared) in (typing.Union, types.UnionType)
    for member in typing.get_args(declared) if is_union else (declared,):
        kind = typing.get_origin(member) or member
        if isinstance(kind, type) and issubclass(kind, float | list | dict | set):
            yield kind
