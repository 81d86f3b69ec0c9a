"""Results that appear whole: a file is written aside, by one writer, and takes its name at last."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from millstream.core.errors import ConfigError, SinkError

try:
    import fcntl
except ImportError:  # on Windows: what needs no file sink runs there all the same
    fcntl = None  # type: ignore[assignment]

WRITE_BYTES = 256 * 1024  # buffered: records come by the batch, and a batch may be small
_LONGEST_NAME = 255  # bytes, on Linux and macOS
_OPEN_FILES = ("/proc", "/dev/fd")  # folders whose entries are the files that processes have open


class AtomicFile:
    """A file that appears under its name only when it is finished, whole.

    Until then it is a temporary file in the same folder, ``.NAME.millstream.tmp``, locked for as
    long as this object is open. So a second writer of the same file, in this process or another,
    is refused; and what a killed process left behind is unlocked, and is removed by the next
    writer. Only who holds the lock of the file under that name may rename or remove it.

    An older file is replaced, keeping its permissions; a link stays a link.

    Raises:
        ConfigError: there can be no such file.
        SinkError: it cannot be written, or somebody writes it already.
    """

    def __init__(self, path: Path, who: str) -> None:
        self.path = check_writable(path, who)
        self.who = who
        self.finished = False
        self.temporary = _temporary(self.path)
        with self._errors():
            older = _mode(self.path)
            mode = older & 0o777 if older else 0o666  # at no time open to more than the older one
            self._file = os.fdopen(self._claim(mode), "wb", buffering=WRITE_BYTES)
            if older:
                self._set_mode(mode)

    def write(self, data: bytes) -> None:
        """Append bytes; they may wait in memory until ``flush``."""
        with self._errors():
            self._file.write(data)

    def flush(self) -> None:
        """Make what was written durable, still under the temporary name."""
        with self._errors():
            self._file.flush()
            os.fsync(self._file.fileno())

    def finish(self) -> None:
        """Let the file appear under its name, in place of an older one."""
        self.flush()
        with self._errors():
            self.temporary.replace(self.path)  # before the lock goes with ``close``
            self.finished = True
            _sync_folder(self.path.parent)
        self.close()

    def close(self) -> None:
        """Remove the temporary file, unless finished, and let go of the lock; again is fine."""
        if self._file.closed:
            return  # the temporary name may be another writer's by now
        try:
            if not self.finished:
                self.temporary.unlink(missing_ok=True)
        finally:
            with suppress(OSError):  # it writes what is buffered, which may just have failed
                self._file.close()

    def _set_mode(self, mode: int) -> None:
        """Give the file the permissions of the one it replaces, also what umask has taken away."""
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
                made = os.open(self.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
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
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            at = f" ({error.filename})" if error.filename else ""
            raise SinkError(
                f"{self.who}: cannot write {self.path}: {error.strerror}{at}"
            ) from error


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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
