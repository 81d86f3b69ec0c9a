"""When garbage is collected: never on Python's clock, once when idle, and when memory asks."""

from __future__ import annotations

import gc
import sys
import threading
from pathlib import Path

import psutil
import pytest

from millstream.engine import gc_policy
from millstream.engine.gc_policy import (
    GcPolicy,
    memory_limit_bytes,
    resident_bytes,
    uncollected,
)


class Memory:
    """A process whose resident memory is what the test says, less what a collection frees.

    Attributes:
        kept: freed memory stays with the process, as that of small objects mostly does.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.resident = 1
        self.garbage = 0
        self.kept = False
        self.collections = 0
        self.objects = self.new = 0
        patch.setattr(gc_policy, "memory_limit_bytes", lambda: 1000)
        patch.setattr(gc_policy, "resident_bytes", lambda: self.resident)
        patch.setattr(gc, "collect", self.collect)
        patch.setattr(gc, "get_count", lambda: (self.new, 0, 0))
        patch.setattr(sys, "getallocatedblocks", lambda: self.objects)

    def collect(self) -> int:
        self.collections += 1
        self.resident -= 0 if self.kept else self.garbage
        self.objects -= self.garbage
        self.garbage = self.new = 0
        return 0

    def make(self, objects: int, *, garbage: bool) -> None:
        """Make objects of a byte; they fill what the process has, before it takes more."""
        self.objects += objects
        self.new += objects
        self.garbage += objects if garbage else 0
        self.resident = max(self.resident, self.objects)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    return Memory(monkeypatch)


def test_the_guard_collects_when_memory_passes_its_share(memory: Memory) -> None:
    policy = GcPolicy(True, 0.75)
    memory.resident = 749
    policy.guard()
    assert not memory.collections
    memory.resident, memory.garbage = 751, 500
    policy.guard()
    assert memory.collections == policy.collections == 1
    assert memory.resident == 251


def test_the_guard_collects_again_each_time_garbage_has_grown(memory: Memory) -> None:
    policy = GcPolicy(True, 0.75)
    for round_ in range(1, 6):
        memory.resident, memory.garbage = 800, 600
        policy.guard()
        assert memory.collections == round_


def test_true_state_past_the_share_is_not_collected_all_the_time(memory: Memory) -> None:
    policy = GcPolicy(True, 0.75)
    memory.resident = 800  # none of it garbage
    for _ in range(10):
        policy.guard()
    assert memory.collections == 1
    memory.resident = 839  # not 5 % more
    policy.guard()
    assert memory.collections == 1
    memory.resident = 850
    policy.guard()
    assert memory.collections == 2


@pytest.fixture
def large(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> Memory:
    """Return the memory of a machine that has more than enough of it."""
    monkeypatch.setattr(gc_policy, "memory_limit_bytes", lambda: 10**15)
    return memory


def test_the_guard_collects_when_the_process_has_grown_by_much(large: Memory) -> None:
    large.resident = 100_000_000
    with GcPolicy(True, 0.75) as policy:
        large.resident += 256_000_000
        policy.guard()
        assert not policy.collections
        large.resident += 1
        policy.guard()
        policy.guard()
        assert large.collections == 1
        large.resident += 256_000_001
        policy.guard()
        assert large.collections == 2


def test_growth_is_measured_from_the_last_collection_also_of_an_idle_time(large: Memory) -> None:
    with GcPolicy(True, 0.75) as policy:
        large.resident = 200_000_000
        policy.idle(slices=1)
        large.resident = 400_000_000
        policy.guard()
    assert large.collections == 1


def test_growing_state_is_collected_a_logarithmic_number_of_times(large: Memory) -> None:
    with GcPolicy(True, 0.75) as policy:
        for _ in range(1000):
            large.make(10_000_000, garbage=False)
            policy.guard()
    assert large.resident == 10_000_000_000
    assert large.collections <= 10


@pytest.mark.parametrize("kept", [True, False])
def test_garbage_is_held_down_beside_state_and_where_its_memory_stays_with_the_process(
    kept: bool, large: Memory
) -> None:
    large.kept = kept
    with GcPolicy(True, 0.75) as policy:
        large.make(100_000_000, garbage=False)
        for _ in range(1000):
            large.make(10_000_000, garbage=True)
            policy.guard()
    assert large.resident < 500_000_000
    assert large.collections < 50


def test_a_collection_that_has_not_helped_is_not_repeated_for_new_objects(large: Memory) -> None:
    large.kept = True
    with GcPolicy(True, 0.75) as policy:
        large.make(300_000_000, garbage=True)
        policy.guard()
        assert large.collections == 1
        large.make(300_000_001, garbage=False)  # as many as were garbage the last time
        policy.guard()
        assert large.collections == 2
        large.objects = 0  # the state has gone again, by itself
        for _ in range(10):
            large.make(30_000_000, garbage=False)
            policy.guard()
    assert large.collections == 2


def test_where_a_processs_memory_is_unknown_pythons_own_collector_stays_on(
    memory: Memory,
) -> None:
    memory.resident = 0
    with GcPolicy(True, 0.75) as policy:
        assert gc.isenabled()
        policy.guard()
        policy.idle(1)
    assert not memory.collections


def test_an_idle_time_is_used_once(memory: Memory) -> None:
    policy = GcPolicy(True, 0.75)
    for _ in range(5):
        policy.idle(slices=7)
    assert memory.collections == 1
    for _ in range(5):
        policy.idle(slices=8)  # the engine worked in between
    assert memory.collections == 2


def test_what_is_not_managed_is_left_alone(memory: Memory) -> None:
    policy = GcPolicy(False, 0.75)
    memory.resident = 10_000
    with policy:
        assert gc.isenabled()
        policy.guard()
        policy.idle(1)
    assert not memory.collections
    assert gc.isenabled()


def test_where_the_limit_is_unknown_the_guard_does_nothing(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc_policy, "memory_limit_bytes", lambda: 0)
    policy = GcPolicy(True, 0.75)
    memory.resident = 10_000
    policy.guard()
    assert not memory.collections


def test_the_switch_is_put_back_when_the_last_of_several_runs_ends() -> None:
    first, second = GcPolicy(True, 0.75), GcPolicy(True, 0.75)
    with first:
        assert not gc.isenabled()
        with second:
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_runs_may_end_in_any_order() -> None:
    first, second = GcPolicy(True, 0.75), GcPolicy(True, 0.75)
    with first:
        second.__enter__()
    assert not gc.isenabled()
    second.__exit__()
    assert gc.isenabled()


def test_the_switch_holds_under_many_threads() -> None:
    def run() -> None:
        for _ in range(200):
            with GcPolicy(True, 0.75):
                assert not gc.isenabled()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with GcPolicy(True, 0.75):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_switch_is_put_back_behind_an_exception() -> None:
    with pytest.raises(ValueError, match="on purpose"), GcPolicy(True, 0.75):
        raise ValueError("on purpose")
    assert gc.isenabled()


def test_memory_is_read_from_the_system() -> None:
    resident = psutil.Process().memory_info().rss
    assert resident / 2 < resident_bytes() < resident * 2
    assert 0 < memory_limit_bytes() <= psutil.virtual_memory().total


class Files:
    """Answers ``read_text`` of some files as the test says; others are not there."""

    def __init__(self, patch: pytest.MonkeyPatch, texts: dict[str, str]) -> None:
        def read_text(path: Path) -> str:
            try:
                return texts[str(path)]
            except KeyError:
                raise FileNotFoundError(path) from None

        patch.setattr(Path, "read_text", read_text)
        patch.setattr(gc_policy, "_machine_bytes", lambda: 1000)


V1, V2 = "/sys/fs/cgroup/memory{}/memory.limit_in_bytes", "/sys/fs/cgroup{}/memory.max"
IN_A_SLICE = "0::/app.slice/job.service\n"
IN_A_CONTAINER = "5:cpu,cpuacct:/docker/1\n4:cpuset,memory:/docker/1\n1:name=systemd:/docker/1\n"


@pytest.mark.parametrize(
    ("cgroup", "texts", "limit"),
    [
        ("", {V2: "300\n"}, 300),
        ("", {V2: "max\n"}, 1000),
        ("", {V1: "9223372036854771712"}, 1000),
        ("", {V1: "400"}, 400),
        ("", {V2: "max", V1: "400"}, 400),
        ("", {}, 1000),
        ("0::/\n", {V2: "300"}, 300),
        (IN_A_SLICE, {V2 + "/app.slice/job.service": "200"}, 200),
        (IN_A_SLICE, {V2 + "/app.slice": "300", V2 + "/app.slice/job.service": "max"}, 300),
        (IN_A_SLICE, {V2 + "/app.slice": "300", V2 + "/app.slice/job.service": "400"}, 300),
        (IN_A_SLICE, {V2: "300", V1 + "/app.slice": "200"}, 300),
        (IN_A_CONTAINER, {V1 + "/docker/1": "500"}, 500),
        (IN_A_CONTAINER, {V1: "600"}, 600),  # the path is the host's, the files the container's
        (IN_A_CONTAINER, {V1: "9223372036854771712", V1 + "/docker/1": "500"}, 500),
    ],
)
def test_the_limit_is_the_least_of_the_processs_cgroups_or_the_machines(
    cgroup: str, texts: dict[str, str], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {}
    for key, text in texts.items():
        form = V1 if key.startswith(V1) else V2
        files[form.format(key.removeprefix(form))] = text
    with monkeypatch.context() as patch:
        Files(patch, files | {"/proc/self/cgroup": cgroup})
        assert memory_limit_bytes() == limit


def test_a_system_that_does_not_say_counts_as_0(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        Files(patch, {})
        assert memory_limit_bytes() == 1000
        assert resident_bytes() == 0


def test_what_is_there_when_a_run_begins_is_frozen_until_the_last_one_ends() -> None:
    assert gc.get_freeze_count() == 0
    first, second = GcPolicy(True, 0.75), GcPolicy(True, 0.75)
    with first:
        before = gc.get_freeze_count()
        assert before > 0
        restored = [[number] for number in range(1000)]
        with second:
            assert gc.get_freeze_count() >= before + len(restored)
        assert gc.get_freeze_count() >= before + len(restored)
    assert gc.get_freeze_count() == 0


def test_what_a_program_has_frozen_stays_so() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with GcPolicy(True, 0.75):
            assert gc.get_freeze_count() == frozen
        assert gc.get_freeze_count() == frozen
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("manage", [True, False])
def test_the_collector_is_off_while_state_is_restored(manage: bool) -> None:
    assert gc.isenabled()
    with uncollected(manage):
        assert gc.isenabled() is not manage
    assert gc.isenabled()
