"""Sinks whose result is exact across kills: what a user implements, and when each part is called.

There are two forms. A ``TwoPhaseCommitSink`` shows its records checkpoint by checkpoint; a
``StatefulSink`` shows one result, at the end of the input, and goes on with it after a kill.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from millstream.core.errors import ConfigError, SinkError
from millstream.core.function_kind import is_async
from millstream.core.job_graph import Guarantee
from millstream.core.method_check import check_method
from millstream.core.sink import AnySink, Sink, SinkContext, _AnySink, as_sink, check_guarantee

T = TypeVar("T")
TXN = TypeVar("TXN")

Handle = Any
"""What names a pre-committed transaction: made of dict, list, str, int, float, bool and None.

It is stored in the checkpoint, so another process, and a later version of the sink, must be able to
commit by it alone."""


class DataLossError(SinkError):
    """What a checkpoint names is neither staged nor committed in the target.

    Going on would lose it, so that is for a person to decide; the message says how.
    """


class FencedError(SinkError):
    """A newer run of the job has the target now; this one must write nothing more."""


@dataclass(frozen=True, slots=True)
class TransactionId:
    """The name of a transaction; no two transactions ever share one.

    Attributes:
        job: the job's name.
        uid: the sink's uid.
        subtask: which of the sink's parallel instances, from 0.
        epoch: of the lease that the run holds; a later run's is greater.
        checkpoint: grows from transaction to transaction within an epoch: the checkpoint whose
            barrier ends it, or an earlier one's number if that one failed.
    """

    job: str
    uid: str
    subtask: int
    epoch: int
    checkpoint: int

    def __str__(self) -> str:
        return f"{self.job}/{self.uid}/{self.subtask}/{self.epoch}/{self.checkpoint}"


class TwoPhaseCommitSink(_AnySink, Generic[T, TXN]):
    """A sink that stages records, and shows them when the checkpoint behind them is complete.

    All its methods run on one thread of its own, and may block. Order of calls in a run:

    1. ``open``. Then, of what the checkpoint that the run goes on from names,
       ``recover_and_commit`` each, in order. Then ``recover_and_abort``, in every run, also in one
       that goes on from nothing.
    2. At the first record behind a barrier ``begin_transaction``, then ``invoke_batch`` in any
       number. At the next barrier ``pre_commit``: the handle becomes part of the checkpoint.
       Without records there is no transaction.
    3. When a checkpoint is complete, ``commit`` of all that was pre-committed by its barrier and
       not yet committed, oldest first. A checkpoint that fails leaves its transaction
       pre-committed: it is committed with the next one that completes, never aborted.
    4. At the end of the input a last ``pre_commit`` and, after the final checkpoint, ``commit``.
       After a failure or a cancel, ``abort`` of the transaction that was not pre-committed.
    5. ``close``, always.

    A kill may come at any of these points. What was pre-committed must then still be there, for
    ``recover_and_commit`` in another process.
    """

    guarantee = Guarantee.EXACTLY_ONCE

    def open(self, ctx: SinkContext) -> None:
        """Acquire what the sink needs. What earlier runs have staged must stay as it is."""

    @abstractmethod
    def begin_transaction(self, id: TransactionId) -> TXN:
        """Begin a transaction, and return what the sink knows it by until ``pre_commit``.

        Raises:
            FencedError: a newer run has begun (where the target can tell).
        """

    @abstractmethod
    def invoke(self, transaction: TXN, value: T) -> None:
        """Stage one record. Returning does not promise that it is durable."""

    def invoke_batch(self, transaction: TXN, values: Sequence[T]) -> None:
        """Stage records in order; the form the engine calls. By default, ``invoke`` of each."""
        invoke = self.invoke
        for value in values:
            invoke(transaction, value)

    @abstractmethod
    def pre_commit(self, transaction: TXN) -> Handle | None:
        """Make all of a transaction durable, still invisible.

        From here on nothing may be able to refuse it: ``commit`` is the promise that this call
        gives. An error fails the job; earlier transactions must not suffer from it.

        Returns:
            The handle; None if there is nothing to commit.
        """

    @abstractmethod
    def commit(self, handle: Handle) -> None:
        """Let a pre-committed transaction appear, whole and durably; again is without effect.

        Raises:
            RetryableError: not now; nothing is lost, and the call may be repeated.
            DataLossError: it is neither staged nor committed.
            FencedError: a newer run has begun (where the target can tell).
        """

    @abstractmethod
    def abort(self, transaction: TXN) -> None:
        """Remove a transaction that was not pre-committed; also after ``pre_commit`` failed."""

    def recover_and_commit(self, handle: Handle) -> None:
        """Commit a transaction of an earlier run, which may have done so already.

        By default, ``commit``. Nobody is told of what the earlier run knew but the handle.
        """
        self.commit(handle)

    @abstractmethod
    def recover_and_abort(self, before_epoch: int) -> None:
        """Remove what this sink's earlier runs have staged and nobody will commit any more.

        That is every transaction of this job and uid, of any subtask, with an epoch below
        ``before_epoch``, which is this run's own. Those of an equal or a greater epoch belong to
        somebody who may be alive.

        Raises:
            FencedError: a newer run has begun (where the target can tell).
        """

    def close(self) -> None:
        """Release what ``open`` acquired, also if that failed; what is staged stays."""


class StatefulSink(Sink[T]):
    """A ``Sink`` that shows one result, in ``finish``, and can go on with it after a kill.

    It is exact if nothing can be seen before ``finish``. At each barrier, and at the end of the
    input, ``snapshot_state`` is called after ``flush``; ``finish`` after the final checkpoint is
    complete. A run that goes on from a checkpoint calls ``restore_state``, before ``open``, with
    what the sink returned for that checkpoint; a run that begins anew does not, and ``open`` then
    drops what earlier runs have left.

    A kill may come between ``finish`` and the end of the run. So ``finish`` may be called, without
    a record before it, on a sink that was restored and whose result has already appeared.
    """

    guarantee = Guarantee.EXACTLY_ONCE

    @abstractmethod
    def snapshot_state(self) -> Any:
        """Return how far the result is; of the same types as a ``Handle``.

        From here on ``close`` must keep what the state names, whatever happened: a later run may
        go on from it.
        """

    @abstractmethod
    def restore_state(self, state: Any) -> None:
        """Go on from there: ``open`` is to take away what was written since.

        ``open`` raises ``DataLossError`` if what the state names is not there.
        """


AnySinkForm = AnySink | TwoPhaseCommitSink[Any, Any]


def as_sink_form(sink: Any) -> AnySinkForm:
    """Return ``sink`` as one of the class forms, the exact ones included; see ``as_sink``.

    Raises:
        ConfigError: it is none of the forms.
    """
    if isinstance(sink, TwoPhaseCommitSink | StatefulSink):
        check_methods(sink)
    return sink if isinstance(sink, TwoPhaseCommitSink) else as_sink(sink)


_INSTEAD = "a sink emits nothing, so take the yield out"
_STATEFUL = ("snapshot_state", "restore_state")
_TWO_PHASE = (
    "open", "begin_transaction", "invoke", "invoke_batch", "pre_commit", "commit", "abort",
    "recover_and_commit", "recover_and_abort", "close", "validate", "describe",
)  # fmt: skip


def check_methods(sink: TwoPhaseCommitSink[Any, Any] | StatefulSink[Any]) -> None:
    """Refuse a method that the engine would call in vain; of a ``StatefulSink``, its own two.

    Raises:
        ConfigError: with what to do.
    """
    check_guarantee(sink)
    two_phase = isinstance(sink, TwoPhaseCommitSink)
    form: type = TwoPhaseCommitSink if two_phase else StatefulSink
    for name in _TWO_PHASE if two_phase else _STATEFUL:
        if is_async(getattr(sink, name)):
            raise ConfigError(
                f"{type(sink).__name__}.{name} is 'async def', but nothing would await it: "
                f"{form.__name__}'s methods run on a thread of their own, and may block"
            )
        check_method(sink, form, name, _INSTEAD)
