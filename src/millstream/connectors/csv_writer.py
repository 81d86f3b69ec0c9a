"""How records become CSV text: one header, and the same fields in every record."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from operator import attrgetter
from typing import Any

import msgspec

from millstream.connectors.files import EncodeError
from millstream.connectors.record_fields import as_mapping, fields_of

_PLAIN = frozenset({str, int, float, type(None)})  # what the csv module writes as it should be


class CsvWriter:
    """Writes dicts, Structs and dataclasses under one header.

    Args:
        fields: the header; None takes the fields of the first record.
    """

    def __init__(self, fields: tuple[str, ...] | None) -> None:
        self._header = fields

    def begin(self) -> bytes:
        """Return the header line, b"" as long as it is not known."""
        return b"" if self._header is None else _text([self._header])

    def encode(self, values: Sequence[Any]) -> bytes:
        """Return the rows of records, the header before the first if ``begin`` had none.

        Raises:
            EncodeError: a record has other fields, or a cell is no scalar; nothing has changed.
        """
        if not values:
            return b""
        header = self._header or _names(values[0])
        columns = [
            column
            if _PLAIN.issuperset(map(type, column))
            else [_cell(name, value) for value in column]
            for name, column in zip(header, _columns(header, values), strict=True)
        ]
        text = _text(list(zip(*columns, strict=True)))
        if self._header is None:
            text = _text([header]) + text
        self._header = header
        return text


def _names(record: Any) -> tuple[str, ...]:
    fields = as_mapping(record)
    if not fields or not all(isinstance(name, str) for name in fields):
        raise EncodeError("a CSV row is made of a dict with names, a Struct or a dataclass")
    return tuple(fields)


def _columns(header: tuple[str, ...], values: Sequence[Any]) -> list[Sequence[Any]]:
    kind = type(values[0])
    fields = fields_of(kind) if {kind}.issuperset(map(type, values)) else None
    names = {field.column: field.name for field in fields or ()}
    if set(names) == set(header):  # column by column: twice as fast as row by row
        return [list(map(attrgetter(names[name]), values)) for name in header]
    return list(zip(*[_cells(header, value) for value in values], strict=True))


def _cells(header: tuple[str, ...], record: Any) -> list[Any]:
    fields = record if isinstance(record, Mapping) else as_mapping(record)
    if fields is not None and len(fields) == len(header):
        try:
            return [fields[name] for name in header]
        except KeyError:
            pass
    raise EncodeError(
        f"it has the fields {', '.join(_names(record))}, but the file has {', '.join(header)}; "
        "use map before the sink to give all records the same"
    )


def _cell(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    plain = msgspec.to_builtins(value)  # dates, decimals, enums … as JSON has them
    if isinstance(plain, list | tuple | dict | set):
        raise EncodeError(f"field {name!r} is a {type(value).__name__}, and a CSV cell is a scalar")
    return plain


def _text(rows: Sequence[Sequence[Any]]) -> bytes:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    if "\r" in text.getvalue():  # which not every Python puts in quotes by itself
        text = StringIO()
        csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue().encode()
