"""Runs a two-phase sink: which transaction is open, which are pre-committed, which may appear."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any  # a transaction and its handle are of the sink's own types

from millstream.core.element import Barrier, Chunk, Control
from millstream.core.errors import RetryableError, SinkError
from millstream.core.log import warning
from millstream.core.ports import NO_FAULTS
from millstream.core.sink import SinkContext
from millstream.core.two_phase import Handle, TransactionId, TwoPhaseCommitSink
from millstream.core.wording import said
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.own_copy import own_copy
from millstream.engine.sink_driver import Commit, SinkDriver, SinkPart

_ATTEMPTS = 10  # of a commit that fails for now: together about a minute
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 15.0


class TwoPhaseDriver(SinkDriver):
    """Runs a ``TwoPhaseCommitSink`` on a thread of its own.

    A transaction is begun with the first record behind a barrier, and ends at the next one. What
    is pre-committed stays pending until a checkpoint that names it is complete; a failed one only
    makes it wait for the next.

    Attributes:
        epoch: of the run's lease.
        next_checkpoint: the one that the records in hand belong to.
        faults: where a test makes the run fail.
        on_opened: told in the engine thread when the earlier runs' transactions are dealt with.
    """

    def __init__(
        self, sink: TwoPhaseCommitSink[Any, Any], ctx: SinkContext, dispatcher: Dispatcher
    ) -> None:
        super().__init__(sink, ctx, dispatcher)  # type: ignore[arg-type]  # no Sink: see below
        self.epoch = 0
        self.next_checkpoint = 1
        self.faults = NO_FAULTS
        self.on_opened: Callable[[str], None]
        self._two_phase = sink
        self._transaction: Any = None
        self._begun = False
        self._pending: list[tuple[int, Handle]] = []  # by the checkpoint that ends it
        self._woken = threading.Event()

    def commit(self, checkpoint_id: int) -> None:
        """Have all appear that is pre-committed up to a checkpoint. From the engine thread."""
        self._items.put(Commit(checkpoint_id))

    def cancel(self) -> None:
        """Make the thread end soon, without committing. From the engine thread."""
        super().cancel()
        self._woken.set()

    def _open(self) -> None:
        sink, reach = self._two_phase, self.faults.reach
        reach("open")
        self._timed(sink.open, self._ctx)
        for handle in self._restored.get("handles", ()):
            reach("recover_and_commit")
            if not self._persist(sink.recover_and_commit, handle):
                return
            reach("recover_committed")
        reach("recover_and_abort")
        self._timed(sink.recover_and_abort, self.epoch)
        reach("recovered")
        self._dispatcher.post(self.on_opened, self.uid)

    def _invoke(self, chunk: Chunk) -> None:
        sink, records = self._two_phase, len(chunk.values)
        begun_ns = self._dispatcher.clock.monotonic_ns()
        if not self._begun:
            self.faults.reach("begin_transaction")
            name = TransactionId(self._ctx.job, self.uid, 0, self.epoch, self.next_checkpoint)
            self._transaction = self._timed(sink.begin_transaction, name)
            self._begun = True
        self.busy_since_ns = begun_ns
        try:
            sink.invoke_batch(self._transaction, chunk.values)
        except BaseException as error:  # also of a sink that says sys.exit()
            raise SinkError(
                f"sink {self.uid!r} failed on {records} records from {chunk.start}: {said(error)}",
                operator_uid=self.uid,
            ) from error
        self.busy_since_ns = 0
        self.faults.reach("staged")
        self.taken += records
        elapsed_ns = self._dispatcher.clock.monotonic_ns() - begun_ns
        self._dispatcher.post(self.edge.on_taken, (records, elapsed_ns))

    def _flush(self, element: Control) -> SinkPart:
        self.faults.reach("pre_commit")
        if self._begun:
            handle = self._timed(self._two_phase.pre_commit, self._transaction)
            self._begun, self._transaction = False, None
            if handle is not None:
                if self.checkpointed:
                    handle = own_copy(handle, f"a handle of sink {self.uid!r}")
                self._pending.append((self.next_checkpoint, handle))
        self.faults.reach("pre_committed")
        if isinstance(element, Barrier):
            self.next_checkpoint = element.checkpoint_id + 1
        return {"handles": [handle for _, handle in self._pending]}

    def _commit(self, checkpoint_id: int) -> None:
        while self._pending and self._pending[0][0] <= checkpoint_id:
            self.faults.reach("commit")
            if not self._persist(self._two_phase.commit, self._pending[0][1]):
                return
            self.faults.reach("committed")
            self._pending.pop(0)

    def _persist(self, call: Callable[[Handle], None], handle: Handle) -> bool:
        """Commit, again and again while the sink says that it may succeed later.

        Returns:
            False if the run was ended in between; the next one will commit.
        """
        pause_s = _FIRST_PAUSE_S
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._timed(call, handle)
            except SinkError as error:
                if not isinstance(error.__cause__, RetryableError) or attempt == _ATTEMPTS:
                    raise
                warning("commit.failed", operator_uid=self.uid, attempt=attempt, error=said(error))
            else:
                break
            if self._woken.wait(pause_s):
                return False
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return True

    def _finish(self) -> None:
        """Do nothing: the last commit came before."""

    def _close(self) -> None:
        try:
            if self._begun:
                self._begun = False
                self._timed(self._two_phase.abort, self._transaction)
        finally:
            super()._close()
