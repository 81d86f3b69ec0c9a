"""What every sink of two-phase commit does, by the rows of the crash table (C0 to C16).

A restart is a new sink object on the same target. Kills are real elsewhere: see
``programs/kill_two_phase.py``. Rows that are the engine's alone (C3, C12) are modelled there.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from millstream.connectors import sqlite
from millstream.core.errors import ConfigError, RetryableError, SinkError
from millstream.core.sink import SinkContext
from millstream.core.two_phase import DataLossError, FencedError, TwoPhaseCommitSink
from tests.contract.two_phase_subjects import (
    END,
    JOB,
    OPERATIONS,
    Subject,
    UnsyncedConnection,
    batches,
    records,
    run,
    transaction,
)

Sink = TwoPhaseCommitSink[Any, Any]


class FaultPlan:
    """Fails operations on files, and statements of SQLite: the k-th, or all from it on.

    Args:
        monkeypatch: undoes it.
        fail_at: counted from 1; 0: none.
        lasting: all from that one on fail.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, fail_at: int, *, lasting: bool = False
    ) -> None:
        self.done = 0
        self._fail_at = fail_at
        self._lasting = lasting
        self._on = False
        for name in OPERATIONS:
            monkeypatch.setattr(os, name, self._counted(name, getattr(os, name)))
        monkeypatch.setattr(
            sqlite3, "connect", partial(sqlite3.connect, factory=partial(_Connection, self._step))
        )
        monkeypatch.setattr(os, "fdopen", self._fdopen(os.fdopen))

    @contextmanager
    def on(self) -> Iterator[None]:
        self._on = True
        try:
            yield
        finally:
            self._on = False

    def _counted(self, name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self._step(OSError(errno.ENOSPC, "No space left on device"))
            return None if name == "fsync" else operation(*arguments, **options)

        return counted

    def _fdopen(self, fdopen: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments, **options: _File(fdopen(*arguments, **options), self._step)

    def _step(self, error: Exception) -> None:
        if self._on:
            self.done += 1
            if self.done == self._fail_at or (self._lasting and 0 < self._fail_at < self.done):
                raise error


class _Connection(UnsyncedConnection):
    def __init__(self, step: Callable[[Exception], None], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._step = step

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        if arguments[0] != "ROLLBACK":
            self._step(sqlite3.OperationalError("disk I/O error"))
        return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self._step(sqlite3.OperationalError("database or disk is full"))
        return super().executemany(*arguments)


class _File:
    """A file whose writes can fail."""

    def __init__(self, file: Any, step: Callable[[Exception], None]) -> None:
        self._file = file
        self._step = step

    def flush(self) -> None:
        self._step(OSError(errno.ENOSPC, "No space left on device"))
        self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class TwoPhaseContract:
    """The suite; a subclass gives the subject as a fixture."""

    @pytest.fixture(autouse=True)
    def _stand(
        self, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[None]:
        monkeypatch.setattr(sqlite, "STAGE_BYTES", 100)  # rows are staged before the barrier, too
        self.subject = subject
        self.folder = tmp_path
        self._opened: list[Sink] = []
        yield
        for sink in self._opened:
            sink.close()

    def start(self, epoch: int, *handles: Any, uid: str = "out") -> Sink:
        """Return the sink of a new run, after recovery; as a handle comes out of a checkpoint."""
        sink = self.opened(uid)
        for handle in handles:
            sink.recover_and_commit(json.loads(json.dumps(handle)))
        sink.recover_and_abort(epoch)
        return sink

    def opened(self, uid: str = "out") -> Sink:
        sink = self.subject.sink(self.folder)
        assert isinstance(sink, TwoPhaseCommitSink)
        sink.validate()
        sink.open(SinkContext(JOB, uid))
        self._opened.append(sink)
        return sink

    def write(self, sink: Sink, begin: int, end: int, epoch: int, checkpoint: int) -> Any:
        """Write records in a transaction, not pre-committed."""
        current = sink.begin_transaction(transaction(epoch, checkpoint))
        for batch in batches(begin, end):
            sink.invoke_batch(current, batch)
        return current

    def stage(self, sink: Sink, begin: int, end: int, epoch: int, checkpoint: int) -> Any:
        """Write records in a transaction, pre-commit it, and return its handle."""
        handle = sink.pre_commit(self.write(sink, begin, end, epoch, checkpoint))
        assert handle is not None
        return json.loads(json.dumps(handle))

    def check(self, end: int, begin: int = 0) -> None:
        """Check that readers see the records from ``begin`` to ``end``, and nothing is staged."""
        assert self.subject.visible(self.folder) == self.subject.expected(end, begin)
        assert self.subject.staged(self.folder) == []

    # -- the table ------------------------------------------------------------------------------

    def test_c0_records_before_the_barrier_are_invisible_and_removed(self) -> None:
        self.write(self.start(1), 0, 9, 1, 1)
        assert self.subject.visible(self.folder) == []
        assert self.subject.staged(self.folder) != []
        self.start(2)
        self.check(0)

    def test_c2_what_no_checkpoint_names_is_removed_though_it_was_pre_committed(self) -> None:
        self.stage(self.start(1), 0, 9, 1, 1)
        assert self.subject.visible(self.folder) == []
        self.start(2)
        self.check(0)

    def test_c4_what_a_checkpoint_names_is_committed_by_the_next_run(self) -> None:
        handle = self.stage(self.start(1), 0, 9, 1, 1)
        self.start(2, handle)
        self.check(9)

    def test_c5_a_commit_that_is_repeated_does_nothing(self) -> None:
        sink = self.start(1)
        handle = self.stage(sink, 0, 9, 1, 1)
        sink.commit(handle)
        sink.commit(handle)
        self.check(9)
        self.start(2, handle, handle)
        self.check(9)

    def test_c6_of_two_sinks_in_one_target_each_recovers_its_own(self) -> None:
        one, other = self.start(1), self.start(1, uid="other")
        handle = self.stage(one, 0, 5, 1, 1)
        left = self.stage_as("other", other, 5, 9)
        one.commit(handle)
        self.start(2, handle)  # it must not take the other's for its own rest
        assert len(self.subject.staged(self.folder)) > 0
        self.start(2, left, uid="other")
        assert sorted(self.subject.visible(self.folder)) == sorted(self.subject.expected(9))
        assert self.subject.staged(self.folder) == []

    def stage_as(self, uid: str, sink: Sink, begin: int, end: int) -> Any:
        current = sink.begin_transaction(transaction(1, 1, uid))
        sink.invoke_batch(current, records(begin, end))
        return sink.pre_commit(current)

    def test_c7_a_commit_that_fails_at_any_step_can_be_repeated(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = self.fail_at_each_step(monkeypatch, self.repeated_commit)
        assert steps >= 4

    def repeated_commit(self, plan: FaultPlan) -> None:
        sink = self.start(1)
        handles = [self.stage(sink, 0, 9, 1, 1), self.stage(sink, 9, 13, 1, 2)]
        with plan.on():
            try:
                for handle in handles:
                    sink.commit(handle)
            except SinkError:
                pass
        for handle in handles:
            sink.commit(handle)
        self.check(13)

    def test_c8_what_is_neither_staged_nor_committed_is_a_named_loss(self) -> None:
        sink = self.start(1)
        sink.commit(self.stage(sink, 0, 5, 1, 1))
        handle = self.stage(sink, 5, 9, 1, 2)
        self.subject.lose_staged(self.folder)
        with pytest.raises(
            DataLossError, match=r"which a checkpoint names|that a checkpoint names"
        ):
            sink.commit(handle)
        with pytest.raises(DataLossError):
            self.start(2, handle)
        self.check(5)

    def test_c9_two_epochs_are_committed_together_in_order(self) -> None:
        sink = self.start(1)
        handles = [self.stage(sink, 0, 9, 1, 1), self.stage(sink, 9, 14, 1, 2)]
        current = self.write(sink, 14, 20, 1, 3)
        for handle in handles:
            sink.commit(handle)
        assert self.subject.visible(self.folder) == self.subject.expected(14)
        handle = sink.pre_commit(current)
        sink.commit(handle)
        self.check(20)

    def test_c9_two_epochs_are_recovered_together_in_order(self) -> None:
        sink = self.start(1)
        handles = [self.stage(sink, 0, 9, 1, 1), self.stage(sink, 9, 14, 1, 2)]
        self.write(sink, 14, 20, 1, 3)
        self.start(2, *handles)
        self.check(14)

    def test_c10_what_was_committed_with_a_later_one_is_not_committed_again(self) -> None:
        sink = self.start(1)
        handles = [self.stage(sink, 0, 9, 1, 1), self.stage(sink, 9, 14, 1, 2)]
        for handle in (*handles, handles[0], handles[1], handles[0]):
            sink.commit(handle)
        self.check(14)

    def test_c10_order_decides_nothing_about_what_is_still_staged(self) -> None:
        sink = self.start(1)
        first, second = self.stage(sink, 0, 9, 1, 1), self.stage(sink, 9, 14, 1, 2)
        sink.commit(second)
        self.start(2, first, second)
        assert len(self.subject.visible(self.folder)) == len(self.subject.expected(14))
        assert self.subject.staged(self.folder) == []

    def test_c11_an_epoch_without_records_has_nothing_to_commit(self) -> None:
        sink = self.start(1)
        empty = sink.begin_transaction(transaction(1, 1))
        sink.invoke_batch(empty, [])
        assert sink.pre_commit(empty) is None
        self.check(0)
        sink.abort(sink.begin_transaction(transaction(1, 2)))
        sink.commit(self.stage(sink, 0, 5, 1, 3))
        self.check(5)

    def test_c13_what_the_new_owner_committed_the_old_one_cannot_repeat(self) -> None:
        zombie = self.start(1)
        handle = self.stage(zombie, 0, 9, 1, 1)
        self.start(2, handle)
        with suppress(FencedError):
            zombie.commit(handle)
        self.check(9)

    def test_c13_what_the_new_owner_removed_the_old_one_cannot_commit(self) -> None:
        zombie = self.start(1)
        handle = self.stage(zombie, 0, 9, 1, 1)
        new = self.start(2)
        with pytest.raises((FencedError, DataLossError)):
            zombie.commit(handle)
        new.commit(self.stage(new, 0, 9, 2, 1))
        self.check(9)

    def test_c13_what_the_old_owner_still_stages_is_refused_or_removed_by_the_next(self) -> None:
        zombie = self.start(1)
        new = self.start(2)
        with_handle = self.stage(new, 0, 9, 2, 1)
        with suppress(FencedError):
            self.stage(zombie, 0, 9, 1, 1)
        new.commit(with_handle)
        self.start(3, with_handle)
        self.check(9)

    def test_c14_an_older_savepoint_names_what_was_committed_long_ago(self) -> None:
        first = self.start(1)
        handles = [self.stage(first, 0, 5, 1, 1), self.stage(first, 5, 9, 1, 2)]
        for handle in handles:
            first.commit(handle)
        second = self.start(2, handles[1])
        second.commit(self.stage(second, 9, 14, 2, 3))
        self.start(3, handles[0])
        self.check(14)

    def test_c14_recovery_leaves_equal_and_greater_epochs_alone(self) -> None:
        handle = self.stage(self.opened(), 0, 9, 5, 1)
        sink = self.opened()
        sink.recover_and_abort(4)
        sink.recover_and_abort(5)
        assert self.subject.staged(self.folder) != []
        sink.commit(handle)
        self.check(9)

    def test_c15_a_pre_commit_that_fails_harms_no_earlier_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = self.fail_at_each_step(monkeypatch, self.failing_pre_commit)
        assert steps >= 2

    def failing_pre_commit(self, plan: FaultPlan) -> None:
        sink = self.start(1)
        handle = self.stage(sink, 0, 5, 1, 1)
        current = self.write(sink, 5, 10, 1, 2)
        failed = False
        with plan.on():
            try:
                sink.pre_commit(current)
            except SinkError:
                failed = True
                with suppress(SinkError):  # the disk is still full; the next run removes it
                    sink.abort(current)
        sink.close()
        if failed or plan.done:
            sink = self.start(2, handle)
            self.check(5)
            sink.commit(self.stage(sink, 5, 10, 2, 2))
            self.check(10)

    def test_c16_a_checkpoint_restored_twice_gives_names_of_its_own_to_each_run(self) -> None:
        handle = self.stage(self.start(1), 0, 5, 1, 1)
        fork = self.start(2, handle)
        staged = self.stage(fork, 5, 9, 2, 2)
        second = self.start(3, handle)
        again = self.stage(second, 5, 9, 3, 2)
        with pytest.raises((FencedError, DataLossError)):
            fork.commit(staged)
        second.commit(again)
        self.check(9)

    # -- beside the table -----------------------------------------------------------------------

    def test_an_abort_removes_the_transaction_and_no_other(self) -> None:
        sink = self.start(1)
        handle = self.stage(sink, 0, 5, 1, 1)
        sink.abort(self.write(sink, 5, 14, 1, 2))
        sink.commit(handle)
        self.check(5)

    def test_an_epoch_number_that_comes_again_is_refused_and_nothing_is_lost(self) -> None:
        first = self.start(1)
        first.commit(self.stage(first, 0, 5, 1, 1))
        left = self.stage(first, 5, 9, 1, 2)
        with pytest.raises(SinkError, match="the job's own folder was removed"):
            self.stage(self.start(1), 100, 109, 1, 2)
        first.commit(left)
        self.check(9)
        first.commit(self.stage(first, 9, 14, 1, 3))
        with pytest.raises(SinkError, match="the job's own folder was removed"):
            self.stage(self.start(1), 100, 109, 1, 3)  # though nothing of it is staged any more
        self.check(14)

    def test_one_record_at_a_time_is_the_same(self) -> None:
        sink = self.start(1)
        current = sink.begin_transaction(transaction(1, 1))
        for each in records(0, 7):
            sink.invoke(current, each)
        sink.commit(sink.pre_commit(current))
        self.check(7)

    def test_closing_is_always_possible_and_removes_nothing(self) -> None:
        sink = self.subject.sink(self.folder)
        sink.close()
        sink = self.start(1)
        handle = self.stage(sink, 0, 5, 1, 1)
        self.write(sink, 5, 9, 1, 2)
        sink.close()
        sink.close()
        self.start(2, handle)
        self.check(5)

    @pytest.mark.parametrize("lasting", [False, True])
    def test_a_job_whose_disk_fails_at_any_step_ends_right_after_a_restart(
        self, monkeypatch: pytest.MonkeyPatch, *, lasting: bool
    ) -> None:
        steps = self.fail_at_each_step(monkeypatch, self.whole_job, lasting=lasting)
        assert steps >= 20

    def whole_job(self, plan: FaultPlan) -> None:
        run_twice(self.subject, self.folder, plan)

    def fail_at_each_step(
        self,
        monkeypatch: pytest.MonkeyPatch,
        scenario: Callable[[FaultPlan], None],
        *,
        lasting: bool = False,
    ) -> int:
        """Run a scenario for each step that can fail, in a folder of its own; return how many."""
        top = self.folder
        for k in itertools.count(1):
            self.folder = top / str(k)
            self.folder.mkdir()
            with monkeypatch.context() as patch:
                plan = FaultPlan(patch, k, lasting=lasting)
                scenario(plan)
            if plan.done < k:
                return k - 1
        raise AssertionError


def run_twice(subject: Subject, folder: Path, plan: FaultPlan) -> None:
    """Run a job that fails, and then to its end; check that the result is what it should be."""
    with plan.on():
        try:
            run(subject, folder)
        except (SinkError, RetryableError, ConfigError):  # the last one: from ``validate``
            assert plan.done > 0
    run(subject, folder)
    assert subject.visible(folder) == subject.expected(END)
    assert subject.staged(folder) == []
