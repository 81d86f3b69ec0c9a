"""The forms of sinks that are exact across kills."""

from __future__ import annotations

from typing import Any

import pytest

from millstream.core.errors import ConfigError
from millstream.core.sink import SinkContext, as_sink
from millstream.core.two_phase import (
    StatefulSink,
    TransactionId,
    TwoPhaseCommitSink,
    check_methods,
)


class Listing(TwoPhaseCommitSink[int, list[int]]):
    def __init__(self) -> None:
        self.visible: list[int] = []

    def begin_transaction(self, id: TransactionId) -> list[int]:
        return []

    def invoke(self, transaction: list[int], value: int) -> None:
        transaction.append(value)

    def pre_commit(self, transaction: list[int]) -> Any:
        return list(transaction)

    def commit(self, handle: Any) -> None:
        self.visible += handle

    def abort(self, transaction: list[int]) -> None:
        transaction.clear()

    def recover_and_abort(self, before_epoch: int) -> None:
        pass


class Counting(StatefulSink[int]):
    def invoke(self, value: int, ctx: SinkContext) -> None:
        pass

    def snapshot_state(self) -> Any:
        return None

    def restore_state(self, state: Any) -> None:
        pass


def test_a_sink_that_has_only_what_it_must_works() -> None:
    sink = Listing()
    check_methods(sink)
    sink.validate()
    sink.open(SinkContext("job", "out"))
    transaction = sink.begin_transaction(TransactionId("job", "out", 0, 1, 1))
    sink.invoke_batch(transaction, [1, 2])
    sink.commit(sink.pre_commit(transaction))
    sink.recover_and_commit([3])
    sink.close()
    assert sink.visible == [1, 2, 3]
    assert sink.describe() == {}


def test_a_stateful_sink_is_a_sink() -> None:
    sink = Counting()
    check_methods(sink)
    assert as_sink(sink) is sink


def test_a_transaction_says_its_name() -> None:
    assert str(TransactionId("orders", "out", 0, 3, 17)) == "orders/out/0/3/17"


class AsyncCommit(Listing):
    async def commit(self, handle: Any) -> None:  # type: ignore[override]
        pass


class YieldingPreCommit(Listing):
    def pre_commit(self, transaction: list[int]) -> Any:
        yield


class NoHandle(Listing):
    def recover_and_commit(self) -> None:  # type: ignore[override]
        pass


class AsyncState(Counting):
    async def snapshot_state(self) -> Any:
        pass


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        (AsyncCommit(), "AsyncCommit.commit is 'async def', but nothing would await it: TwoPhase"),
        (YieldingPreCommit(), "YieldingPreCommit.pre_commit yields, so calling it would do nothin"),
        (NoHandle(), r"NoHandle.recover_and_commit is called as recover_and_commit\(handle\), but"),
        (
            AsyncState(),
            "AsyncState.snapshot_state is 'async def', .* StatefulSink's methods run on",
        ),
    ],
)
def test_a_method_that_would_be_called_in_vain_is_refused(sink: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_methods(sink)
