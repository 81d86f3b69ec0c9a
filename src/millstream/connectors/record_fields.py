"""The fields of a record's type: what a column of a file or of the screen is called."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_type_hints

import msgspec


@dataclass(frozen=True, slots=True)
class RecordField:
    """One field of a Struct or dataclass.

    Attributes:
        name: the attribute.
        column: what it is called outside (a Struct may rename its fields).
        type: its type.
        required: it has no default.
    """

    name: str
    column: str
    type: Any
    required: bool


def fields_of(record_type: Any) -> tuple[RecordField, ...] | None:
    """Return the fields of a Struct or dataclass in order, or None if it is neither.

    Raises:
        NameError: an annotation names something that cannot be found.
    """
    return _fields_of(record_type) if isinstance(record_type, type) else None


@lru_cache(maxsize=256)
def _fields_of(record_type: Any) -> tuple[RecordField, ...] | None:
    if issubclass(record_type, msgspec.Struct):
        return tuple(
            RecordField(field.name, field.encode_name, field.type, field.required)
            for field in msgspec.structs.fields(record_type)
        )
    if dataclasses.is_dataclass(record_type):
        hints = get_type_hints(record_type, include_extras=True)
        missing = dataclasses.MISSING
        return tuple(
            RecordField(
                field.name,
                field.name,
                hints[field.name],
                field.default is missing and field.default_factory is missing,
            )
            for field in dataclasses.fields(record_type)
            if field.init
        )
    return None


def as_mapping(record: Any) -> Mapping[Any, Any] | None:
    """Return a dict, Struct or dataclass by its column names, or None if it is none of them."""
    if isinstance(record, Mapping):
        return record
    fields = fields_of(type(record))
    if fields is None:
        return None
    return {field.column: getattr(record, field.name) for field in fields}
