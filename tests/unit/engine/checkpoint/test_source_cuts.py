"""Where a barrier cuts a source's stream, and how the source goes on from there."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import millstream as ms
from millstream.core.element import Barrier, Position
from millstream.core.source import OverflowStrategy
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.source_cut import SourceCut
from millstream.engine.source_driver import Packer, RunDriver
from millstream.engine.source_head import CollectHead
from millstream.runtime.snapshot.errors import StateEncodeError
from tests.support.probe import Probe
from tests.support.stepping import ManualClock


@pytest.mark.parametrize("sizes", [[10], [3, 7], [1] * 10, [5, 5]])
def test_what_was_emitted_before_is_left_out_however_the_source_cuts_now(sizes: list[int]) -> None:
    packer = Packer("in", 0, ManualClock())
    packer.go_on_from(Position(0, 4))
    chunks, at = [], 0
    for size in sizes:
        chunks.append(packer.pack((list(range(at, at + size)), at + size)))
        at += size
    assert [value for chunk in chunks for value in chunk.values] == [4, 5, 6, 7, 8, 9]
    assert packer.sent == 6
    for chunk in chunks:  # a restart from any of these ends is right as well
        assert chunk.end.base + chunk.end.records == max(4, chunk.end.base)
        if chunk.values:
            assert chunk.start.base + chunk.start.records == chunk.values[0]


def test_records_that_nobody_asked_for_are_part_of_the_cut_and_come_first_after_it() -> None:
    head = CollectHead(Dispatcher(ManualClock()), "in", OverflowStrategy.BUFFER, 10)
    head.outlet.subscribe(Probe())
    head.source_state = lambda: head.offered
    head.collect_batch(["a", "b"])
    cut = head.cut(Barrier(1))
    assert cut == SourceCut(Position(2, 0), finished=False, backlog=("a", "b"))
    assert SourceCut.from_value(cut.to_value()) == cut

    dispatcher = Dispatcher(ManualClock())
    again = CollectHead(dispatcher, "in", OverflowStrategy.BUFFER, 10)
    again.restore(cut.backlog)
    probe = Probe()
    again.outlet.subscribe(probe)
    again.collect("c")
    probe.request(3)
    dispatcher.run_until_idle()
    assert probe.records == ["a", "b", "c"]


def test_a_cut_never_comes_into_the_midst_of_a_batch() -> None:
    dispatcher = Dispatcher(ManualClock())
    head = CollectHead(dispatcher, "in", None)
    probe = Probe()
    head.outlet.subscribe(probe)
    position = 0
    head.source_state = lambda: position
    probe.request(2)
    with head.checkpoint_lock:
        head.collect_batch(["a", "b", "c", "d"])  # it does not wait for demand for the last two
        position = 4
    cut = head.cut(Barrier(1))
    assert probe.records == ["a", "b"]
    assert cut == SourceCut(Position(4, 0), finished=False, backlog=("c", "d"))
    probe.request(3)
    dispatcher.run_until_idle()
    assert probe.records == ["a", "b", "c", "d"]
    head.collect_batch(["e"])  # there is demand for it now
    dispatcher.run_until_idle()
    assert probe.records == ["a", "b", "c", "d", "e"]


def test_a_source_that_cannot_tell_its_state_does_not_hold_the_barrier_back() -> None:
    head = CollectHead(Dispatcher(ManualClock()), "in", None)
    probe = Probe()
    head.outlet.subscribe(probe)

    def broken() -> int:
        raise ValueError("no state")

    head.source_state = broken
    with pytest.raises(ValueError, match="no state"):
        head.cut(Barrier(1))
    assert probe.controls == [Barrier(1)]


def test_a_position_that_the_source_changes_later_is_saved_as_it_was() -> None:
    def read(start: dict[str, int]) -> Iterator[tuple[list[int], dict[str, int]]]:
        for _ in range(3):
            start["next"] += 1
            yield [0], start

    packer = Packer("in", None, ManualClock())
    packer.saved = True
    ends = [packer.pack(batch).end.base for batch in read({"next": 0})]
    assert ends == [{"next": 1}, {"next": 2}, {"next": 3}]


def test_a_position_of_numbers_is_not_copied() -> None:
    packer = Packer("in", None, ManualClock())
    packer.saved = True
    position = (1, "a", (2.5, None))
    assert packer.pack(([0], position)).end.base is position


def test_a_position_that_no_checkpoint_could_keep_is_refused_where_there_are_some() -> None:
    packer = Packer("in", None, ManualClock())
    packer.pack(([0], threading.Lock()))
    packer.saved = True
    with pytest.raises(StateEncodeError, match="the position of source 'in' is a lock that cannot"):
        packer.pack(([0], threading.Lock()))


class Live(ms.Source[int]):
    """Returns the very dict that it counts in."""

    def __init__(self) -> None:
        self.state = {"next": 0}

    def run(self, ctx: ms.SourceContext[int]) -> None:
        raise NotImplementedError

    def snapshot_state(self) -> dict[str, int]:
        return self.state

    def close(self) -> None:
        self.state.clear()


@pytest.mark.parametrize("ended", [False, True])
def test_a_state_that_the_source_changes_later_is_saved_as_it_was(ended: bool) -> None:
    source, head = Live(), CollectHead(Dispatcher(ManualClock()), "in", None)
    head.outlet.subscribe(Probe())
    RunDriver(source, head).make_snapshots()
    source.state["next"] = 1
    if ended:
        head.end()
        source.close()
    cut = head.cut(Barrier(1))
    source.state["next"] = 2
    assert cut.position.base == {"next": 1}


def test_a_record_of_the_backlog_that_a_map_changes_later_is_saved_as_it_was() -> None:
    head = CollectHead(Dispatcher(ManualClock()), "in", OverflowStrategy.BUFFER, 10)
    head.outlet.subscribe(Probe())
    record = {"amount": 1}
    head.collect(record)
    cut = head.cut(Barrier(1))
    record["amount"] = 2
    assert cut.backlog == ({"amount": 1},)
