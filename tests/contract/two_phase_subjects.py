"""The exact sinks under test, and a small model of the engine that runs one of them."""

from __future__ import annotations

import csv as python_csv
import itertools
import json
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millstream.connectors import csv, jsonl, sqlite
from millstream.core.sink import SinkContext
from millstream.core.two_phase import StatefulSink, TransactionId, TwoPhaseCommitSink

JOB, UID = "orders", "out"
CONTEXT = SinkContext(JOB, UID)
KEYS = 4  # different keys of the upsert
Point = Callable[[str], None]
OPERATIONS = ("open", "fsync", "rename", "replace", "unlink", "mkdir", "ftruncate", "listdir")
"""What the sinks ask of the file system, as functions of ``os``."""
AnyExactSink = TwoPhaseCommitSink[Any, Any] | StatefulSink[Any]


_replace = os.replace  # the store's own steps are never killed in the middle, and never fail


class UnsyncedConnection(sqlite3.Connection):
    """Does not wait for the disk: a kill or an error loses nothing that was written."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        if arguments[0].startswith("PRAGMA synchronous"):
            arguments = ("PRAGMA synchronous = OFF",)
        return super().execute(*arguments)


def record(number: int) -> dict[str, Any]:
    return {"id": number, "key": number % KEYS, "text": f"récord, {number}"}


def records(begin: int, end: int) -> list[dict[str, Any]]:
    return [record(number) for number in range(begin, end)]


def transaction(epoch: int, checkpoint: int, uid: str = UID) -> TransactionId:
    return TransactionId(JOB, uid, 0, epoch, checkpoint)


class Subject(ABC):
    """A sink, what its target shows, and what is staged there; all in one folder."""

    name: str

    @abstractmethod
    def sink(self, folder: Path) -> AnyExactSink:
        """Return the sink."""

    @abstractmethod
    def visible(self, folder: Path) -> list[int]:
        """Return the ids of the records that a reader sees, in the target's order."""

    @abstractmethod
    def staged(self, folder: Path) -> list[str]:
        """Return what is staged."""

    def expected(self, end: int, begin: int = 0) -> list[int]:
        """Return what a reader should see of the records from ``begin`` to ``end``."""
        return list(range(begin, end))

    def lose_staged(self, folder: Path) -> None:
        """Remove what is staged, behind the sink's back."""
        for path in hidden(folder):
            path.unlink()

    def __str__(self) -> str:
        return self.name


def hidden(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob(".*") if path.name.endswith(".millstream.tmp"))


class Parts(Subject):
    """A folder of part files."""

    def __init__(self, name: str, roll_every: int | str | None) -> None:
        self.name = f"{name} folder, roll_every={roll_every}"
        self._connector = name
        self._roll_every = roll_every

    def sink(self, folder: Path) -> TwoPhaseCommitSink[Any, Any]:
        factory = jsonl.sink if self._connector == "jsonl" else csv.sink
        return factory(folder=folder / "out", roll_every=self._roll_every)

    def visible(self, folder: Path) -> list[int]:
        parts = sorted((folder / "out").glob(f"part-*.{self._connector}"))
        return list(itertools.chain.from_iterable(map(read_file, parts)))

    def staged(self, folder: Path) -> list[str]:
        return [path.name for path in hidden(folder)]


class OneFile(Subject):
    """One file that appears at the end."""

    def __init__(self, name: str) -> None:
        self.name = f"{name} file"
        self._connector = name

    def sink(self, folder: Path) -> StatefulSink[Any]:
        factory = jsonl.sink if self._connector == "jsonl" else csv.sink
        return factory(folder / f"out.{self._connector}")

    def visible(self, folder: Path) -> list[int]:
        path = folder / f"out.{self._connector}"
        return read_file(path) if path.exists() else []

    def staged(self, folder: Path) -> list[str]:
        return [path.name for path in hidden(folder)]


class Rows(Subject):
    """A SQLite table."""

    def __init__(self, key: Sequence[str] | None) -> None:
        self.name = f"sqlite, key={key}"
        self._key = key

    def sink(self, folder: Path) -> TwoPhaseCommitSink[Any, Any]:
        return sqlite.sink(folder / "out.db", "orders", key=self._key)

    def visible(self, folder: Path) -> list[int]:
        with closing(sqlite3.connect(folder / "out.db")) as connection:
            try:
                rows = connection.execute("SELECT id, key, text FROM orders ORDER BY rowid")
            except sqlite3.OperationalError as error:
                assert "no such table" in str(error)  # noqa: PT017  # it is made by the first commit
                return []
            return [checked(dict(zip(("id", "key", "text"), row, strict=True))) for row in rows]

    def staged(self, folder: Path) -> list[str]:
        with closing(sqlite3.connect(folder / "out.db")) as connection:
            rows = connection.execute("SELECT uid, epoch, checkpoint, seq FROM _millstream_staged")
            return [str(row) for row in rows]

    def expected(self, end: int, begin: int = 0) -> list[int]:
        if self._key is None:
            return super().expected(end, begin)
        last = {number % KEYS: number for number in range(end)}
        first = dict.fromkeys(number % KEYS for number in range(begin, end))
        return [last[key] for key in first]

    def lose_staged(self, folder: Path) -> None:
        with closing(sqlite3.connect(folder / "out.db")) as connection, connection:
            connection.execute("DELETE FROM _millstream_staged")


def read_file(path: Path) -> list[int]:
    with path.open(newline="", encoding="utf-8") as file:
        if path.suffix == ".jsonl":
            return [checked(json.loads(line)) for line in file]
        rows = python_csv.DictReader(file)
        return [checked({**row, "id": int(row["id"]), "key": int(row["key"])}) for row in rows]


def checked(found: dict[str, Any]) -> int:
    """Return a record's id, if all of it is there."""
    assert found == record(found["id"])
    return int(found["id"])


TWO_PHASE: tuple[Subject, ...] = (
    Parts("jsonl", None),
    Parts("jsonl", 3),
    Parts("csv", 2),
    Parts("csv", "1KB"),
    Rows(None),
    Rows(["key"]),
)
ONE_FILE: tuple[Subject, ...] = (OneFile("jsonl"), OneFile("csv"))
SUBJECTS = {subject.name: subject for subject in (*TWO_PHASE, *ONE_FILE)}


# -- the engine, in small -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cut:
    """A barrier: behind how many records, and whether its checkpoint completes."""

    position: int
    completes: bool = True


# An ordinary checkpoint, one that fails, an empty one, two in the middle, and the final one.
SCRIPT = (
    Cut(5),
    Cut(9, completes=False),
    Cut(9),
    Cut(9),
    Cut(14),
    Cut(17, completes=False),
    Cut(20),
)
BATCH = 3


@dataclass(slots=True)
class Saved:
    """A completed checkpoint."""

    number: int = 0
    position: int = 0
    handles: list[Any] = field(default_factory=list)
    state: Any = None
    final: bool = False


class Store:
    """Completed checkpoints and the lease's epoch, as files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def next_epoch(self) -> int:
        path = self._folder / "epoch"
        epoch = int(path.read_text()) + 1 if path.exists() else 1
        self._put(path, str(epoch))
        return epoch

    def load(self) -> Saved:
        path = self._folder / "checkpoint"
        return Saved(**json.loads(path.read_text())) if path.exists() else Saved()

    def save(self, saved: Saved) -> None:
        text = {name: getattr(saved, name) for name in Saved.__dataclass_fields__}
        self._put(self._folder / "checkpoint", json.dumps(text))

    def _put(self, path: Path, text: str) -> None:
        new = path.with_suffix(".new")
        new.write_text(text)
        _replace(new, path)


def run(subject: Subject, folder: Path, point: Point = lambda name: None) -> None:
    """Run the job to its end, from its last completed checkpoint on.

    Args:
        subject: the sink.
        folder: of the job, and of the sink's target.
        point: called at each step of the protocol, with its name.
    """
    sink = subject.sink(folder)
    sink.validate()
    store = Store(folder)
    epoch, saved = store.next_epoch(), store.load()
    if isinstance(sink, StatefulSink):
        _run_stateful(sink, store, saved, point)
    else:
        _run_two_phase(sink, store, saved, epoch, point)


def _run_two_phase(
    sink: TwoPhaseCommitSink[Any, Any], store: Store, saved: Saved, epoch: int, point: Point
) -> None:
    current = None
    try:
        sink.open(CONTEXT)
        point("opened")
        for handle in saved.handles:
            sink.recover_and_commit(handle)
            point("recovered one")
        sink.recover_and_abort(epoch)
        point("recovered")
        pending: list[Any] = []
        position = saved.position
        for number, cut in enumerate(left(saved), saved.number + 1):
            for batch in batches(position, cut.position):
                if current is None:
                    current = sink.begin_transaction(transaction(epoch, number))
                    point("begun")
                sink.invoke_batch(current, batch)
                point("records taken")
            position = cut.position
            if current is not None:
                handle = sink.pre_commit(current)
                current = None
                pending += [] if handle is None else [handle]
            point("pre-committed")
            if not cut.completes:
                continue
            store.save(Saved(number, position, list(pending)))
            point("completed")
            while pending:
                sink.commit(pending.pop(0))
                point("committed one")
    except Exception:
        if current is not None:
            sink.abort(current)
        raise
    finally:
        sink.close()


def _run_stateful(sink: StatefulSink[Any], store: Store, saved: Saved, point: Point) -> None:
    try:
        if saved.state is not None:
            sink.restore_state(saved.state)
        sink.open(CONTEXT)
        point("recovered")
        position = saved.position
        for number, cut in enumerate(left(saved), saved.number + 1):
            for batch in batches(position, cut.position):
                sink.invoke_batch(batch, CONTEXT)
                point("records taken")
            position = cut.position
            sink.flush()
            state = sink.snapshot_state()
            point("pre-committed")
            if cut.completes:
                final = cut is SCRIPT[-1]
                store.save(Saved(number, position, state=state, final=final))
                point("completed")
        sink.finish()
        point("committed one")
    finally:
        sink.close()


def left(saved: Saved) -> Iterator[Cut]:
    """Yield the barriers that the run has still before it; an empty epoch may come again."""
    for cut in SCRIPT:
        if cut.position > saved.position:
            yield cut
        elif cut.position == saved.position and not saved.final and cut is SCRIPT[-1]:
            yield cut  # it ended, but the run has not seen the final checkpoint


def batches(begin: int, end: int) -> Iterator[list[dict[str, Any]]]:
    for start in range(begin, end, BATCH):
        yield records(start, min(start + BATCH, end))


END = SCRIPT[-1].position
