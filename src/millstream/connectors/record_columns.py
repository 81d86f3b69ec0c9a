"""Records as columns: how sinks that write tables take dicts, Structs and dataclasses apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import attrgetter, itemgetter
from typing import Any

from millstream.connectors.files import EncodeError
from millstream.connectors.record_fields import as_mapping, fields_of


def names_of(record: Any, row: str) -> tuple[str, ...]:
    """Return the names of a record's fields, in order.

    Args:
        record: a dict, Struct or dataclass.
        row: what is to be made of it, for the error.

    Raises:
        EncodeError: it has none.
    """
    fields = as_mapping(record)
    if not fields or not all(isinstance(name, str) for name in fields):
        raise EncodeError(f"{row} is made of a dict with names, a Struct or a dataclass")
    return tuple(fields)


def columns_of(header: tuple[str, ...], values: Sequence[Any], target: str) -> list[Sequence[Any]]:
    """Return the values of records by column; there must be one.

    Args:
        header: the names of the columns.
        values: the records.
        target: what has the columns, for the error: ``file`` or ``table``.

    Raises:
        EncodeError: a record has other fields.
    """
    # Column by column, where all are of one kind: faster than row by row.
    kind = type(values[0])
    if {kind}.issuperset(map(type, values)):
        if kind is dict and {len(header)}.issuperset(map(len, values)):
            with suppress(KeyError):  # found again below
                return [list(map(itemgetter(name), values)) for name in header]
        names = {field.column: field.name for field in fields_of(kind) or ()}
        if set(names) == set(header):
            return [list(map(attrgetter(names[name]), values)) for name in header]
    return list(zip(*[_cells(header, value, target) for value in values], strict=True))


def _cells(header: tuple[str, ...], record: Any, target: str) -> list[Any]:
    fields = record if isinstance(record, Mapping) else as_mapping(record)
    if fields is not None and len(fields) == len(header):
        try:
            return [fields[name] for name in header]
        except KeyError:
            pass
    row = "a CSV row" if target == "file" else "a row"
    raise EncodeError(
        f"it has the fields {', '.join(names_of(record, row))}, but the {target} has "
        f"{', '.join(header)}; use map before the sink to give all records the same"
    )
