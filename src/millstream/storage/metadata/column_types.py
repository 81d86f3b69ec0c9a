"""Column types and the database's clock, alike on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, TIMESTAMP, BigInteger, Dialect, Integer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

ROW_ID = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column of exactly this type."""


class UtcTimestamp(TypeDecorator[datetime]):
    """An aware datetime in Python, a TIMESTAMP without time zone that holds UTC in the table."""

    impl = TIMESTAMP
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what is stored."""
        return value if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what the caller gets."""
        return value if value is None else value.replace(tzinfo=UTC)


class Document(JSON):
    """Plain values as JSON; a JSONB on PostgreSQL.

    Not ``JSON().with_variant(JSONB)``: to import JSONB is to load the PostgreSQL dialects, 40 ms
    of start-up that a job on SQLite has no use for.
    """


@compiles(Document, "postgresql")
def _jsonb(*_: Any, **__: Any) -> str:  # the signature of a compiler hook
    return "JSONB"


class utc_now(FunctionElement[datetime]):  # noqa: N801  # reads as the SQL function it is
    """The database's clock as a UTC timestamp, to the millisecond or better.

    On PostgreSQL it stands still within a transaction. So it never runs ahead of the moment at
    which a statement takes effect, and a lease ends rather sooner than its holder thinks.
    """

    type = UtcTimestamp()
    inherit_cache = True


class utc_in(FunctionElement[datetime]):  # noqa: N801  # as above
    """``utc_now`` plus a number of seconds."""

    type = UtcTimestamp()
    inherit_cache = True


@compiles(utc_now, "sqlite")
def _sqlite_now(*_: Any, **__: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f', 'now')"  # CURRENT_TIMESTAMP has whole seconds only


@compiles(utc_in, "sqlite")
def _sqlite_in(element: utc_in, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', {seconds} || ' seconds')"


@compiles(utc_now, "postgresql")
def _postgres_now(*_: Any, **__: Any) -> str:
    return "(CURRENT_TIMESTAMP AT TIME ZONE 'UTC')"


@compiles(utc_in, "postgresql")
def _postgres_in(element: utc_in, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"((CURRENT_TIMESTAMP AT TIME ZONE 'UTC') + make_interval(secs => {seconds}))"
