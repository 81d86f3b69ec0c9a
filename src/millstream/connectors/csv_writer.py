"""How records become CSV text: one header, and the same fields in every record."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from typing import Any

import msgspec

from millstream.connectors.files import EncodeError
from millstream.connectors.record_columns import columns_of, names_of

_PLAIN = frozenset({str, int, float, type(None)})  # what the csv module writes as it should be


class CsvWriter:
    """Writes dicts, Structs and dataclasses under one header.

    Args:
        fields: the header; None takes the fields of the first record.

    Attributes:
        header: the header, None as long as it is not known.
    """

    def __init__(self, fields: tuple[str, ...] | None) -> None:
        self.header = fields

    def begin(self) -> bytes:
        """Return the header line, b"" as long as it is not known."""
        return b"" if self.header is None else _text([self.header])

    def encode(self, values: Sequence[Any]) -> bytes:
        """Return the rows of records, the header before the first if ``begin`` had none.

        Raises:
            EncodeError: a record has other fields, or a cell is no scalar; nothing has changed.
        """
        begun = self.header is not None
        rows = self.rows(values)
        return rows if begun else self.begin() + rows

    def rows(self, values: Sequence[Any]) -> bytes:
        """Return the rows of records, never with the header, which is known from the first on.

        Raises:
            EncodeError: a record has other fields, or a cell is no scalar; nothing has changed.
        """
        if not values:
            return b""
        header = self.header or names_of(values[0], "a CSV row")
        columns = [
            column
            if _PLAIN.issuperset(map(type, column))
            else [_cell(name, value) for value in column]
            for name, column in zip(header, columns_of(header, values, "file"), strict=True)
        ]
        text = _text(list(zip(*columns, strict=True)))
        self.header = header
        return text


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
