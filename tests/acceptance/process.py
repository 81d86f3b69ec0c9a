"""Programs as processes: started, watched, signalled, and always ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PROGRAMS = Path(__file__).parent / "programs"
REPOSITORY = PROGRAMS.parents[2]
MILLSTREAM = Path(sys.executable).with_name("millstream")
PATIENCE_S = 60.0  # a busy machine may take long; only a test that fails waits for it
LONG = bool(os.environ.get("MILLSTREAM_LONG"))
"""Watch for the full minute that the promises are about; else for as long as proves the point."""


def watch_s(short_s: float, long_s: float = 60.0) -> float:
    """Return how long to watch something that should hold for ever."""
    return long_s if LONG else short_s


class Program:
    """A process whose output is in files, so that it never waits for a reader.

    Args:
        command: what to run.
        folder: where, and where its output is kept.
        environment: what to add to this process's.
    """

    def __init__(self, command: list[str], folder: Path, **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files = [folder / "stdout", folder / "stderr"]
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            )
        self.watched = psutil.Process(self._process.pid)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def stdout(self) -> str:
        return self._files[0].read_text()

    @property
    def stderr(self) -> str:
        return self._files[1].read_text()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_for(self, text: str) -> None:
        """Wait until the program has printed something."""
        wait_until(lambda: text in self.stdout or not self.running, f"{text!r}", self)
        assert text in self.stdout, f"it ended without {text!r}:\n{self.stderr}"

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        wait_until(lambda: not self.running, "the end", self)
        assert self._process.returncode is not None
        return self._process.returncode

    def resident_bytes(self) -> int:
        return int(self.watched.memory_info().rss)

    def cpu_s(self) -> float:
        times = self.watched.cpu_times()
        return float(times.user + times.system)


def wait_until(condition: Callable[[], bool], what: str, program: Program) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"waited {PATIENCE_S:g} s for {what}:\n{program.stderr}")
        time.sleep(0.02)


def job_file(name: str, folder: Path, *, as_script: bool = False, **environment: str) -> Program:
    """Run one of ``programs/``: ``millstream run job.py``, or ``python job.py run``."""
    path = str(PROGRAMS / f"{name}.py")
    command = [sys.executable, path, "run"] if as_script else [str(MILLSTREAM), "run", path]
    return Program(command, folder, **environment)


def program(name: str, folder: Path, *arguments: str, **environment: str) -> Program:
    """Run one of ``programs/`` that does as it likes."""
    return Program(
        [sys.executable, str(PROGRAMS / f"{name}.py"), *arguments], folder, **environment
    )
