"""A folder of part files, each of which gets its name when its checkpoint is complete.

A part is written as ``.NAME.millstream.tmp`` and gets its name, ``NAME``, by a rename. Names begin
with the sink's own prefix, made of the job and the uid, so that several sinks may share a folder:

    part-0f3a…-0-000003-00000017-00000.jsonl                  subtask, epoch, checkpoint, number
    .part-0f3a…-0-000003-00000017.millstream.done             the last commit of that epoch

The second kind is empty, one for each run. It tells a part that was committed and then taken away
by a reader from one that was lost.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from millstream.connectors.atomic_file import sync_folder
from millstream.core.errors import SinkError
from millstream.core.sink import SinkContext
from millstream.core.two_phase import DataLossError, TransactionId

_STAGED = re.compile(r"-(\d+)-(\d+)-(\d+)-(\d+)\.\w+\.millstream\.tmp")
_DONE = re.compile(r"-(\d+)-(\d+)-(\d+)\.millstream\.done")


class PartFolder:
    """The parts of one sink in a folder, by name; makes the folder if it is not there.

    Args:
        who: the connector and side, for errors.
        path: the folder.
        ctx: of the sink.

    Raises:
        OSError: of any method: the file system refuses.
    """

    def __init__(self, who: str, path: Path, ctx: SinkContext) -> None:
        self.path = path
        self._who = who
        # Of a hash, not of the names themselves: those may have any character and any length.
        digest = hashlib.sha256(f"{ctx.job}\0{ctx.uid}".encode()).hexdigest()
        self._prefix = f"part-{digest[:12]}"
        if not path.is_dir():
            path.mkdir()
            sync_folder(path.parent)
        self._noted = self._notes()  # by subtask and epoch: the last commit

    def create(self, id: TransactionId, number: int, suffix: str) -> tuple[str, int]:
        """Make a part of a transaction; return its name, and a descriptor to write it.

        Raises:
            SinkError: there is one of that name.
        """
        name = f"{self._prefix}-{id.subtask}-{id.epoch:06}-{id.checkpoint:08}-{number:05}{suffix}"
        try:
            if os.path.lexists(self.path / name):
                raise FileExistsError
            return name, os.open(self.staged(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            raise SinkError(
                f"{self._who}: {self.path} has a part {name} already, of an earlier run with the "
                f"same number ({id.epoch}): the job's own folder was removed or replaced since; "
                "give this sink another folder, or empty it"
            ) from None

    def staged(self, name: str) -> Path:
        """Return where a part is until it gets its name."""
        return self.path / f".{name}.millstream.tmp"

    def sync(self) -> None:
        """Make durable which names are in the folder."""
        sync_folder(self.path)

    def publish(self, handle: Mapping[str, Any], name: str, size: int) -> None:
        """Give a part its name; without effect if it has it, or had it.

        Raises:
            DataLossError: there is no such part, or not all of it.
        """
        staged, final = self.staged(name), self.path / name
        try:
            found = staged.stat().st_size
            if found != size:
                raise DataLossError(
                    f"{self._who}: a part that a checkpoint names was cut or changed: {staged} has "
                    f"{found:,} bytes instead of {size:,}; put it back, or begin anew with a fresh "
                    "run"
                )
            if os.path.lexists(final):  # a rename would replace it
                raise SinkError(
                    f"{self._who}: {final} cannot appear: there is a file of that name, which this "
                    "job has not written; move it away, then resume the job"
                )
            staged.rename(final)
        except FileNotFoundError:
            if os.path.lexists(final) or self._was_committed(handle):
                return
            moved = handle["folder"] != os.fspath(self.path.absolute())
            raise DataLossError(
                f"{self._who}: a part that a checkpoint names is lost: there is neither {staged} "
                f"nor {final}"
                + f" (it was written in {handle['folder']}: has folder= changed?)"
                * moved
                + "; put it back, or make an empty file of the second name to go on without it; "
                "then resume the job"
            ) from None

    def note_commit(self, handle: Mapping[str, Any]) -> None:
        """Leave a note that a transaction has appeared, in place of the epoch's last one."""
        run, checkpoint = (handle["subtask"], handle["epoch"]), handle["checkpoint"]
        before = self._noted.get(run)
        if before is None or before < checkpoint:
            os.close(os.open(self._note(run, checkpoint), os.O_WRONLY | os.O_CREAT, 0o666))
            if before is not None:
                self._note(run, before).unlink(missing_ok=True)
            self._noted[run] = checkpoint

    def remove_staged(self, before_epoch: int) -> None:
        """Remove the parts without a name that runs of smaller epochs have left."""
        for name, match in self._own(_STAGED):
            if int(match[2]) < before_epoch:
                (self.path / name).unlink(missing_ok=True)

    def _was_committed(self, handle: Mapping[str, Any]) -> bool:
        noted = self._notes().get((handle["subtask"], handle["epoch"]))  # maybe by another process
        return noted is not None and noted >= handle["checkpoint"]

    def _note(self, run: tuple[int, int], checkpoint: int) -> Path:
        subtask, epoch = run
        name = f".{self._prefix}-{subtask}-{epoch:06}-{checkpoint:08}.millstream.done"
        return self.path / name

    def _notes(self) -> dict[tuple[int, int], int]:
        """Return, by subtask and epoch, the checkpoint of the last transaction that appeared."""
        notes: dict[tuple[int, int], int] = {}
        for _, match in self._own(_DONE):
            subtask, epoch, checkpoint = map(int, match.groups())
            notes[subtask, epoch] = max(checkpoint, notes.get((subtask, epoch), checkpoint))
        return notes

    def _own(self, rest: re.Pattern[str]) -> Iterator[tuple[str, re.Match[str]]]:
        """Yield this sink's hidden files of a kind, each with what its name says."""
        prefix = f".{self._prefix}"
        for name in os.listdir(self.path):
            if name.startswith(prefix) and (match := rest.fullmatch(name, len(prefix))):
                yield name, match
