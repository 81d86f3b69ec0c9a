"""What the metadata store keeps on every database: leases, and checkpoints under them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from pathlib import Path

import pytest

from millstream.core.errors import ConfigError, InternalError
from millstream.core.job_graph import JobMode
from millstream.core.job_status import JobStatus
from millstream.storage.metadata.address import parse_address
from millstream.storage.metadata.database import Database
from millstream.storage.metadata.errors import (
    LeaseHeldError,
    LeaseLostError,
    MetadataConflictError,
)
from millstream.storage.metadata.leases import fence
from millstream.storage.metadata.records import (
    CheckpointRecord,
    CheckpointResult,
    CheckpointStatus,
    ExecutionRecord,
    JobRecord,
    Lease,
    NewCheckpoint,
)
from millstream.storage.metadata.store import MetadataStore
from tests.unit.storage.metadata.metadata_contract import (
    ORDERS,
    THREADS,
    Suite,
    at_once,
    is_now,
)

EXPIRED = 0.0  # seconds: a lease that is over as soon as it is given
RESULT = CheckpointResult(
    storage_path="file:///checkpoints/chk-1",
    storage_size_bytes=4096,
    duration_ms=12,
    source_state={"in": {"offsets": {"0": 12345}}},
    operator_state={"n": {"entries": 3}},
    sink_state={"out": {"transaction_id": "txn-123"}},
)


class LeasesContract(Suite):
    def test_the_first_owner_gets_the_first_epoch(
        self, store: MetadataStore, job: JobRecord
    ) -> None:
        lease = store.leases.acquire(job.id, "first", duration_s=60)
        assert (lease.job_id, lease.owner, lease.epoch) == (job.id, "first", 1)
        assert is_now(lease.expires_at - timedelta(seconds=60))
        assert lease.last_checkpoint_id == 0

    @pytest.mark.parametrize("owner", ["first", "second"])
    def test_while_it_is_held_nobody_gets_it_and_is_told_who_has_it_until_when(
        self, store: MetadataStore, lease: Lease, owner: str
    ) -> None:
        until = f"{lease.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        with pytest.raises(LeaseHeldError, match=f"'orders' is run by first.* until {until}"):
            store.leases.acquire(lease.job_id, owner, duration_s=60)
        assert store.leases.renew(lease, duration_s=60).epoch == 1

    def test_one_that_has_expired_goes_to_the_next_owner_in_the_next_epoch(
        self, store: MetadataStore, job: JobRecord
    ) -> None:
        store.leases.acquire(job.id, "first", duration_s=EXPIRED)
        second = store.leases.acquire(job.id, "second", duration_s=60)
        assert (second.owner, second.epoch) == ("second", 2)

    def test_one_that_was_released_goes_to_the_next_owner_in_the_next_epoch(
        self, store: MetadataStore, lease: Lease
    ) -> None:
        assert store.leases.release(lease)
        assert not store.leases.release(lease)
        assert store.leases.acquire(lease.job_id, "first", duration_s=60).epoch == 2
        assert not store.leases.release(lease)

    def test_the_epoch_is_greater_than_one_of_another_database(
        self, store: MetadataStore, job: JobRecord
    ) -> None:
        def acquired(above_epoch: int) -> int:
            lease = store.leases.acquire(
                job.id, "owner", duration_s=EXPIRED, above_epoch=above_epoch
            )
            return lease.epoch

        assert [acquired(above) for above in (0, 1, 7, 7, 3)] == [1, 2, 8, 9, 10]

    def test_renewing_prolongs_it(self, store: MetadataStore, lease: Lease) -> None:
        renewed = store.leases.renew(lease, duration_s=3600)
        assert (renewed.owner, renewed.epoch) == (lease.owner, lease.epoch)
        assert renewed.expires_at >= lease.expires_at + timedelta(minutes=58)

    def test_one_that_has_expired_is_renewed_if_nobody_has_taken_it(
        self, store: MetadataStore, job: JobRecord
    ) -> None:
        lease = store.leases.acquire(job.id, "first", duration_s=EXPIRED)
        store.leases.renew(lease, duration_s=60)
        with pytest.raises(LeaseHeldError):
            store.leases.acquire(job.id, "second", duration_s=60)

    def test_the_older_owner_cannot_renew(self, store: MetadataStore, job: JobRecord) -> None:
        first = store.leases.acquire(job.id, "owner", duration_s=EXPIRED)
        second = store.leases.acquire(job.id, "owner", duration_s=60)
        with pytest.raises(LeaseLostError, match=r"of epoch 1, .* held by owner in epoch 2"):
            store.leases.renew(first, duration_s=60)
        store.leases.release(second)
        with pytest.raises(LeaseLostError, match="the job is free in epoch 2"):
            store.leases.renew(first, duration_s=60)

    def test_of_several_who_ask_at_once_exactly_one_gets_it(
        self, store: MetadataStore, job: JobRecord
    ) -> None:
        for epoch in (1, 2, 3):
            results = at_once(
                lambda number: store.leases.acquire(job.id, f"owner-{number}", duration_s=60)
            )
            leases = [each for each in results if isinstance(each, Lease)]
            assert [lease.epoch for lease in leases] == [epoch]
            refused = [each for each in results if isinstance(each, LeaseHeldError)]
            assert len(refused) == THREADS - 1
            assert all(f"run by {leases[0].owner}," in str(each) for each in refused)
            store.leases.release(leases[0])

    def test_an_unknown_job_and_an_owner_that_does_not_fit_are_refused(
        self, store: MetadataStore, job: JobRecord
    ) -> None:
        with pytest.raises(MetadataConflictError, match="no job 999"):
            store.leases.acquire(999, "first", duration_s=60)
        with pytest.raises(ConfigError, match=r"owner .* 200 characters, got 201"):
            store.leases.acquire(job.id, "x" * 201, duration_s=60)

    def test_a_job_cannot_be_taken_while_its_holder_writes(
        self, store: MetadataStore, job: JobRecord, target: str | Path
    ) -> None:
        lease = store.leases.acquire(job.id, "first", duration_s=EXPIRED)
        database = Database(parse_address(target), timeout_s=10)
        with ThreadPoolExecutor(1) as threads:
            with database.write() as connection:
                fence(connection, lease)
                second = threads.submit(store.leases.acquire, job.id, "second", duration_s=60)
                assert wait([second], timeout=0.2).not_done
            assert second.result().epoch == 2
        database.close()


class CheckpointsContract(Suite):
    @pytest.fixture
    def begun(self, store: MetadataStore, execution: ExecutionRecord, lease: Lease) -> int:
        store.checkpoints.begin(lease, new(execution, 1))
        return 1

    def test_one_that_was_begun_does_not_exist_for_a_recovery(
        self, store: MetadataStore, job: JobRecord, begun: int
    ) -> None:
        found = store.checkpoints.get(job.id, begun)
        assert found
        assert (found.status, found.type) == (CheckpointStatus.IN_PROGRESS, JobMode.BATCH_ROLLER)
        assert (found.epoch, found.savepoint, found.state_data) == (1, False, {})
        assert is_now(found.create_time)
        assert found.complete_time is None
        assert store.checkpoints.newest(job.id) is None

    def test_one_that_was_completed_is_the_newest_with_all_that_was_said_of_it(
        self, store: MetadataStore, job: JobRecord, lease: Lease, begun: int
    ) -> None:
        store.checkpoints.complete(lease, begun, RESULT)
        found = store.checkpoints.newest(job.id)
        assert found
        assert found.status is CheckpointStatus.SUCCESS
        assert found.storage_path == RESULT.storage_path
        assert (found.storage_size_bytes, found.duration_ms) == (4096, 12)
        assert is_now(found.complete_time)
        assert found.complete_time
        timestamp = found.complete_time.replace(tzinfo=None).isoformat(timespec="milliseconds")
        assert found.state_data == {
            "checkpoint_id": 1,
            "timestamp": timestamp,
            "source_state": RESULT.source_state,
            "operator_state": RESULT.operator_state,
            "sink_state": RESULT.sink_state,
        }

    def test_completing_it_again_after_a_lost_answer_is_the_same(
        self, store: MetadataStore, job: JobRecord, lease: Lease, begun: int
    ) -> None:
        store.checkpoints.complete(lease, begun, RESULT)
        first = store.checkpoints.newest(job.id)
        store.checkpoints.complete(lease, begun, RESULT)
        assert store.checkpoints.newest(job.id) == first
        elsewhere = dataclasses.replace(RESULT, storage_path="elsewhere")
        with pytest.raises(MetadataConflictError, match="checkpoint 1 is not in progress: it is S"):
            store.checkpoints.complete(lease, begun, elsewhere)

    def test_one_that_failed_says_why_and_cannot_be_completed(
        self, store: MetadataStore, job: JobRecord, lease: Lease, begun: int
    ) -> None:
        store.checkpoints.fail(lease, begun, "timed out\x00")
        found = store.checkpoints.get(job.id, begun)
        assert found
        assert (found.status, found.error_message) == (CheckpointStatus.FAILED, r"timed out\x00")
        for call in (complete, fail):
            with pytest.raises(MetadataConflictError, match=r"is FAILED \(timed out"):
                call(store, lease)

    @pytest.mark.usefixtures("execution")
    @pytest.mark.parametrize("end", ["complete", "fail", "abandon"])
    def test_while_one_is_in_progress_its_running_execution_is_shown_as_checkpointing(
        self, end: str, store: MetadataStore, execution: ExecutionRecord, lease: Lease
    ) -> None:
        def status() -> JobStatus:
            found = store.executions.get(execution.execution_id)
            assert found
            return found.status

        store.executions.move(
            execution.execution_id, JobStatus.CREATED, JobStatus.RUNNING, reason="go"
        )
        store.checkpoints.begin(lease, new(execution, 1))
        assert status() is JobStatus.CHECKPOINTING
        if end == "complete":
            store.checkpoints.complete(lease, 1, RESULT)
        elif end == "fail":
            store.checkpoints.fail(lease, 1, "too late")
        else:
            store.checkpoints.abandon(lease, "its process is gone")
        assert status() is JobStatus.RUNNING
        store.checkpoints.begin(lease, new(execution, 2))
        store.executions.move(
            execution.execution_id, JobStatus.RUNNING, JobStatus.FAILED, reason="in the middle"
        )
        moves = [each.to_status for each in store.executions.history(execution.execution_id)]
        assert moves == [JobStatus.CREATED, JobStatus.RUNNING, JobStatus.FAILED]

    def test_the_savepoint_of_a_stop_is_told_from_others(
        self, store: MetadataStore, execution: ExecutionRecord, lease: Lease
    ) -> None:
        for number, stop in ((1, False), (2, True)):
            store.checkpoints.begin(lease, new(execution, number, savepoint=True))
            store.checkpoints.complete(lease, number, dataclasses.replace(RESULT, stop=stop))
        found = store.checkpoints.of_job(lease.job_id)
        assert [(each.checkpoint_id, each.stop) for each in found] == [(2, True), (1, False)]

    def test_one_that_was_never_begun_can_be_neither_completed_nor_failed(
        self, store: MetadataStore, lease: Lease
    ) -> None:
        for call in (complete, fail):
            with pytest.raises(MetadataConflictError, match=r"checkpoint 1 .* never begun"):
                call(store, lease)

    def test_a_path_that_is_too_long_is_refused_and_changes_nothing(
        self, store: MetadataStore, job: JobRecord, lease: Lease, begun: int
    ) -> None:
        with pytest.raises(ConfigError, match=r"storage_path .* 500 characters, got 501"):
            store.checkpoints.complete(
                lease, begun, dataclasses.replace(RESULT, storage_path="x" * 501)
            )
        found = store.checkpoints.get(job.id, begun)
        assert found
        assert found.status is CheckpointStatus.IN_PROGRESS

    @pytest.mark.parametrize("checkpoint_id", [6, 7])
    def test_ids_grow_per_job_whichever_execution_it_is(
        self, store: MetadataStore, job: JobRecord, lease: Lease, checkpoint_id: int
    ) -> None:
        first = store.executions.create(job, "run-1", reason="first")
        second = store.executions.create(job, "run-2", reason="second")
        store.checkpoints.begin(lease, new(first, 7))
        with pytest.raises(InternalError, match=f"checkpoint {checkpoint_id} of .*'run-2'"):
            store.checkpoints.begin(lease, new(second, checkpoint_id))
        store.checkpoints.begin(lease, new(second, 8))
        assert ids(store.checkpoints.of_job(job.id)) == [8, 7]

    def test_the_last_id_is_known_to_the_next_owner_also_when_no_row_is_left(
        self, store: MetadataStore, lease: Lease, begun: int
    ) -> None:
        store.checkpoints.delete(lease, [begun])
        assert store.leases.renew(lease, duration_s=60).last_checkpoint_id == 1
        store.leases.release(lease)
        assert store.leases.acquire(lease.job_id, "next", duration_s=60).last_checkpoint_id == 1

    def test_a_begin_that_fails_leaves_nothing(self, store: MetadataStore, lease: Lease) -> None:
        with pytest.raises(MetadataConflictError):
            store.checkpoints.begin(lease, NewCheckpoint("unknown", 5, JobMode.STREAMING))
        assert store.leases.renew(lease, duration_s=60).last_checkpoint_id == 0

    def test_the_newest_is_of_the_job_and_savepoints_count_only_if_asked_for(
        self, store: MetadataStore, job: JobRecord, lease: Lease
    ) -> None:
        other = store.jobs.define(dataclasses.replace(ORDERS, name="other"))
        other_lease = store.leases.acquire(other.id, "first", duration_s=60)
        of_other = store.executions.create(other, "other-1", reason="another job")
        for number, execution_id in enumerate(["run-1", "run-2", "run-3"], 1):
            execution = store.executions.create(job, execution_id, reason="go")
            checkpoint = new(execution, number, savepoint=number == 2)
            store.checkpoints.begin(lease, checkpoint)
            if number < 3:
                store.checkpoints.complete(lease, number, RESULT)
        store.checkpoints.begin(other_lease, new(of_other, 9))
        store.checkpoints.complete(other_lease, 9, RESULT)

        newest, any_newest = (
            store.checkpoints.newest(job.id, savepoints=savepoints) for savepoints in (False, True)
        )
        assert newest
        assert (newest.checkpoint_id, newest.execution_id) == (1, "run-1")
        assert any_newest
        assert (any_newest.checkpoint_id, any_newest.savepoint) == (2, True)
        assert ids(store.checkpoints.of_job(job.id)) == [3, 2, 1]
        assert ids(store.checkpoints.of_job(job.id, status=CheckpointStatus.SUCCESS)) == [2, 1]
        assert ids(store.checkpoints.of_job(job.id, limit=1)) == [3]

    def test_the_next_owner_gives_up_what_a_crash_left_in_progress(
        self, store: MetadataStore, execution: ExecutionRecord, lease: Lease, begun: int
    ) -> None:
        store.checkpoints.complete(lease, begun, RESULT)
        store.checkpoints.begin(lease, new(execution, 2))
        store.leases.release(lease)
        second = store.leases.acquire(lease.job_id, "second", duration_s=60)
        assert store.checkpoints.abandon(second, "its process is gone") == 1
        assert store.checkpoints.abandon(second, "its process is gone") == 0
        statuses = [each.status for each in store.checkpoints.of_job(lease.job_id)]
        assert statuses == [CheckpointStatus.FAILED, CheckpointStatus.SUCCESS]

    def test_rows_are_removed_of_this_job_only(
        self, store: MetadataStore, job: JobRecord, lease: Lease, execution: ExecutionRecord
    ) -> None:
        other = store.jobs.define(dataclasses.replace(ORDERS, name="other"))
        other_lease = store.leases.acquire(other.id, "first", duration_s=60)
        of_other = store.executions.create(other, "other-1", reason="another job")
        for number in (1, 2, 3):
            store.checkpoints.begin(lease, new(execution, number))
            store.checkpoints.begin(other_lease, new(of_other, number))
        assert store.checkpoints.delete(lease, [1, 3, 99]) == 2
        assert ids(store.checkpoints.of_job(job.id)) == [2]
        assert ids(store.checkpoints.of_job(other.id)) == [3, 2, 1]

    @pytest.mark.parametrize(
        "write",
        [
            lambda store, lease: store.checkpoints.complete(lease, 1, RESULT),
            lambda store, lease: store.checkpoints.fail(lease, 1, "stale"),
            lambda store, lease: store.checkpoints.abandon(lease, "stale"),
            lambda store, lease: store.checkpoints.delete(lease, [1]),
            lambda store, lease: store.checkpoints.begin(
                lease, NewCheckpoint("run-1", 2, JobMode.STREAMING)
            ),
        ],
        ids=["complete", "fail", "abandon", "delete", "begin"],
    )
    @pytest.mark.parametrize("taken", ["taken", "released"])
    def test_an_owner_that_has_lost_the_lease_writes_nothing(
        self,
        store: MetadataStore,
        lease: Lease,
        begun: int,
        write: Callable[[MetadataStore, Lease], None],
        taken: str,
    ) -> None:
        before = store.checkpoints.of_job(lease.job_id)
        store.leases.release(lease)
        if taken == "taken":
            store.leases.acquire(lease.job_id, "first", duration_s=60)  # by the same name even
        with pytest.raises(LeaseLostError, match="first no longer holds job 'orders'"):
            write(store, lease)
        assert store.checkpoints.of_job(lease.job_id) == before
        assert [each.checkpoint_id for each in before] == [begun]

    def test_one_that_has_expired_and_that_nobody_has_taken_still_completes(
        self, store: MetadataStore, lease: Lease, begun: int
    ) -> None:
        expired = store.leases.renew(lease, duration_s=EXPIRED)
        store.checkpoints.complete(expired, begun, RESULT)
        assert store.checkpoints.newest(lease.job_id)


def new(
    execution: ExecutionRecord, checkpoint_id: int, *, savepoint: bool = False
) -> NewCheckpoint:
    return NewCheckpoint(
        execution.execution_id, checkpoint_id, JobMode.BATCH_ROLLER, savepoint=savepoint
    )


def complete(store: MetadataStore, lease: Lease) -> None:
    store.checkpoints.complete(lease, 1, RESULT)


def fail(store: MetadataStore, lease: Lease) -> None:
    store.checkpoints.fail(lease, 1, "too late")


def ids(checkpoints: list[CheckpointRecord]) -> list[int]:
    return [checkpoint.checkpoint_id for checkpoint in checkpoints]
