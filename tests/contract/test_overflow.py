"""What becomes of records that nobody asked for: BUFFER, DROP, LATEST, ERROR, by their tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition
from hypothesis.stateful import rule as step

from millstream.core.element import EndOfInput
from millstream.core.errors import SourceOverflowError
from millstream.core.source import OverflowStrategy
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.source_head import CollectHead
from tests.support.probe import MAX_DEMAND, Probe
from tests.support.rules import rule
from tests.support.stepping import ManualClock

BUFFER, DROP, LATEST, ERROR = (
    OverflowStrategy.BUFFER,
    OverflowStrategy.DROP,
    OverflowStrategy.LATEST,
    OverflowStrategy.ERROR,
)
CAPACITY = 3


class Push:
    """A source that cannot be slowed; its records are 0, 1, 2, …"""

    def __init__(self, strategy: OverflowStrategy) -> None:
        self.dispatcher = Dispatcher(ManualClock())
        capacity = CAPACITY if strategy is BUFFER else 0
        self.head = CollectHead(self.dispatcher, "push", strategy, capacity)
        self.probe = Probe()
        self.head.outlet.subscribe(self.probe)
        self.pushed = 0
        self.refused = 0

    def push(self) -> None:
        """Push one record; a refusal is an exception in the source's own thread."""
        self.pushed += 1
        try:
            self.head.collect(self.pushed - 1)
        except SourceOverflowError:
            self.refused += 1

    def run(self) -> None:
        self.dispatcher.run_until_idle()


def push(records: int) -> tuple[str, int]:
    return "push", records


def ask(records: int) -> tuple[str, int]:
    return "ask", records


END = ("end", 0)


@dataclass(frozen=True)
class Row:
    """One row of a strategy's table.

    Attributes:
        moves: what is pushed and asked for, in order.
        delivered: what has come out then.
        dropped: how many were given up.
        kept: what still comes out if more is asked for.
        terminal: how the stream has ended by then.
    """

    strategy: OverflowStrategy
    moves: list[tuple[str, int]]
    delivered: list[int]
    dropped: int = 0
    kept: list[int] = field(default_factory=list)
    terminal: str | None = None

    def __str__(self) -> str:
        moves = ", ".join(f"{what} {number}" if number else what for what, number in self.moves)
        return f"{self.strategy}: {moves}"


TABLE = [
    Row(BUFFER, [push(3)], [], kept=[0, 1, 2]),
    Row(BUFFER, [push(3), ask(2)], [0, 1], kept=[2]),
    Row(BUFFER, [ask(2), push(5)], [0, 1], kept=[2, 3, 4]),
    Row(BUFFER, [push(3), ask(1), push(1)], [0], kept=[1, 2, 3]),
    Row(BUFFER, [push(2), ask(9), push(5)], [0, 1, 2, 3, 4, 5, 6]),
    Row(BUFFER, [push(4)], [], dropped=1, terminal="error"),
    Row(BUFFER, [ask(2), push(6)], [0, 1], dropped=1, terminal="error"),
    Row(BUFFER, [push(2), END], [], kept=[0, 1]),
    Row(BUFFER, [push(2), END, ask(2)], [0, 1], terminal="complete"),
    Row(DROP, [push(3)], [], dropped=3),
    Row(DROP, [ask(3), push(3)], [0, 1, 2]),
    Row(DROP, [ask(3), push(5)], [0, 1, 2], dropped=2),
    Row(DROP, [push(3), ask(2), push(3)], [3, 4], dropped=4),
    Row(DROP, [ask(2), push(1), ask(2), push(4)], [0, 1, 2, 3], dropped=1),
    Row(DROP, [push(1), ask(1), push(2), ask(1), push(2)], [1, 3], dropped=3),
    Row(DROP, [push(2), END], [], dropped=2, terminal="complete"),
    Row(LATEST, [push(1)], [], kept=[0]),
    Row(LATEST, [push(5)], [], dropped=4, kept=[4]),
    Row(LATEST, [push(5), ask(1)], [4], dropped=4),
    Row(LATEST, [ask(2), push(5)], [0, 1], dropped=2, kept=[4]),
    Row(LATEST, [ask(1), push(4), ask(2), push(1)], [0, 3, 4], dropped=2),
    Row(LATEST, [ask(1), push(4), ask(1), push(3)], [0, 3], dropped=4, kept=[6]),
    Row(LATEST, [push(2), END], [], dropped=1, kept=[1]),
    Row(LATEST, [push(2), END, ask(1)], [1], dropped=1, terminal="complete"),
    Row(ERROR, [ask(3), push(3)], [0, 1, 2]),
    Row(ERROR, [ask(3), push(4)], [0, 1, 2], dropped=1, terminal="error"),
    Row(ERROR, [push(1)], [], dropped=1, terminal="error"),
    Row(ERROR, [ask(1), push(1), ask(1), push(1)], [0, 1]),
    Row(ERROR, [ask(1), push(1), END], [0], terminal="complete"),
]


@rule("1.1", "1.5", "1.7")
@pytest.mark.parametrize("engine", ["keeps up", "is late"])
@pytest.mark.parametrize("row", TABLE, ids=str)
def test_table(row: Row, engine: str) -> None:
    """The demand at the moment of the push decides, not when the engine comes to it."""
    source = Push(row.strategy)
    for what, number in row.moves:
        if what == "push":
            for _ in range(number):
                source.push()
        elif what == "ask":
            source.probe.request(number)
        else:
            source.head.end()
        if engine == "keeps up":
            source.run()
    source.run()
    probe = source.probe
    assert probe.records == row.delivered
    assert source.head.dropped == row.dropped
    assert source.head.offered == source.pushed
    terminal = "error" if probe.error else "complete" if probe.completed else None
    assert terminal == row.terminal
    if row.terminal is None:
        probe.request(MAX_DEMAND)
        source.run()
    assert probe.records == row.delivered + row.kept
    if row.terminal != "error":
        assert source.pushed == len(row.delivered) + row.dropped + len(row.kept)


@rule("1.7", "1.4")
@pytest.mark.parametrize(("strategy", "held"), [(BUFFER, CAPACITY), (ERROR, 0)])
def test_an_overflow_ends_the_stream_once_and_for_all(
    strategy: OverflowStrategy, held: int
) -> None:
    source = Push(strategy)
    source.probe.request(2)
    for _ in range(2 + held + 1):
        source.push()
    assert source.refused == 1
    source.push()  # the source goes on, as one that catches every exception would
    source.probe.request(5)
    source.push()
    assert source.refused == 3
    source.run()
    assert isinstance(source.probe.error, SourceOverflowError)
    delivered = list(source.probe.records)
    assert delivered == list(range(2 + held)), "nothing comes from behind the gap"
    source.push()
    source.probe.request(5)
    source.run()  # the probe fails at any signal behind the end
    assert source.refused == 4
    assert source.probe.records == delivered


def test_an_overflow_says_whose_it_is_and_what_to_do() -> None:
    source = Push(BUFFER)
    for _ in range(CAPACITY + 1):
        source.push()
    source.run()
    error = source.probe.error
    assert isinstance(error, SourceOverflowError)
    assert error.operator_uid == "push"
    assert "source 'push'" in str(error)
    assert "buffer of 3 records" in str(error)
    assert "buffer_size" in str(error)


@rule("1.8", "3.12")
@pytest.mark.parametrize("strategy", OverflowStrategy)
def test_what_was_pushed_before_a_cancel_is_not_delivered(strategy: OverflowStrategy) -> None:
    source = Push(strategy)
    source.probe.request(2)
    source.push()
    source.probe.cancel()
    source.run()
    assert source.probe.trace == []


# -- against a model ------------------------------------------------------------------------------


class Model:
    """The four strategies in their simplest form."""

    def __init__(self, strategy: OverflowStrategy) -> None:
        self.strategy = strategy
        self.demand = 0  # asked for, and nothing pushed for it yet
        self.out: list[int] = []
        self.held: list[int] = []
        self.dropped = 0
        self.failed = False
        self.ended = False

    def push(self, record: int) -> None:
        if self.demand:
            self.demand -= 1
            self.out.append(record)
        elif self.strategy is DROP:
            self.dropped += 1
        elif self.strategy is LATEST:
            self.dropped += len(self.held)
            self.held = [record]
        elif self.strategy is BUFFER and len(self.held) < CAPACITY:
            self.held.append(record)
        else:
            self.dropped += 1
            self.failed = True

    def ask(self, records: int) -> None:
        self.demand += records
        while self.held and self.demand:
            self.out.append(self.held.pop(0))
            self.demand -= 1


class Overflow(RuleBasedStateMachine):
    """Pushes, requests and engine steps in any order, against the model."""

    @initialize(strategy=st.sampled_from(OverflowStrategy))
    def begin(self, strategy: OverflowStrategy) -> None:
        self.model = Model(strategy)
        self.source = Push(strategy)
        self.probe = self.source.probe

    @precondition(lambda self: not self.model.failed and not self.model.ended)
    @step(records=st.integers(1, 5))
    def push(self, records: int) -> None:
        for _ in range(records):
            if self.model.failed:
                break
            wanted, dropped = self.model.demand > 0, self.source.head.dropped
            self.model.push(self.source.pushed)
            self.source.push()
            assert not wanted or self.source.head.dropped == dropped, "a requested record is lost"

    @step(records=st.integers(1, 5))
    def ask(self, records: int) -> None:
        stalled = not self.model.demand and self.model.strategy is LATEST and self.model.held
        if not self.probe.ended:
            self.model.ask(records)
        self.probe.request(records)
        if stalled and not self.probe.ended:
            received = self.probe.received
            self.run()
            if self.probe.received > received:
                assert self.probe.records[-1] == self.source.pushed - 1, "not the newest"

    @step()
    def one_step(self) -> None:
        self.source.dispatcher.step()

    @step()
    def run(self) -> None:
        self.source.run()
        assert self.probe.records == self.model.out
        assert (self.probe.error is not None) == self.model.failed
        finished = self.model.ended and not self.model.held and not self.model.failed
        assert self.probe.completed == finished
        assert (EndOfInput() in self.probe.trace) == finished

    @precondition(lambda self: not self.model.failed)
    @step()
    def end(self) -> None:
        self.model.ended = True
        self.source.head.end()

    @invariant()
    def nothing_is_unaccounted_for(self) -> None:
        if not hasattr(self, "model"):
            return
        model, head = self.model, self.source.head
        assert self.probe.records == model.out[: self.probe.received]
        assert head.dropped == model.dropped
        assert head.offered == len(model.out) + len(model.held) + model.dropped
        assert len(model.held) <= {BUFFER: CAPACITY, LATEST: 1}.get(model.strategy, 0)

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.run()


TestOverflowModel = Overflow.TestCase
TestOverflowModel.settings = settings(
    max_examples=150, stateful_step_count=30, derandomize=True, deadline=None
)
