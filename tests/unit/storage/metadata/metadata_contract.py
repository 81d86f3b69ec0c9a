"""What the metadata store keeps on every database: jobs and executions.

Whoever derives from a suite gives the fixture ``target``: an empty database.
"""

from __future__ import annotations

import dataclasses
import logging
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import pytest

from millstream.core.errors import ConfigError
from millstream.core.job_graph import JobMode
from millstream.core.job_status import JobStatus
from millstream.storage.metadata.errors import MetadataConflictError
from millstream.storage.metadata.records import (
    ExecutionRecord,
    JobDefinition,
    JobRecord,
    Lease,
    RecordCounts,
)
from millstream.storage.metadata.store import MetadataStore, open_metadata

THREADS = 8
T = TypeVar("T")

ORDERS = JobDefinition(
    name="orders",
    type=JobMode.BATCH_ROLLER,
    dag_definition={"source": {"type": "kafka", "config": {"topic": "événements"}}, "sink": {}},
    fingerprint="structure",
    state_fingerprint="state",
    code_fingerprint="code",
    description="what is bought",
    parallelism=2,
    max_retry_times=5,
)


class Suite:
    """A store, and a job with an execution in it."""

    @pytest.fixture
    def store(self, target: str | Path) -> Iterator[MetadataStore]:
        with open_metadata(target) as store:
            yield store

    @pytest.fixture
    def job(self, store: MetadataStore) -> JobRecord:
        return store.jobs.define(ORDERS)

    @pytest.fixture
    def execution(self, store: MetadataStore, job: JobRecord) -> ExecutionRecord:
        return store.executions.create(job, "run-1", reason="the first")

    @pytest.fixture
    def lease(self, store: MetadataStore, job: JobRecord) -> Lease:
        return store.leases.acquire(job.id, "first", duration_s=60)


def at_once(call: Callable[[int], T]) -> list[T | Exception]:
    """Return what a call gives or raises in each of several threads that begin together."""
    barrier = Barrier(THREADS)

    def attempt(number: int) -> T | Exception:
        barrier.wait()
        try:
            return call(number)
        except Exception as error:  # noqa: BLE001  # the test looks at them
            return error

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(attempt, range(THREADS)))


def is_now(instant: datetime | None) -> bool:
    return instant is not None and abs(datetime.now(UTC) - instant) < timedelta(minutes=1)


class JobsContract(Suite):
    def test_a_job_is_found_by_its_name_with_all_that_was_said_of_it(
        self, store: MetadataStore
    ) -> None:
        defined = store.jobs.define(ORDERS)
        assert store.jobs.get("orders") == defined
        assert defined.definition == ORDERS
        assert (defined.version, defined.enabled) == (1, True)
        assert is_now(defined.create_time)
        assert defined.update_time == defined.create_time

    def test_a_job_that_was_never_defined_is_not_found(self, store: MetadataStore) -> None:
        assert store.jobs.get("orders") is None

    def test_the_same_definition_again_changes_nothing(self, store: MetadataStore) -> None:
        first = store.jobs.define(ORDERS)
        assert store.jobs.define(ORDERS) == first

    @pytest.mark.parametrize(
        "change",
        [
            {"dag_definition": {}},
            {"code_fingerprint": "other"},
            {"description": None},
            {"max_retry_times": 0},
            {"type": JobMode.STREAMING},
        ],
        ids=str,
    )
    def test_a_changed_definition_gets_the_next_version(
        self, store: MetadataStore, job: JobRecord, change: dict[str, object]
    ) -> None:
        changed = dataclasses.replace(ORDERS, **change)  # type: ignore[arg-type]  # by case
        again = store.jobs.define(changed)
        assert (again.id, again.version, again.definition) == (job.id, 2, changed)
        assert again.update_time >= job.update_time
        assert store.jobs.get("orders") == again

    def test_of_several_who_define_a_new_job_at_once_all_get_the_same_one(
        self, store: MetadataStore
    ) -> None:
        found = at_once(lambda _: store.jobs.define(ORDERS))
        assert found == [store.jobs.get("orders")] * THREADS

    def test_a_name_that_is_too_long_is_refused_with_the_limit(self, store: MetadataStore) -> None:
        with pytest.raises(ConfigError, match=r"job_name .* 200 characters, got 201: 'xxx"):
            store.jobs.define(dataclasses.replace(ORDERS, name="x" * 201))
        assert store.jobs.define(dataclasses.replace(ORDERS, name="é" * 200)).version == 1

    def test_values_that_a_database_cannot_keep_are_written_out(self, store: MetadataStore) -> None:
        odd = {"nul": "a\x00b", "surrogate\udc80": ["\udcff"], "nan": float("nan"), "pair": (1, 2)}
        definition = dataclasses.replace(ORDERS, dag_definition=odd, description="\x00")
        kept = store.jobs.define(definition)
        assert kept.definition.description == r"\x00"
        assert kept.definition.dag_definition == {
            "nul": r"a\x00b",
            r"surrogate\udc80": [r"\udcff"],
            "nan": "nan",
            "pair": [1, 2],
        }
        assert store.jobs.define(definition) == kept

    def test_nothing_of_a_job_and_no_password_is_logged(
        self, target: str | Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with open_metadata(target) as store:
            store.jobs.define(dataclasses.replace(ORDERS, dag_definition={"password": "canary"}))
            with pytest.raises(MetadataConflictError) as raised:
                store.leases.acquire(999, "first", duration_s=60)
        shown = caplog.text + "".join(traceback.format_exception(raised.value))
        assert "canary" not in shown
        assert "w%rd" not in shown  # of the test server's password


class ExecutionsContract(Suite):
    def test_an_execution_begins_created(self, store: MetadataStore, job: JobRecord) -> None:
        execution = store.executions.create(job, "run-1", reason="by hand")
        assert store.executions.get("run-1") == execution
        assert (execution.job_id, execution.job_name) == (job.id, "orders")
        assert execution.status is JobStatus.CREATED
        assert is_now(execution.start_time)
        assert execution.end_time is None
        assert (execution.processed_records, execution.failed_records) == (0, 0)
        [change] = store.executions.history("run-1")
        assert (change.from_status, change.to_status) == (None, JobStatus.CREATED)
        assert change.reason == "by hand"
        assert is_now(change.time)

    def test_an_id_is_used_once(
        self, store: MetadataStore, job: JobRecord, execution: ExecutionRecord
    ) -> None:
        with pytest.raises(MetadataConflictError, match="refused a row"):
            store.executions.create(job, "run-1", reason="again")
        assert store.executions.of_job(job.id) == [execution]

    def test_every_move_is_kept_in_order_with_its_reason(
        self, store: MetadataStore, execution: ExecutionRecord
    ) -> None:
        path = [JobStatus.CREATED, JobStatus.SCHEDULED, JobStatus.INITIALIZING, JobStatus.RUNNING]
        for before, after in pairwise(path):
            store.executions.move("run-1", before, after, reason=f"to {after}")
        moved = store.executions.get("run-1")
        assert moved == dataclasses.replace(execution, status=JobStatus.RUNNING)
        history = store.executions.history("run-1")
        assert [change.to_status for change in history] == path
        assert [change.from_status for change in history] == [None, *path[:-1]]
        assert [change.reason for change in history][1:] == [f"to {each}" for each in path[1:]]
        assert [change.time for change in history] == sorted(change.time for change in history)

    def test_a_move_from_elsewhere_is_refused_and_changes_nothing(
        self, store: MetadataStore, execution: ExecutionRecord
    ) -> None:
        with pytest.raises(MetadataConflictError, match="from RUNNING to COMPLETED: it is CREATED"):
            store.executions.move("run-1", JobStatus.RUNNING, JobStatus.COMPLETED, reason="end")
        assert store.executions.get("run-1") == execution
        assert len(store.executions.history("run-1")) == 1

    def test_an_execution_that_is_not_there_cannot_be_moved_or_counted_for(
        self, store: MetadataStore
    ) -> None:
        with pytest.raises(MetadataConflictError, match="there is no such execution"):
            store.executions.move("run-9", JobStatus.CREATED, JobStatus.RUNNING, reason="go")
        with pytest.raises(MetadataConflictError, match="no execution 'run-9'"):
            store.executions.record_counts("run-9", RecordCounts(1, 0))
        assert store.executions.get("run-9") is None

    @pytest.mark.usefixtures("execution")
    def test_of_several_who_make_the_same_move_one_succeeds(self, store: MetadataStore) -> None:
        results = at_once(
            lambda number: store.executions.move(
                "run-1", JobStatus.CREATED, JobStatus.SCHEDULED, reason=str(number)
            )
        )
        refused = [each for each in results if isinstance(each, MetadataConflictError)]
        assert (results.count(None), len(refused)) == (1, THREADS - 1)
        assert len(store.executions.history("run-1")) == 2

    @pytest.mark.usefixtures("execution")
    def test_checkpointing_is_shown_and_not_kept(self, store: MetadataStore) -> None:
        move = store.executions.move
        move("run-1", JobStatus.CREATED, JobStatus.RUNNING, reason="go")
        move("run-1", JobStatus.RUNNING, JobStatus.CHECKPOINTING, reason="1")
        assert status(store) is JobStatus.CHECKPOINTING
        move("run-1", JobStatus.CHECKPOINTING, JobStatus.RUNNING, reason="1")
        move("run-1", JobStatus.RUNNING, JobStatus.CHECKPOINTING, reason="2")
        move("run-1", JobStatus.CHECKPOINTING, JobStatus.FAILED, reason="disk full")
        changes = [(each.from_status, each.to_status) for each in store.executions.history("run-1")]
        assert changes[1:] == [
            (JobStatus.CREATED, JobStatus.RUNNING),
            (JobStatus.RUNNING, JobStatus.FAILED),
        ]

    @pytest.mark.usefixtures("execution")
    def test_a_failure_is_kept_and_a_retry_counted(self, store: MetadataStore) -> None:
        store.executions.move("run-1", JobStatus.CREATED, JobStatus.FAILED, reason="bad\x00\udc80")
        failed = store.executions.get("run-1")
        assert failed
        assert failed.error_message == r"bad\x00\udc80"
        assert is_now(failed.end_time)
        store.executions.move("run-1", JobStatus.FAILED, JobStatus.SCHEDULED, reason="retry 1")
        retried = store.executions.get("run-1")
        assert retried
        assert (retried.retry_count, retried.end_time) == (1, None)
        assert retried.error_message == r"bad\x00\udc80"

    @pytest.mark.parametrize("end", [JobStatus.COMPLETED, JobStatus.CANCELLED, JobStatus.DEAD])
    @pytest.mark.usefixtures("execution")
    def test_what_has_ended_has_an_end_time(self, store: MetadataStore, end: JobStatus) -> None:
        store.executions.move("run-1", JobStatus.CREATED, end, reason="end")
        ended = store.executions.get("run-1")
        assert ended
        assert is_now(ended.end_time)

    @pytest.mark.usefixtures("execution")
    def test_counts_are_stored_as_they_stand(self, store: MetadataStore) -> None:
        store.executions.record_counts("run-1", RecordCounts(10**12, 3, 1234.567))
        counted = store.executions.get("run-1")
        assert counted
        assert (counted.processed_records, counted.failed_records) == (10**12, 3)
        assert counted.throughput == pytest.approx(1234.57, abs=0.01)
        store.executions.record_counts("run-1", RecordCounts(10**12 + 1, 3))
        assert store.executions.get("run-1") == dataclasses.replace(
            counted, processed_records=10**12 + 1
        )

    @pytest.mark.usefixtures("execution")
    def test_a_rate_that_the_column_cannot_hold_is_the_most_it_can(
        self, store: MetadataStore
    ) -> None:
        store.executions.record_counts("run-1", RecordCounts(1, 0, 1e12))
        counted = store.executions.get("run-1")
        assert counted
        assert counted.throughput == 99_999_999.99

    @pytest.mark.usefixtures("execution")
    def test_executions_are_listed_newest_first_and_those_that_are_cut_off_apart(
        self, store: MetadataStore, job: JobRecord
    ) -> None:
        other = store.jobs.define(dataclasses.replace(ORDERS, name="other"))
        store.executions.create(other, "other-1", reason="another job")
        store.executions.move("run-1", JobStatus.CREATED, JobStatus.COMPLETED, reason="end")
        for number in (2, 3):
            store.executions.create(job, f"run-{number}", reason="again")
        assert ids(store.executions.of_job(job.id)) == ["run-3", "run-2", "run-1"]
        assert ids(store.executions.of_job(job.id, limit=2)) == ["run-3", "run-2"]
        assert ids(store.executions.unfinished(job.id)) == ["run-3", "run-2"]
        newest = store.executions.newest(job.id)
        assert newest
        assert newest.execution_id == "run-3"
        assert store.executions.newest(999) is None


def status(store: MetadataStore) -> JobStatus | None:
    execution = store.executions.get("run-1")
    return None if execution is None else execution.status


def ids(executions: list[ExecutionRecord]) -> list[str]:
    return [execution.execution_id for execution in executions]
