"""Kills a small job with an exact sink at each of its steps, by SIGKILL, and starts it again.

    python kill_two_phase.py SUBJECT FOLDER [--in-recovery]

Each run is a process of its own, made by a fork. Prints a line of JSON for each kill: where it was,
and what the target shows after the job has been started again and has ended.

A step is one of the protocol (begun, pre-committed …), an operation on the file system, or
a statement that SQLite runs.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from millstream.connectors import sqlite
from tests.contract.two_phase_subjects import (
    OPERATIONS,
    SUBJECTS,
    Subject,
    UnsyncedConnection,
    run,
)


class Killer:
    """Kills this process at its k-th step from ``after`` on; notes which step it was."""

    def __init__(self, k: int, note: Path, after: str | None = None) -> None:
        self._left = k
        self._note = note
        self._after = after
        self._phase = "begin"

    def install(self) -> None:
        for name in OPERATIONS:
            setattr(os, name, self._counted(name, getattr(os, name)))
        connect = sqlite3.connect

        @functools.wraps(connect)
        def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(
                *arguments, **options, factory=UnsyncedConnection
            )
            connection.set_trace_callback(lambda sql: self._step(" ".join(sql.split()[:2])))
            return connection

        sqlite3.connect = traced  # type: ignore[assignment]

    def point(self, name: str) -> None:
        self._phase = name
        if name == self._after:
            self._after = None
        self._step(name)

    def _counted(self, name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(operation)
        def counted(*arguments: Any, **options: Any) -> Any:
            self._step(name)
            # A kill loses nothing that was written, so there is no need to wait for the disk.
            return None if name == "fsync" else operation(*arguments, **options)

        return counted

    def _step(self, name: str) -> None:
        if self._after is None:
            self._left -= 1
            if self._left == 0:
                self._note.write_text(f"{self._phase}: {name}")
                os.kill(os.getpid(), signal.SIGKILL)


def in_process(action: Callable[[], None]) -> bool:
    """Run an action in a process of its own; return whether it was killed."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        except BaseException:  # noqa: BLE001  # it must not go on as a second parent
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status) == signal.SIGKILL
    if os.WEXITSTATUS(status):
        raise SystemExit(f"run failed with exit code {os.WEXITSTATUS(status)}")
    return False


def killed(subject: Subject, folder: Path, k: int, after: str | None = None) -> bool:
    def action() -> None:
        killer = Killer(k, folder / "killed at", after)
        killer.install()
        run(subject, folder, killer.point)

    return in_process(action)


def main(name: str, top: Path, *, in_recovery: bool) -> None:
    subject = SUBJECTS[name]
    sqlite.STAGE_BYTES = 100  # so that rows are staged before the barrier, too
    k = 0
    going_on = True
    while going_on:
        k += 1
        folder = top / str(k)
        folder.mkdir()
        if in_recovery:  # the fifth step behind the first completed checkpoint: in its commit
            assert killed(subject, folder, 5, after="completed")
        going_on = killed(subject, folder, k)
        at = (folder / "killed at").read_text() if going_on else "end"
        if going_on:
            in_process(lambda folder=folder: run(subject, folder))  # type: ignore[misc]
        found = {
            "k": k,
            "at": at,
            "visible": subject.visible(folder),
            "staged": subject.staged(folder),
        }
        print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), in_recovery="--in-recovery" in sys.argv)
