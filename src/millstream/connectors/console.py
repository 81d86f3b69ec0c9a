"""Shows records on the screen, as lines or as a table at the end."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from millstream.connectors.options import bad_option, check_integer
from millstream.connectors.record_fields import as_mapping
from millstream.core.connector import Connector
from millstream.core.errors import ConfigError
from millstream.core.sink import Sink, SinkContext

DEFAULT_ROWS = 50  # about a screen
SMALLEST_ROUNDED = 0.001  # three decimals show it


class LinesSink(Sink[Any]):
    """Prints each record as it comes."""

    def __init__(self, limit: int | None, title: str | None) -> None:
        self.limit = limit
        self.title = title
        self._seen = 0

    def open(self, ctx: SinkContext) -> None:
        """Print the title."""
        self._seen = 0
        if self.title is not None:
            print(self.title)

    def invoke(self, value: Any, ctx: SinkContext) -> None:
        """Print one record."""
        self.invoke_batch([value], ctx)

    def invoke_batch(self, values: Sequence[Any], ctx: SinkContext) -> None:
        """Print records."""
        shown = values if self.limit is None else values[: max(self.limit - self._seen, 0)]
        self._seen += len(values)
        if shown:
            # One write, so that lines of two sinks do not mix.
            sys.stdout.write("".join(f"{_line(value)}\n" for value in shown))

    def flush(self) -> None:
        """Push what was printed through to the screen or pipe."""
        sys.stdout.flush()

    def finish(self) -> None:
        """Say how many records were not shown."""
        if self.limit is not None and self._seen > self.limit:
            print(_more(self._seen - self.limit))

    def describe(self) -> Mapping[str, Any]:
        """Return the options."""
        return {"format": "lines", "limit": self.limit, "title": self.title}


class TableSink(Sink[Any]):
    """Keeps the first records and prints them as a table when the input has ended."""

    def __init__(self, limit: int, title: str | None) -> None:
        self.limit = limit
        self.title = title
        self._seen = 0
        self._rows: list[Mapping[Any, Any]] = []

    def open(self, ctx: SinkContext) -> None:
        """Begin an empty table."""
        self._seen = 0
        self._rows = []
        _import_rich()  # not first at the end of a long run

    def invoke(self, value: Any, ctx: SinkContext) -> None:
        """Keep one record, if there is room."""
        self.invoke_batch([value], ctx)

    def invoke_batch(self, values: Sequence[Any], ctx: SinkContext) -> None:
        """Keep records, as long as there is room."""
        for value in values[: max(self.limit - self._seen, 0)]:
            fields = as_mapping(value)
            self._rows.append({"value": value} if fields is None else dict(fields))
        self._seen += len(values)

    def finish(self) -> None:
        """Print the table."""
        if not self._rows:
            print(*filter(None, (self.title, "(no records)")), sep="\n")
            return
        console, table_type, text_type = _import_rich()
        table = table_type(title=self.title and text_type(self.title), title_justify="left")
        names = list(dict.fromkeys(name for row in self._rows for name in row))
        columns = [[row.get(name, "") for row in self._rows] for name in names]
        for name, column in zip(names, columns, strict=True):
            numbers = all(isinstance(cell, int | float) for cell in column)
            table.add_column(
                text_type(str(name)), justify="right" if numbers else "left", overflow="fold"
            )
        for row in zip(*map(_cells, columns), strict=True):
            table.add_row(*map(text_type, row))
        screen = console(file=sys.stdout)
        screen.print(table)
        if self._seen > self.limit:
            screen.print(_more(self._seen - self.limit))
        sys.stdout.flush()

    def describe(self) -> Mapping[str, Any]:
        """Return the options."""
        return {"format": "table", "limit": self.limit, "title": self.title}


def sink(
    format: str = "lines", limit: int | None = None, title: str | None = None
) -> LinesSink | TableSink:
    """Make a sink that prints to standard output.

    Args:
        format: ``"lines"`` prints each record as it comes: dicts, Structs and dataclasses as
            ``key=value``, text as it is, others as Python shows them. ``"table"`` prints one
            table when the input has ended, so it shows nothing of an unbounded one.
        limit: most records to show; a last line says how many more there were. By default all
            lines, and the first 50 rows of a table.
        title: printed above.

    Raises:
        ConfigError: an option is of the wrong type or out of range.
    """
    who = "console sink"
    if format not in ("lines", "table"):
        raise bad_option(who, "format", "'lines' or 'table'", format)
    if limit is not None:
        check_integer(who, "limit", limit, least=1)
    if title is not None and not isinstance(title, str):
        raise bad_option(who, "title", "a str", title)
    if format == "lines":
        return LinesSink(limit, title)
    return TableSink(DEFAULT_ROWS if limit is None else limit, title)


def _line(record: Any) -> str:
    if isinstance(record, str):
        return record
    fields = as_mapping(record)
    if fields is None:
        return repr(record)
    return " ".join(f"{name}={_word(value)}" for name, value in fields.items())


def _word(value: Any) -> str:
    if isinstance(value, str):
        plain = value and value.isprintable() and not set(value) & set(" =\"'")
        return value if plain else repr(value)
    return str(value)


def _cells(column: list[Any]) -> list[str]:
    """Return a column's cells as text; fractions with three decimals where that hides none."""
    floats = [cell for cell in column if isinstance(cell, float)]
    rounded = all(cell == 0 or abs(cell) >= SMALLEST_ROUNDED for cell in floats)
    return [f"{cell:.3f}" if rounded and isinstance(cell, float) else str(cell) for cell in column]


def _more(count: int) -> str:
    return f"… and {count:,} more"


def _import_rich() -> tuple[Any, Any, Any]:
    try:
        from rich import console, table, text  # slow to load, for tables only
    except ImportError as error:
        raise ConfigError("console sink: format='table' needs rich: pip install rich") from error
    return console.Console, table.Table, text.Text


CONNECTOR = Connector("console", sink=sink)
