"""Decides when Python collects garbage while a job runs: when idle, or when memory asks for it.

One full collection over 1,000,000 tuples of state stops the stream for 240 to 460 ms (measured),
more than any snapshot; so none runs on Python's own clock. What the guard does for a growing
process is measured from the last collection, so that true state costs a number of collections that
is logarithmic in its size.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

IDLE_NS = 1_000_000_000  # quiet for so long counts as idle
GROWTH_BYTES = 256_000_000  # a process may grow by so much without being looked through
GROWTH_SHARE = 0.5  # or, of what it had after the last collection, by so much; the larger counts
NEAR_SHARE = 0.05  # the same, where it is past its share of the limit
HELP_SHARE = 0.25  # of what is allocated: a collection that frees so much has helped
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class _Switch:
    """The process's one collector, turned off while any run manages it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._was_enabled = False
        self._frozen = False

    def hold(self) -> None:
        with self._lock:
            if not self._holders:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._holders += 1

    def freeze(self) -> None:
        """Leave what is there by now, such as restored state, out of collections."""
        with self._lock:
            if self._frozen or not gc.get_freeze_count():  # else the program has its own plan
                self._frozen = True
                gc.freeze()

    def release(self) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders:
                return
            if self._frozen:
                self._frozen = False
                gc.unfreeze()
            if self._was_enabled:
                gc.enable()


_switch = _Switch()


class GcPolicy:
    """Keeps the collector off during a run; several runs of a process share the switch.

    What is there when a run begins is frozen until it ends: with 1,000,000 keys of restored state
    each collection would take a third of a second for nothing.

    Args:
        manage: False leaves the collector alone. So does a system that does not tell how much
            memory a process has (not Linux): nobody would see garbage grow.
        memory_share: resident memory, as a share of the limit, past which ``guard`` collects.
    """

    def __init__(self, manage: bool, memory_share: float) -> None:
        self._manage = manage and resident_bytes() > 0
        self._limit_bytes = int(memory_limit_bytes() * memory_share)
        self._after_bytes = 0  # resident memory after the last collection, or as the run began
        self._refill = 0  # new objects until a collection that helped is repeated; 0: it did not
        self._collected_at = -1  # the engine's slices at the last idle collection
        self.collections = 0

    def __enter__(self) -> GcPolicy:
        if self._manage:
            _switch.hold()
            _switch.freeze()
            self._after_bytes = resident_bytes()
        return self

    def __exit__(self, *_: object) -> None:
        if self._manage:
            _switch.release()

    def guard(self) -> None:
        """Collect if resident memory has grown by enough; past its share, 5 % is enough.

        Memory that a collection has freed mostly stays with the process, and new garbage fills it
        unseen. So one that has helped is repeated after as many new objects.
        """
        if not self._manage:
            return
        resident = resident_bytes()
        if 0 < self._limit_bytes < resident:
            enough = NEAR_SHARE * self._after_bytes
        else:
            enough = max(GROWTH_BYTES, GROWTH_SHARE * self._after_bytes)
        new = gc.get_count()[0]  # objects that were made since the last collection, and not freed
        if resident - self._after_bytes <= enough:
            if not 0 < self._refill < new:
                return
            new = self._refill
        blocks = sys.getallocatedblocks()
        self._collect()
        helped = sys.getallocatedblocks() < (1 - HELP_SHARE) * blocks
        self._refill = new if helped else 0

    def idle(self, slices: int) -> None:
        """Collect once per quiet time; ``slices`` tells whether the engine worked in between."""
        if self._manage and slices != self._collected_at:
            self._collected_at = slices
            self._collect()

    def _collect(self) -> None:
        gc.collect()
        self.collections += 1
        self._after_bytes = resident_bytes()


@contextmanager
def uncollected(manage: bool) -> Iterator[None]:  # a setting
    """Keep the collector off while much is made that stays: it would look through all of it.

    Args:
        manage: False leaves it alone.
    """
    if not manage:
        yield
        return
    _switch.hold()
    try:
        yield
    finally:
        _switch.release()


def resident_bytes() -> int:
    """Return this process's resident memory; 0 where the system does not say (not Linux)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def memory_limit_bytes() -> int:
    """Return what this process may use: the least limit of its cgroups, or the machine's memory."""
    limits = [_machine_bytes(), *(_number_in(path) for path in _limit_files())]
    return min((limit for limit in limits if limit), default=0)


def _limit_files() -> Iterator[Path]:
    """Yield the files with the limits of this process's memory cgroup, and of all above it."""
    # The root always: a container may see its own cgroup there, under a path that is the host's.
    lines = ["0::/", "0:memory:/"]
    with suppress(OSError):
        lines += Path("/proc/self/cgroup").read_text().splitlines()
    for line in lines:  # cgroups(7): hierarchy:controllers:path, and no controllers in version 2
        controllers, _, path = line.partition(":")[2].partition(":")
        if not controllers:
            root, name = "/sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            root, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        here = PurePosixPath(path)
        for each in (here, *here.parents):
            yield Path(f"{root}{each}", name)


def _number_in(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such controller, or "max"
        return 0


def _machine_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * _PAGE
    except (AttributeError, OSError, ValueError):  # Windows
        return 0
