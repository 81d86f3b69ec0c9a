"""A file system in memory that stops the machine, or fails, at its k-th operation.

What a crash leaves is chosen afterwards: a file has the bytes it had when it was last synced, and a
folder the names; what came later may or may not be there.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import BinaryIO

from millstream.storage.checkpoints.fs import WritableFile


class MachineStoppedError(BaseException):
    """No code of the machine runs any more; nothing that handles errors may see it."""


@dataclass
class File:
    data: bytes = b""
    durable: bytes = b""


@dataclass
class Folder:
    names: dict[str, File | Folder] = field(default_factory=dict)
    durable: dict[str, File | Folder] = field(default_factory=dict)


class CrashFs:
    """See ``Fs``. Reading is no operation.

    Attributes:
        operations: what has been done so far, in words.
        fail_at: the number of the operation that fails, counted from 1; None: none does.
        failure: what happens then: an error number, or None: the machine stops.
        lasting: every operation from that one on fails, but those that remove something.
    """

    def __init__(self, top: Folder | None = None) -> None:
        self._top = top or Folder()
        self.operations: list[str] = []
        self.fail_at: int | None = None
        self.failure: int | None = None
        self.lasting = False

    def make_folder(self, path: str) -> None:
        self._operate(f"make folder {path}")
        parent, name = self._parent(path)
        if name in parent.names:
            raise FileExistsError(errno.EEXIST, "it exists", path)
        parent.names[name] = Folder()

    def create(self, path: str) -> WritableFile:
        self._operate(f"create {path}")
        parent, name = self._parent(path)
        if name in parent.names:
            raise FileExistsError(errno.EEXIST, "it exists", path)
        file = parent.names[name] = File()
        return _Writable(file, path, self._operate)

    def open(self, path: str) -> BinaryIO:
        found = self._find(path)
        assert isinstance(found, File)
        return io.BytesIO(found.data)

    def rename(self, path: str, to: str) -> None:
        self._operate(f"rename {path} {to}")
        parent, name = self._parent(path)
        new_parent, new_name = self._parent(to)
        if new_name in new_parent.names:
            raise FileExistsError(errno.EEXIST, "it exists", to)
        new_parent.names[new_name] = parent.names.pop(name)

    def remove_file(self, path: str) -> None:
        self._operate(f"remove {path}", removes=True)
        self._find(path)
        parent, name = self._parent(path)
        del parent.names[name]

    def remove_folder(self, path: str) -> None:
        self._operate(f"remove folder {path}", removes=True)
        folder = self._find(path)
        assert isinstance(folder, Folder)
        if folder.names:
            raise OSError(errno.ENOTEMPTY, "it is not empty", path)
        parent, name = self._parent(path)
        del parent.names[name]

    def names(self, path: str) -> list[str]:
        found = self._find(path)
        assert isinstance(found, Folder)
        return list(found.names)

    def sync_folder(self, path: str) -> None:
        self._operate(f"sync folder {path}")
        found = self._find(path)
        assert isinstance(found, Folder)
        found.durable = dict(found.names)

    def damage(self, path: str, change: Callable[[bytes], bytes]) -> None:
        """Change a file behind everybody's back."""
        found = self._find(path)
        assert isinstance(found, File)
        found.data = change(found.data)

    def restarted(self, keep: str, seed: int = 0) -> CrashFs:
        """Return the file system after the machine has stopped.

        Args:
            keep: of what was not synced: ``nothing``, ``names`` without the files' bytes,
                ``everything`` (only the process was killed), or ``some``, by the seed.
        """
        return CrashFs(_survivor(self._top, keep, Random(seed)))

    def _operate(self, what: str, *, removes: bool = False) -> None:
        self.operations.append(what)
        number = len(self.operations)
        if self.fail_at is None or number < self.fail_at:
            return
        if self.failure is None:
            raise MachineStoppedError(what)
        if number == self.fail_at or (self.lasting and not removes):
            raise OSError(self.failure, "it fails on purpose")

    def _find(self, path: str) -> File | Folder:
        found: File | Folder = self._top
        for part in filter(None, path.split("/")):
            if not isinstance(found, Folder) or part not in found.names:
                raise FileNotFoundError(errno.ENOENT, "it does not exist", path)
            found = found.names[part]
        return found

    def _parent(self, path: str) -> tuple[Folder, str]:
        folder, _, name = path.rpartition("/")
        found = self._find(folder)
        assert isinstance(found, Folder)
        return found, name


class _Writable:
    def __init__(self, file: File, path: str, operate: Callable[[str], None]) -> None:
        self._file = file
        self._path = path
        self._operate = operate

    def write(self, data: bytes, /) -> None:
        try:
            self._operate(f"write {self._path}")
        except BaseException:
            self._file.data += bytes(data[: len(data) // 2])  # torn
            raise
        self._file.data += data

    def sync(self) -> None:
        self._operate(f"sync {self._path}")
        self._file.durable = self._file.data

    def close(self) -> None:
        pass


def _survivor(folder: Folder, keep: str, random: Random) -> Folder:
    if keep == "nothing":
        names = dict(folder.durable)
    elif keep == "some":
        names = {}
        for name in sorted({*folder.names, *folder.durable}):
            choices = [folder.names.get(name), folder.durable.get(name)]
            chosen = random.choice(choices)
            if chosen is not None:
                names[name] = chosen
    else:
        names = dict(folder.names)
    left: dict[str, File | Folder] = {}
    for name, node in names.items():
        if isinstance(node, Folder):
            left[name] = _survivor(node, keep, random)
        else:
            data = node.data if keep == "everything" else node.durable
            if keep == "some" and node.data != node.durable:
                data = node.data[: random.randint(len(node.durable), len(node.data))]
            left[name] = File(data, data)
    return Folder(left, dict(left))
