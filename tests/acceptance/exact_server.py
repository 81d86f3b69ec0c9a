"""Starts the small job of ``programs/exact.py``, without waiting for imports each time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.process import PROGRAMS


class Server:
    """A process of ``exact.py serve``: starts the job, each time in a new process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / "exact.py"), "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, folder: Path, faults: str = "", **environment: str) -> int:
        """Run the job, and return its exit code."""
        environment["FAULTS"] = faults
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(folder), environment]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def said(folder: Path, code: int) -> str:
    """Return how a run ended, for an error."""
    return f"exit code {code}\n{(folder / 'stdout').read_text()}{(folder / 'stderr').read_text()}"


@contextmanager
def memory_folder() -> Iterator[Path]:
    """Make a folder in memory, where that can be: a kill takes nothing that a disk would keep."""
    memory = Path("/dev/shm")  # noqa: S108  # the next line makes a folder of its own there
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as top:
        yield Path(top)
