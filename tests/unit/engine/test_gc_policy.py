"""When garbage is collected: never on Python's clock, once when idle, and when memory asks."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import psutil
import pytest

from millstream.engine import gc_policy
from millstream.engine.gc_policy import GcPolicy, memory_limit_bytes, resident_bytes


class Memory:
    """A process whose resident memory is what the test says, less what a collection frees."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.resident = 0
        self.garbage = 0
        self.collections = 0
        patch.setattr(gc_policy, "memory_limit_bytes", lambda: 1000)
        patch.setattr(gc_policy, "resident_bytes", lambda: self.resident)
        patch.setattr(gc, "collect", self.collect)

    def collect(self) -> int:
        self.collections += 1
        self.resident -= self.garbage
        self.garbage = 0
        return 0


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

    def __init__(self, patch: pytest.MonkeyPatch, **texts: str) -> None:
        def read_text(path: Path) -> str:
            try:
                return texts[path.name.replace(".", "_")]
            except KeyError:
                raise FileNotFoundError(path) from None

        patch.setattr(Path, "read_text", read_text)
        patch.setattr(gc_policy, "_machine_bytes", lambda: 1000)


@pytest.mark.parametrize(
    ("texts", "limit"),
    [
        ({"memory_max": "300\n"}, 300),
        ({"memory_max": "max\n"}, 1000),
        ({"memory_max": "9223372036854771712"}, 1000),
        ({"memory_limit_in_bytes": "400"}, 400),
        ({"memory_max": "max", "memory_limit_in_bytes": "400"}, 400),
        ({}, 1000),
    ],
)
def test_the_limit_is_the_cgroups_or_the_machines(
    texts: dict[str, str], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        Files(patch, **texts)
        assert memory_limit_bytes() == limit


def test_a_system_that_does_not_say_counts_as_0(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        Files(patch)
        assert resident_bytes() == 0
