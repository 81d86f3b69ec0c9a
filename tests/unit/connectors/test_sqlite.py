"""SQLite tables. What holds for every sink of two-phase commit is in tests/contract."""

from __future__ import annotations

import enum
import math
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import msgspec
import pytest

from millstream.connectors import sqlite, sqlite_staging
from millstream.connectors.files import EncodeError
from millstream.connectors.sqlite import SqliteSink
from millstream.connectors.sqlite_table import declared_type
from millstream.core.errors import ConfigError, RetryableError, SinkError
from millstream.core.sink import SinkContext
from millstream.core.two_phase import FencedError, TransactionId

CONTEXT = SinkContext("job", "out")


def stage(sink: SqliteSink, *written: Sequence[Any], checkpoint: int = 1) -> Any:
    transaction = sink.begin_transaction(TransactionId("job", "out", 0, 1, checkpoint))
    for batch in written:
        sink.invoke_batch(transaction, batch)
    return sink.pre_commit(transaction)


def write(sink: SqliteSink, *written: Sequence[Any]) -> None:
    """Commit one epoch."""
    sink.validate()
    try:
        sink.open(CONTEXT)
        sink.commit(stage(sink, *written))
    finally:
        sink.close()


def query(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.db"


# -- values ---------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()


def test_values_are_stored_as_documented(path: Path) -> None:
    values: list[tuple[Any, Any]] = [
        (5, 5),
        (-(1 << 63), -(1 << 63)),
        ((1 << 63) - 1, (1 << 63) - 1),
        (0.5, 0.5),
        (math.inf, math.inf),
        (math.nan, None),
        ("é\0", "é\0"),
        (b"\xff", b"\xff"),
        (bytearray(b"\xff"), b"\xff"),
        (memoryview(b"\xff"), b"\xff"),
        (None, None),
        (True, 1),
        (Level.HIGH, 3),
        (Colour.RED, "red"),
        (Text("t"), "t"),
        (Decimal("1.50"), "1.50"),
        (date(2024, 1, 2), "2024-01-02"),
        (datetime(2024, 1, 2, 3, tzinfo=UTC), "2024-01-02T03:00:00Z"),
        (timedelta(seconds=90), "PT90S"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    ]
    write(sqlite.sink(path, "t"), [{"v": value} for value, _ in values])
    found = [value for (value,) in query(path, "SELECT v FROM t ORDER BY rowid")]
    assert found[:8] == [stored for _, stored in values][:8]
    assert [(type(each), each) for each in found[8:]] == [
        (type(stored), stored) for _, stored in values[8:]
    ]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"v": [1]}, "column 'v' got a list, and a column is a scalar"),
        ({"v": {"a": 1}}, "column 'v' got a dict"),
        ({"v": 1 << 63}, "SQLite's integers have 64 bits"),
        ({"v": 1 << 70}, "64 bits"),
        ({"v": -(1 << 63) - 1}, r"serialize ints < -2\*\*63"),
        ({"v": "\ud800"}, "surrogates not allowed"),
        ({"v": object()}, "unsupported"),
        ({"w": 1}, "it has the fields w, but the table has v; use map before the sink"),
        ({"v": 1, "w": 1}, "it has the fields v, w, but"),
        (5, "a row is made of a dict with names, a Struct or a dataclass"),
    ],
)
def test_a_record_that_cannot_be_stored_is_named_and_its_batch_left_out(
    path: Path, bad: Any, message: str
) -> None:
    sink = sqlite.sink(path, "t")
    sink.open(CONTEXT)
    transaction = sink.begin_transaction(TransactionId("job", "out", 0, 1, 1))
    sink.invoke_batch(transaction, [{"v": 1}])
    with pytest.raises(EncodeError, match=message) as caught:
        sink.invoke_batch(transaction, [{"v": 2}, bad])
    assert f"sqlite sink: cannot write the record {bad!r}"[:60] in str(caught.value)
    sink.commit(sink.pre_commit(transaction) or {})
    sink.close()
    assert query(path, "SELECT v FROM t") == [(1,)]


def test_a_first_record_that_cannot_be_stored_is_named(path: Path) -> None:
    with pytest.raises(EncodeError, match="cannot write the record 5: a row is made of a dict"):
        write(sqlite.sink(path, "t"), [5])


@pytest.mark.parametrize(
    ("declared", "value", "kept"),
    [
        ("INTEGER", 5, True),
        ("INTEGER", True, True),
        ("INTEGER", 5.5, False),
        ("INTEGER", "5", False),
        ("BIGINT", None, True),
        ("REAL", 5, True),
        ("DOUBLE PRECISION", 5.5, True),
        ("REAL", "5", False),
        ("TEXT", "5", True),
        ("VARCHAR(10)", 5, False),
        ("TEXT", b"5", False),
        ("TEXT", Decimal("1.50"), True),
        ("BLOB", b"5", True),
        ("BLOB", "5", False),
        ("", "5", True),
        ("", 5, True),
        ("DECIMAL(10, 2)", 5.5, True),
        ("DECIMAL(10, 2)", Decimal("1.50"), False),  # it would be 1.5
        ("DATE", date(2024, 1, 2), True),
        ("STRING", "007", False),  # it would be 7
    ],
)
def test_a_column_takes_only_what_it_keeps(
    path: Path, declared: str, value: Any, *, kept: bool
) -> None:
    query(path, f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})")
    if kept:
        write(sqlite.sink(path, "t"), [{"v": value}])
        ((found,),) = query(path, "SELECT v FROM t")
        assert found == (value if not isinstance(value, date | Decimal) else str(value))
    else:
        with pytest.raises(EncodeError, match=r"column 'v' is declared .*; convert it with map"):
            write(sqlite.sink(path, "t"), [{"v": None}, {"v": value}])


# -- tables ---------------------------------------------------------------------------------------


class Order(msgspec.Struct, rename="camel"):
    order_id: int
    name: str | None
    price: float
    at: datetime
    level: Level
    either: int | str


def test_a_class_gives_the_table_its_columns_and_types(path: Path) -> None:
    order = Order(1, None, 2, datetime(2024, 1, 2, tzinfo=UTC), Level.HIGH, "x")
    write(sqlite.sink(path, "t", key=["orderId"], fields=Order), [order])
    ((made,),) = query(path, "SELECT sql FROM sqlite_master WHERE name = 't'")
    assert made == (
        'CREATE TABLE "t" ("orderId" INTEGER NOT NULL, "name" TEXT, "price" REAL, "at" TEXT, '
        '"level" INTEGER, "either", PRIMARY KEY ("orderId"))'
    )
    assert query(path, "SELECT * FROM t") == [(1, None, 2.0, "2024-01-02T00:00:00Z", 3, "x")]


@pytest.mark.parametrize(
    ("annotation", "declared"),
    [
        (bool, "INTEGER"),
        (Annotated[bytes, 1], "BLOB"),
        (Optional[Decimal], "TEXT"),  # noqa: UP045  # as older code has it
        (Colour, "TEXT"),
        (Any, ""),
        (Literal["a"], ""),
        (list[int], ""),
    ],
)
def test_types_are_declared_where_they_are_known(annotation: Any, declared: str) -> None:
    assert declared_type(annotation) == declared


def test_names_may_have_any_characters(path: Path) -> None:
    name = 'my "odd; table'
    write(sqlite.sink(path, name, key=['a "b', "select"]), [{'a "b': 1, "select": 2, "c d": 3}])
    assert query(path, 'SELECT * FROM "my ""odd; table"') == [(1, 2, 3)]


def test_the_last_row_of_a_key_wins_within_an_epoch_and_across(path: Path) -> None:
    sink = sqlite.sink(path, "t", key=["k"])
    rows = [{"k": number % 3, "v": number} for number in range(8)]
    sink.open(CONTEXT)
    sink.commit(stage(sink, rows[:4], rows[4:]))
    assert query(path, "SELECT k, v FROM t ORDER BY k") == [(0, 6), (1, 7), (2, 5)]
    sink.commit(stage(sink, [{"k": 1, "v": -1}, {"k": 1, "v": -2}], checkpoint=2))
    sink.close()
    assert query(path, "SELECT k, v FROM t ORDER BY k") == [(0, 6), (1, -2), (2, 5)]


def test_a_table_of_keys_alone_is_a_set(path: Path) -> None:
    write(sqlite.sink(path, "t", key=["k"]), [{"k": "a"}, {"k": "b"}, {"k": "a"}])
    assert query(path, "SELECT k FROM t ORDER BY k") == [("a",), ("b",)]


@pytest.mark.parametrize("value", [None, math.nan])
def test_a_key_cannot_be_null(path: Path, value: Any) -> None:
    with pytest.raises(EncodeError, match="column 'k' cannot be NULL, or is part of the key"):
        write(sqlite.sink(path, "t", key=["k"]), [{"k": value}])


@dataclass
class Point:
    x: int
    y: int


@pytest.mark.parametrize(
    ("made", "options", "message"),
    [
        ("TABLE t (x)", {}, "table 't' has no column 'y', only 'x'; rename or drop fields"),
        ("TABLE t (x, y, z NOT NULL)", {}, "column 'z' is NOT NULL and has no default, but record"),
        ("TABLE t (x, y)", {"key": ["x"]}, "cannot be written to: ON CONFLICT .* key= takes the c"),
        ("VIEW t AS SELECT 1 AS x, 2 AS y", {}, "'t' is a view; table= takes a table"),
        ("TABLE other (x, y)", {"create": False}, "there is no table 't'; make it, or leave"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_before_the_run(
    path: Path, made: str, options: dict[str, Any], message: str
) -> None:
    query(path, f"CREATE {made}")
    with pytest.raises(ConfigError, match=rf"sqlite sink: {path}: .*{message}"):
        sqlite.sink(path, "t", fields=Point, **options).validate()
    with pytest.raises(ConfigError, match=rf"sqlite sink: {path}: .*{message}"):
        write(sqlite.sink(path, "t", **options), [Point(1, 2)])


def test_a_table_that_fits_may_have_more(path: Path) -> None:
    query(path, "CREATE TABLE T (id INTEGER PRIMARY KEY, X INT NOT NULL, y, z NOT NULL DEFAULT 7)")
    write(sqlite.sink(path, "t"), [Point(1, 2)])
    assert query(path, "SELECT * FROM t") == [(1, 1, 2, 7)]
    with pytest.raises(EncodeError, match="column 'x' cannot be NULL"):
        write(sqlite.sink(path, "t"), [{"x": None, "y": 1}])


def test_columns_that_differ_in_case_alone_are_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="table 't' cannot be written to: duplicate column name"):
        write(sqlite.sink(path, "t"), [{"a": 1, "A": 2}])


def test_a_row_that_the_table_refuses_is_named_and_kept(path: Path) -> None:
    query(path, "CREATE TABLE t (x INTEGER UNIQUE, y)")
    sink = sqlite.sink(path, "t")
    sink.open(CONTEXT)
    handle = stage(sink, [Point(1, 1), Point(2, 2)], [Point(3, 3), Point(1, 4), Point(5, 5)])
    for _ in range(2):
        with pytest.raises(SinkError, match=r"refuses the row \{'x': 1, 'y': 4\}: UNIQUE constr"):
            sink.commit(handle)
        assert query(path, "SELECT * FROM t") == []
    query(path, "DROP TABLE t")
    sink.commit(handle)
    sink.close()
    assert [row[0] for row in query(path, "SELECT x FROM t")] == [1, 2, 3, 1, 5]


# -- the database ---------------------------------------------------------------------------------


def test_a_database_that_is_locked_is_waited_for_and_can_be_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_staging, "BUSY_S", 0.01)
    sink = sqlite.sink(path, "t")
    sink.open(CONTEXT)
    handle = stage(sink, [Point(1, 2)])
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RetryableError, match=r"out.db has been locked by another connection"):
            sink.commit(handle)
        with pytest.raises(RetryableError, match="nothing was changed"):
            stage(sink, [Point(3, 4)], checkpoint=2)
    sink.commit(handle)
    sink.close()
    assert query(path, "SELECT * FROM t") == [(1, 2)]


def test_a_full_disk_is_named_and_earlier_epochs_stay(path: Path) -> None:
    sink = sqlite.sink(path, "t")
    sink.open(CONTEXT)
    handle = stage(sink, [{"v": "first"}])
    connection = sink._staging.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(SinkError, match=r"cannot write .*out.db: database or disk is full"):
        stage(sink, [{"v": "x" * 100_000}], checkpoint=2)
    sink.commit(handle)
    sink.close()
    assert query(path, "SELECT v FROM t") == [("first",)]


def test_an_old_run_is_told_that_it_must_end(path: Path) -> None:
    old, new = sqlite.sink(path, "t"), sqlite.sink(path, "t")
    old.open(CONTEXT)
    old.recover_and_abort(1)
    new.open(CONTEXT)
    new.recover_and_abort(2)
    for act in (lambda: stage(old, [Point(1, 2)]), lambda: old.recover_and_abort(1)):
        with pytest.raises(FencedError, match=r"run 2 of job 'job' writes to .* this is run 1, wh"):
            act()
    new.close()
    old.close()


def test_the_journal_mode_is_left_as_it_is(path: Path) -> None:
    query(path, "PRAGMA journal_mode = WAL")
    write(sqlite.sink(path, "t"), [Point(1, 2)])
    assert query(path, "PRAGMA journal_mode") == [("wal",)]


def test_a_commit_survives_a_power_failure(path: Path) -> None:
    sink = sqlite.sink(path, "t")
    sink.open(CONTEXT)
    assert sink._staging.connection.execute("PRAGMA synchronous").fetchone() == (3,)  # EXTRA
    sink.close()


def test_rows_leave_memory_as_they_become_many(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "STAGE_BYTES", 2_000)
    sink = sqlite.sink(path, "t")
    sink.open(CONTEXT)
    transaction = sink.begin_transaction(TransactionId("job", "out", 0, 1, 1))
    for number in range(10):
        sink.invoke_batch(transaction, [{"v": "x" * 1_000, "n": number}])
        assert transaction.size < 2_000
    assert query(path, "SELECT count(*) FROM _millstream_staged") == [(10,)]
    sink.commit(sink.pre_commit(transaction) or {})
    sink.close()
    assert [n for (n,) in query(path, "SELECT n FROM t")] == list(range(10))


def test_the_database_is_checked_before_the_run(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"sqlite sink: there is no folder '.*no' for"):
        sqlite.sink(path.parent / "no" / "out.db", "t").validate()
    with pytest.raises(ConfigError, match=r"sqlite sink: there is no database"):
        sqlite.sink(path, "t", create=False).validate()
    sqlite.sink(path, "t").validate()
    assert not path.exists()
    path.write_text("a text" * 1_000)
    with pytest.raises(ConfigError, match=r"cannot open .*out.db: file is not a database"):
        sqlite.sink(path, "t").validate()
    with pytest.raises(SinkError, match=r"cannot write .*out.db: file is not a database"):
        sqlite.sink(path, "t").open(CONTEXT)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConfigError, match="no permission to read and write"):
        sqlite.sink(path, "t").validate()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": 5}, "sqlite sink: path= takes the path of a file"),
        ({"path": ":memory:"}, "path= takes a file: a database in memory ends with the run"),
        ({"table": ""}, "table= takes the name of a table"),
        ({"table": "_millstream_x"}, "table= takes a name that is not kept for other uses"),
        ({"key": "user"}, r"key= takes a list or tuple of str, such as \['user', 'day'\]|key= tak"),
        ({"key": []}, "key= takes at least one name, each of them once"),
        (
            {"key": ["z"], "fields": Point},
            r"key= takes columns that fields= has \(x, y\); got \['z",
        ),
        (
            {"fields": int},
            "fields= takes names, a msgspec.Struct or a dataclass; got <class 'int'>",
        ),
        ({"fields": ["a", "a"]}, "fields= takes at least one name"),
        ({"create": 1}, "create= takes True or False"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sqlite.sink(**{"path": "out.db", "table": "t", **options})


def test_a_key_that_records_do_not_have_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"key= has \['z'\], but records have only \['x', 'y'\]"):
        write(sqlite.sink(path, "t", key=["z"]), [Point(1, 2)])


def test_the_options_are_described() -> None:
    made = sqlite.CONNECTOR.make_sink({"path": "a.db", "table": "t", "key": ["x"], "fields": Point})
    assert made.describe() == {
        "path": "a.db",
        "table": "t",
        "key": ["x"],
        "fields": ["x", "y"],
        "create": True,
    }
