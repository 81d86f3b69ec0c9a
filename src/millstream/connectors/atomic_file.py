"""Results that appear whole: a file is written aside, by one writer, and takes its name at last."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Self
from zlib import crc32

import msgspec

from millstream.core.errors import ConfigError, SinkError
from millstream.core.two_phase import DataLossError

try:
    import fcntl
except ImportError:  # on Windows: what needs no file sink runs there all the same
    fcntl = None  # type: ignore[assignment]

WRITE_BYTES = 256 * 1024  # buffered: records come by the batch, and a batch may be small
_LONGEST_NAME = 255  # bytes, on Linux and macOS
_OPEN_FILES = ("/proc", "/dev/fd")  # folders whose entries are the files that processes have open
_TAIL_BYTES = 4096  # compared when a file is gone on with: enough to tell it from another one


class FileState(msgspec.Struct, frozen=True):
    """How far a file has come, as a checkpoint keeps it.

    Attributes:
        path: where it is to appear, for errors.
        length: its durable bytes.
        tail: a checksum of the last of them.
        inode: tells, once the file has its name, that it is this one.
    """

    path: str
    length: int
    tail: int
    inode: int

    @classmethod
    def of(cls, saved: object, who: str) -> Self:
        """Return what was saved in a checkpoint, as plain values.

        Raises:
            ConfigError: it is something else.
        """
        try:
            return msgspec.convert(saved, cls)
        except msgspec.ValidationError as error:
            raise ConfigError(
                f"{who}: the saved state {saved!r} is not one of a file ({error}); it is another "
                "sink's: give each its own uid, or start without the saved state"
            ) from error


class AtomicFile:
    """A file that appears under its name only when it is finished, whole.

    Until then it is a temporary file in the same folder, ``.NAME.millstream.tmp``, locked for as
    long as this object is open. So a second writer of the same file, in this process or another,
    is refused; and what a killed process left behind is unlocked: the next writer goes on with it,
    by its state, or removes it. Only who holds the lock of the file under that name may rename or
    remove it.

    An older file is replaced, keeping its permissions; a link stays a link.

    Args:
        path: where it is to appear.
        who: the connector and side, for errors.
        state: what ``snapshot`` returned: goes on from there; None: begins anew.

    Raises:
        ConfigError: there can be no such file.
        SinkError: it cannot be written, or somebody writes it already.
        DataLossError: what the state names is not there.
    """

    def __init__(self, path: Path, who: str, state: FileState | None = None) -> None:
        self.path = check_writable(path, who)
        self.who = who
        self.finished = False
        self.temporary = _temporary(self.path)
        self._kept = state is not None  # a checkpoint may name what is written
        self._state = state
        self._file: BinaryIO | None = None  # None: it was found finished
        with write_errors(self.who, str(self.path)):
            if state is not None:
                self._resume(state)
                return
            older = _mode(self.path)
            mode = older & 0o777 if older else 0o666  # at no time open to more than the older one
            self._file = os.fdopen(self._claim(mode), "wb", buffering=WRITE_BYTES)
            if older:
                self._set_mode(mode)

    def write(self, data: bytes) -> None:
        """Append bytes; they may wait in memory until ``flush``."""
        if self._file is None:
            raise SinkError(
                f"{self.who}: {self.path} appeared at the end of an earlier run, but its input has "
                "not ended: there are more records than there were; begin anew with a fresh run"
            )
        with write_errors(self.who, str(self.path)):
            self._file.write(data)

    def flush(self) -> None:
        """Make what was written durable, still under the temporary name."""
        if self._file is not None:
            with write_errors(self.who, str(self.path)):
                self._file.flush()
                os.fsync(self._file.fileno())

    def snapshot(self) -> FileState:
        """Return how far the file is, and keep it from now on if it is not finished.

        What is not flushed is made durable first, and so is the temporary name.
        """
        self.flush()
        with write_errors(self.who, str(self.path)):
            if self._file is None:
                assert self._state is not None  # noqa: S101  # by which it was found
                return self._state
            if not self._kept:
                sync_folder(self.path.parent)
            self._kept = True
            return self._measured(self._file.fileno(), os.fspath(self.path))

    def finish(self) -> None:
        """Let the file appear under its name, in place of an older one."""
        self.flush()
        with write_errors(self.who, str(self.path)):
            if not self.finished:
                self.temporary.replace(self.path)  # before the lock goes with ``close``
                self.finished = True
            sync_folder(self.path.parent)
        self.close()

    def close(self) -> None:
        """Let go of the lock; again is fine.

        The temporary file is removed, unless it was finished or a checkpoint may name it.
        """
        if self._file is None or self._file.closed:
            return  # the temporary name may be another writer's by now
        try:
            if not (self.finished or self._kept):
                with write_errors(self.who, str(self.path)):
                    self.temporary.unlink(missing_ok=True)
        finally:
            with suppress(OSError):  # it writes what is buffered, which may just have failed
                self._file.close()

    def _resume(self, state: FileState) -> None:
        """Open what an earlier run has left, as long as the state says."""
        while True:
            try:
                descriptor = os.open(self.temporary, os.O_RDWR | os.O_NOFOLLOW)
            except FileNotFoundError:
                self._find_finished(state)
                return
            if self._lock(descriptor):
                break
        self._file = os.fdopen(descriptor, "wb", buffering=WRITE_BYTES)
        try:
            found = self._measured(descriptor, state.path, state.length)
            if (found.length, found.tail) != (state.length, state.tail):
                raise self._lost(state, f"{self.temporary} is another file, or was cut or changed")
            os.ftruncate(descriptor, state.length)
            os.lseek(descriptor, 0, os.SEEK_END)
        except BaseException:
            self.close()
            raise

    def _find_finished(self, state: FileState) -> None:
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            descriptor = None
        if descriptor is not None:
            try:
                found = self._measured(descriptor, state.path)
                self.finished = (found.length, found.tail, found.inode) == (
                    state.length,
                    state.tail,
                    state.inode,
                )
            finally:
                os.close(descriptor)
        if not self.finished:
            raise self._lost(state, f"there is no {self.temporary}")

    @staticmethod
    def _measured(descriptor: int, path: str, length: int | None = None) -> FileState:
        """Return the state of a file, of which at most ``length`` bytes count."""
        found = os.fstat(descriptor)
        length = found.st_size if length is None else min(found.st_size, length)
        tail = min(length, _TAIL_BYTES)
        checksum = crc32(os.pread(descriptor, tail, length - tail))
        return FileState(path, length, checksum, found.st_ino)

    def _lost(self, state: FileState, why: str) -> DataLossError:
        return DataLossError(
            f"{self.who}: the run cannot go on with {state.path}, of which {state.length:,} bytes "
            f"were written: {why}; put it back (and path= as it was), or begin anew with a fresh "
            "run"
        )

    def _set_mode(self, mode: int) -> None:
        """Give the file the permissions of the one it replaces, also what umask has taken away."""
        assert self._file is not None  # noqa: S101  # just opened
        try:
            os.fchmod(self._file.fileno(), mode)
        except OSError:
            self.close()
            raise

    def _claim(self, mode: int) -> int:
        """Return the descriptor of a temporary file that is new, empty and locked."""
        while True:
            with suppress(FileExistsError):
                # Not by the tempfile module: that would keep the result from all but its owner.
                made = os.open(self.temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
                if self._lock(made):
                    return made
                continue
            with suppress(FileNotFoundError):  # its writer has just ended
                left = os.open(self.temporary, os.O_RDWR | os.O_NOFOLLOW)
                if self._lock(left):
                    # Not written anew: it may be somebody else's, or have a second name.
                    self.temporary.unlink()
                    os.close(left)

    def _lock(self, descriptor: int) -> bool:
        """Lock what was opened; False: the name means no longer that file, and it is closed.

        Raises:
            SinkError: another writer has the lock.
        """
        locked = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = os.path.samestat(os.fstat(descriptor), self.temporary.lstat())
        except FileNotFoundError:
            pass
        except BlockingIOError:
            raise SinkError(
                f"{self.who}: {os.fspath(self.path)!r} is being written by another sink or job; "
                "give each sink a path of its own, or wait for the other job to end"
            ) from None
        finally:
            if not locked:
                os.close(descriptor)
        return locked


@contextmanager
def write_errors(who: str, where: str) -> Iterator[None]:
    """Let the file system's refusal be a ``SinkError``: "cannot write" and ``where``."""
    try:
        yield
    except OSError as error:
        at = f" ({error.filename})" if error.filename else ""
        raise SinkError(f"{who}: cannot write {where}: {error.strerror or error}{at}") from error


def check_writable(path: Path, who: str) -> Path:
    """Return where the file is to be, links followed, if it can be written there.

    Raises:
        ConfigError: it cannot.
    """
    name = os.fspath(path)
    if fcntl is None:
        raise ConfigError(f"{who}: files are written under a lock, on Linux and macOS only")
    if _is_open_file(path):
        raise ConfigError(
            f"{who}: path= takes a file, but {name!r} stands for one that is open already; for "
            "standard output use console.sink, for a file give its own path"
        )
    target = Path(os.path.realpath(path))
    folder = target.parent
    try:
        folder_mode, mode = _mode(folder), _mode(target)
    except OSError as error:
        raise ConfigError(f"{who}: cannot write {name!r}: {error.strerror}") from error
    if not stat.S_ISDIR(folder_mode):
        raise ConfigError(
            f"{who}: there is no folder {os.fspath(folder)!r} for {name!r}; make it first"
        )
    if mode and not stat.S_ISREG(mode):
        what = (
            "a folder"
            if stat.S_ISDIR(mode)
            else "no regular file, and cannot be replaced by one; for the screen use console.sink"
        )
        raise ConfigError(f"{who}: path= takes a file, but {name!r} is {what}")
    if mode and not os.access(target, os.W_OK):
        raise ConfigError(f"{who}: no permission to write {name!r}, which is there already")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(
            f"{who}: no permission to read and write in {os.fspath(folder)!r} (the result is first "
            "written there under a temporary name)"
        )
    return target


def _temporary(path: Path) -> Path:
    """Return the one temporary name that all writers of ``path`` use."""
    name = f".{path.name}.millstream.tmp"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()}.millstream.tmp"
    return path.with_name(name)


def _mode(path: Path) -> int:
    """Return what is at ``path``, as ``st_mode``; 0: nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _is_open_file(path: Path) -> bool:
    """Return whether a path is an open file's, such as /dev/stdout, or a link to one.

    It must not be resolved: what the file behind it is called is no place to write to.
    """
    for _ in range(40):  # links, the most that Linux follows
        folder = Path(os.path.realpath(path.parent))
        if any(folder.is_relative_to(each) for each in _OPEN_FILES):
            return True
        try:
            path = folder / path.readlink()
        except OSError:  # no link: the end of the chain
            return False
    return False


def sync_folder(folder: Path) -> None:
    """Make durable which names are in a folder; Windows cannot, and has no need to."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
