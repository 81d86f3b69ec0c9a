"""Decides when Python collects garbage while a job runs: when idle, or when memory asks for it.

One full collection over 1,000,000 tuples of state stops the stream for 240 to 460 ms (measured),
more than any snapshot; so none runs on Python's own clock.
"""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

IDLE_NS = 1_000_000_000  # quiet for so long counts as idle
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class _Switch:
    """The process's one collector, turned off while any run manages it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._was_enabled = False

    def hold(self) -> None:
        with self._lock:
            if not self._runs:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._runs += 1

    def release(self) -> None:
        with self._lock:
            self._runs -= 1
            if not self._runs and self._was_enabled:
                gc.enable()


_switch = _Switch()


class GcPolicy:
    """Keeps the collector off during a run; several runs of a process share the switch.

    Args:
        manage: False leaves the collector alone.
        memory_share: resident memory, as a share of the limit, past which ``guard`` collects.
    """

    def __init__(self, manage: bool, memory_share: float) -> None:
        self._manage = manage
        self._limit_bytes = int(memory_limit_bytes() * memory_share)
        self._after_bytes = 0  # resident memory when the guard last collected
        self._collected_at = -1  # the engine's slices at the last idle collection
        self.collections = 0

    def __enter__(self) -> GcPolicy:
        if self._manage:
            _switch.hold()
        return self

    def __exit__(self, *_: object) -> None:
        if self._manage:
            _switch.release()

    def guard(self) -> None:
        """Collect if resident memory is past its share, and has grown since that last helped."""
        if not self._manage or not self._limit_bytes:
            return
        resident = resident_bytes()
        # Without the second condition a job with much true state would collect all the time.
        if resident > self._limit_bytes and resident > self._after_bytes * 1.05:
            self._collect()
            self._after_bytes = resident_bytes()

    def idle(self, slices: int) -> None:
        """Collect once per quiet time; ``slices`` tells whether the engine worked in between."""
        if self._manage and slices != self._collected_at:
            self._collected_at = slices
            self._collect()

    def _collect(self) -> None:
        gc.collect()
        self.collections += 1


def resident_bytes() -> int:
    """Return this process's resident memory; 0 where the system does not say (not Linux)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def memory_limit_bytes() -> int:
    """Return what this process may use: its cgroup's limit, or the machine's memory."""
    machine = _machine_bytes()
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limit = int(Path(path).read_text())
        except (OSError, ValueError):  # no such controller, or "max"
            continue
        return min(limit, machine) if machine else limit
    return machine


def _machine_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * _PAGE
    except (AttributeError, OSError, ValueError):  # Windows
        return 0
