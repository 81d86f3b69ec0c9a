"""A running job is asked over its socket: what it answers, what it makes, how it ends."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.control import job_socket
from millstream.control.checkpoint_views import list_savepoints
from millstream.control.job_socket import NAME, RefusedError
from millstream.core.job_status import JobStatus
from millstream.storage.metadata.records import CheckpointRecord, CheckpointStatus
from millstream.storage.metadata.store import open_metadata
from tests.support.stepping import wait_until
from tests.unit.control.running import (
    ENDLESS,
    SOURCES,
    Running,
    expected_totals,
    generator,
    make_job,
    totals,
    written,
)


def rows(folder: Path, job: str = "job") -> list[CheckpointRecord]:
    with open_metadata(folder / "metadata.db") as store:
        known = store.jobs.get(job)
        assert known is not None
        return store.checkpoints.of_job(known.id)


class Block:
    """Make a run wait at a fault point, and call something there."""

    def __init__(self, point: str, call: Any = None) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._point, self._call = point, call

    def reach(self, point: str) -> None:
        if point == self._point and not self.reached.is_set():
            if self._call is not None:
                self._call()
            self.reached.set()
            self.go_on.wait(30)


def test_the_status_says_where_the_job_stands(tmp_path: Path) -> None:
    with Running(make_job(tmp_path / "out", generator(ENDLESS)), tmp_path / "job") as running:
        running.ask("checkpoint")
        running.ask("savepoint")
        status = running.ask("status")
    assert status["checkpoints"] == {
        "completed": 1, "failed": 0, "last": 1, "healthy": True, "savepoints": 1,
    }  # fmt: skip
    assert {key: status[key] for key in ("ok", "job", "execution_id", "status", "flags")} == {
        "ok": True, "job": "job", "execution_id": "job-1-run-1", "status": "RUNNING", "flags": [],
    }  # fmt: skip
    assert status["resumed_from"] is None


def test_checkpointing_is_shown_while_one_is_in_flight_and_not_kept(tmp_path: Path) -> None:
    folder, block = tmp_path / "job", Block("durable")
    job = make_job(tmp_path / "out", generator(ENDLESS))
    with Running(job, folder, faults=block) as running:
        asking = threading.Thread(target=running.ask, args=("checkpoint",))
        asking.start()
        assert block.reached.wait(30)
        assert running.ask("status")["status"] == "CHECKPOINTING"
        with open_metadata(folder / "metadata.db") as store:
            execution = store.executions.get("job-1-run-1")
            assert execution is not None
            assert execution.status is JobStatus.CHECKPOINTING
            block.go_on.set()
            asking.join(30)
            execution = store.executions.get("job-1-run-1")
            assert execution is not None
            assert execution.status is JobStatus.RUNNING
        running.ask("stop")
    with open_metadata(folder / "metadata.db") as store:
        moves = [each.to_status for each in store.executions.history("job-1-run-1")]
    assert JobStatus.CHECKPOINTING not in moves
    assert moves[-2:] == [JobStatus.CANCELLING, JobStatus.CANCELLED]


class Slow(ms.Sink[int]):
    """Keeps what it gets, and waits after the first of it until it may go on."""

    def __init__(self, go_on: threading.Event, seen: list[int]) -> None:
        self.go_on, self.seen = go_on, seen

    def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        self.seen.append(value)
        self.go_on.wait(30)


def test_stopped_when_its_sources_have_ended_and_much_is_queued_it_goes_on_there(
    tmp_path: Path,
) -> None:
    def read(position: Any) -> Iterator[tuple[Sequence[int], int]]:
        yield range(position or 0, 5000), 5000

    def source_runs() -> bool:
        return any(each.name == "millstream-source in" for each in threading.enumerate())

    go_on, seen, barrier = threading.Event(), list[int](), Block("barrier")
    job = ms.Job("job", engine=ms.EngineSettings(chunk_size=10))
    job.source(read, uid="in").sink(Slow(go_on, seen), uid="out")
    with Running(job, tmp_path, faults=barrier) as running:
        wait_until(lambda: bool(seen) and not source_runs(), "the source to end")
        stopping = threading.Thread(target=running.ask, args=("stop",), kwargs={"savepoint": True})
        stopping.start()
        assert barrier.reached.wait(30)
        go_on.set()
        barrier.go_on.set()
        stopping.join(30)
        assert running.result().status is JobStatus.CANCELLED
    assert len(seen) < 5000
    assert ms.run(job, folder=tmp_path).status is JobStatus.COMPLETED
    assert seen == list(range(5000))


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        ({"command": "explode"}, "unknown command 'explode'; there are: status, checkpoint, save"),
        ({"command": 7}, "unknown command 7"),
        ({}, "unknown command None"),
        ({"command": "stop", "drian": True}, "unknown field `drian`"),
        ({"command": "stop", "drain": "yes"}, "Expected `bool`, got `str`"),
        ({"command": "stop", "to": "/somewhere"}, "without savepoint or drain"),
        ({"command": "savepoint", "to": "relative"}, "expected the whole path of a folder"),
    ],
)
def test_what_is_not_understood_is_refused_and_the_job_goes_on(
    request_: dict[str, Any], refusal: str, tmp_path: Path
) -> None:
    with Running(make_job(tmp_path / "out", generator(ENDLESS)), tmp_path / "job") as running:
        with pytest.raises(RefusedError) as refused:
            running.ask(request_.pop("command", None), **request_)
        assert refusal in str(refused.value)
        assert running.ask("status")["status"] == "RUNNING"


@pytest.mark.parametrize(
    "line",
    [
        b"", b"[]", b"null", b"\xff\xfe", b'{"command": "\xed\xa0\x80"}', b"[" * 60_000,
        b'{"command": ' + b"[" * 60_000, b'{"a": ' * 10_000, b'{"command": "stop"} {}',
    ],
    ids=range(9),
)  # fmt: skip
def test_garbage_is_refused_and_the_job_goes_on(line: bytes, tmp_path: Path) -> None:
    with Running(make_job(tmp_path / "out", generator(ENDLESS)), tmp_path / "job") as running:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            with job_socket._address(running.folder) as address:
                client.connect(address)
            client.sendall(line + b"\n")
            assert client.recv(1000).startswith(b'{"ok":false,"error":"not understood: ')
        assert running.ask("status")["status"] == "RUNNING"


def test_a_savepoint_is_where_it_was_asked_for_and_is_never_removed(tmp_path: Path) -> None:
    job = make_job(tmp_path / "out", generator(ENDLESS))
    with Running(job, tmp_path / "job") as running:
        first = running.ask("savepoint")
        second = running.ask("savepoint", to=str(tmp_path / "elsewhere"))
        for _ in range(12):  # more than are kept
            running.ask("checkpoint")
    assert first["location"] == str(tmp_path / "job/savepoints/sp-1")
    assert second["location"] == str(tmp_path / "elsewhere/sp-2-job")
    lines = list(list_savepoints("job", tmp_path / "job"))
    assert [line.split()[0] for line in lines] == ["2", "1"]
    assert first["location"] in lines[1]
    assert not any("GONE" in line for line in lines)
    assert len(list((tmp_path / "job").glob("checkpoints/job/chk-*"))) == 10


def test_a_savepoint_that_cannot_be_written_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    job = make_job(tmp_path / "out", generator(ENDLESS))
    with Running(job, tmp_path / "job") as running:
        with pytest.raises(RefusedError, match="Not a directory"):
            running.ask("savepoint", to=str(tmp_path / "file"))
        running.ask("checkpoint")
    assert rows(tmp_path / "job")[1].status is CheckpointStatus.FAILED


def test_a_stop_is_a_cancel_and_the_next_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Running(make_job(out, generator(ENDLESS)), tmp_path / "job") as running:
        running.let_pass(30)
        running.ask("checkpoint")
        reply = running.ask("stop")
        assert (reply["status"], reply["savepoint"]) == ("CANCELLED", None)
    assert running.result().status is JobStatus.CANCELLED
    end = max(written(out)) + 30
    ms.run(make_job(out, generator(end)), folder=tmp_path / "job")
    assert written(out) == dict.fromkeys(range(end), 1)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_stopped_with_a_savepoint_the_next_run_goes_on_exactly_there(
    source: Any, tmp_path: Path
) -> None:
    out, folder = tmp_path / "out", tmp_path / "job"
    for _ in range(2):
        with Running(make_job(out, source(ENDLESS), interval="20ms"), folder) as running:
            running.let_pass(50)
            reply = running.ask("stop", savepoint=True)
            assert not (folder / NAME).exists()
        result = running.result()
        assert result.status is JobStatus.CANCELLED
        assert result.savepoint == reply["savepoint"]
        assert f"ended with savepoint {reply['savepoint']}" in result.report()
        numbers = written(out)
        assert numbers == dict.fromkeys(range(len(numbers)), 1), "all of it, and nothing behind it"
    end = len(written(out)) + 30
    ms.run(make_job(out, source(end), interval="20ms"), folder=folder)
    assert written(out) == dict.fromkeys(range(end), 1)
    assert totals(out) == expected_totals(range(end))


def slow(number: int) -> int:
    time.sleep(0.001)
    return number


def test_stopped_with_a_savepoint_when_a_source_has_given_all_the_rest_is_not_lost(
    tmp_path: Path,
) -> None:
    """Its thread has ended, but thousands of records wait in its head."""

    def job() -> ms.Job:
        job = ms.Job("job")
        stream = job.source(ms.collection.source(range(2000)), uid="in").map(slow)
        stream.map(lambda n: {"n": n}).sink(ms.jsonl.sink(folder=tmp_path / "parts"), uid="parts")
        return job

    with Running(job(), tmp_path / "job") as running:
        run = running.execution._execution._run
        wait_until(lambda: "source in" not in run.living() and running.taken() > 0, "all is given")
        assert running.ask("stop", savepoint=True)["status"] == "CANCELLED"
    assert running.result().status is JobStatus.CANCELLED
    assert 0 < len(written(tmp_path)) < 2000
    ms.run(job(), folder=tmp_path / "job")
    assert written(tmp_path) == dict.fromkeys(range(2000), 1)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_drained_the_sources_end_and_all_results_appear(source: Any, tmp_path: Path) -> None:
    out, folder = tmp_path / "out", tmp_path / "job"
    with Running(make_job(out, source(ENDLESS), interval="20ms"), folder) as running:
        running.let_pass(50)
        reply = running.ask("stop", drain=True)
        assert reply["status"] == "COMPLETED"
    result = running.result()
    assert result.status is JobStatus.COMPLETED
    assert not list(result.account.violations())
    numbers = written(out)
    assert numbers == dict.fromkeys(range(len(numbers)), 1)
    assert totals(out) == expected_totals(range(len(numbers)))
    newest = rows(folder)[0]
    assert (newest.savepoint, newest.storage_path) == (True, result.savepoint)
    ms.run(make_job(tmp_path / "again", source(9)), folder=folder)
    assert len(written(tmp_path / "again")) == 9, "drained, it is done: the next one begins anew"


class SlowToRecover(ms.TwoPhaseCommitSink[int, None]):
    """Takes its time for what earlier runs have left; no source begins before."""

    def __init__(self) -> None:
        self.recovering, self.go_on = threading.Event(), threading.Event()

    def begin_transaction(self, id: ms.TransactionId) -> None:
        pytest.fail("there was no record")

    def invoke(self, transaction: None, value: int) -> None: ...
    def pre_commit(self, transaction: None) -> None: ...
    def commit(self, handle: Any) -> None: ...
    def abort(self, transaction: None) -> None: ...
    def recover_and_abort(self, before_epoch: int) -> None:
        self.recovering.set()
        self.go_on.wait(30)


def test_a_drain_before_the_sources_have_begun_ends_them_all_the_same(tmp_path: Path) -> None:
    sink = SlowToRecover()
    job = ms.Job("job")
    job.source(generator(ENDLESS), uid="in").sink(sink, uid="out")
    with Running(job, tmp_path / "job") as running:
        assert sink.recovering.wait(30)
        threading.Timer(0.05, sink.go_on.set).start()
        assert running.ask("stop", drain=True)["status"] == "COMPLETED"
    assert running.result().account.operators[0].records_in == 0


class Closing(ms.BatchSource[int]):
    """Its cancel() takes away what it reads from, so that its read() fails."""

    def open(self) -> None:
        self.closed = threading.Event()

    def read(self, position: Any) -> Any:
        yield [1, 2, 3], 3
        self.closed.wait()
        raise OSError("bad file descriptor")

    def cancel(self) -> None:
        self.closed.set()


def test_a_source_that_fails_because_it_is_drained_fails_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Running(make_job(tmp_path / "out", Closing()), tmp_path / "job") as running:
        wait_until(lambda: running.taken() >= 3, "all it gives")  # perhaps it has them already
        assert running.ask("stop", drain=True)["status"] == "COMPLETED"
    assert "bad file descriptor" in capsys.readouterr().err
    assert written(tmp_path / "out") == {1: 1, 2: 1, 3: 1}


def test_while_it_is_drained_the_status_says_so_and_nothing_else_is_made(tmp_path: Path) -> None:
    block = Block("durable")
    job = make_job(tmp_path / "out", generator(ENDLESS))
    with Running(job, tmp_path / "job", faults=block) as running:
        draining = threading.Thread(target=running.ask, args=("stop",), kwargs={"drain": True})
        draining.start()
        assert block.reached.wait(30)  # the final savepoint is being made
        status = running.ask("status")
        assert (status["status"], status["flags"]) == ("CHECKPOINTING", ["DRAINING"])
        with pytest.raises(RefusedError, match="is being drained"):
            running.ask("savepoint")
        with pytest.raises(RefusedError, match="is being drained"):
            running.ask("stop", drain=True)
        block.go_on.set()
        draining.join(30)
    assert running.result().status is JobStatus.COMPLETED


def test_cancelled_while_the_final_checkpoint_is_written_nothing_appears_before_the_next_run(
    tmp_path: Path,
) -> None:
    """Nothing has appeared, so it is not too late; what is complete all the same is resumed."""
    block, out = Block("durable"), tmp_path / "out"
    with Running(make_job(out, generator(9)), tmp_path / "job", faults=block) as running:
        assert block.reached.wait(30)
        running.execution.cancel()
        wait_until(running.execution._execution._run.finished.is_set, "the engine's end")
        block.go_on.set()
        assert running.result().status is JobStatus.CANCELLED
    assert written(out) == {}
    again = ms.run(make_job(out, generator(9)), folder=tmp_path / "job")
    assert again.status is JobStatus.COMPLETED
    assert written(out) == dict.fromkeys(range(9), 1)
    assert totals(out) == expected_totals(range(9))


def test_a_cancel_ends_a_final_checkpoint_that_is_tried_again(tmp_path: Path) -> None:
    job = ms.Job("job", checkpoints=ms.CheckpointSettings(tolerable_failures=1000))
    job.source(generator(9), uid="in").sink(ms.jsonl.sink(folder=tmp_path / "parts"), uid="parts")
    prepared = Running(job, tmp_path / "job")
    (tmp_path / "job/checkpoints").mkdir(exist_ok=True)
    (tmp_path / "job/checkpoints/job").touch()  # where the folder of checkpoints belongs
    with prepared as running:
        coordinator = running.execution._execution._run.coordinator
        assert coordinator is not None
        wait_until(lambda: coordinator.counts.failed == 1, "a failure")
        assert running.ask("stop")["status"] == "CANCELLED"
    assert running.result().status is JobStatus.CANCELLED


def damage(folder: Path) -> None:
    for file in folder.glob("savepoints/*/positions"):
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)


def test_a_savepoint_that_cannot_be_restored_stops_nothing(tmp_path: Path) -> None:
    out, folder = tmp_path / "out", tmp_path / "job"
    block = Block("durable", lambda: damage(folder))
    block.go_on.set()
    with Running(make_job(out, generator(ENDLESS)), folder, faults=block) as running:
        running.let_pass(30)
        with pytest.raises(RefusedError) as refused:
            running.ask("stop", savepoint=True)
        assert "savepoint 1 of job 'job' cannot be restored" in str(refused.value)
        assert "checkpoint" in str(refused.value)
        assert written(out) == {}
        running.let_pass(30)
        running.ask("stop", savepoint=True)
    failed = rows(folder)[-1]
    assert (failed.checkpoint_id, failed.status) == (1, CheckpointStatus.FAILED)
    assert "cannot be restored" in (failed.error_message or "")
    assert [each.name for each in folder.glob("savepoints/*")] == ["sp-2"]
    numbers = written(out)
    assert numbers == dict.fromkeys(range(len(numbers)), 1)


def test_the_dry_restore_touches_nothing_of_the_running_job(tmp_path: Path) -> None:
    calls: list[str] = []

    class Telling(ms.Source[int]):
        def run(self, ctx: ms.SourceContext[int]) -> None:
            for number in range(ENDLESS):
                ctx.collect(number)
                threading.Event().wait(0.001)

        def snapshot_state(self) -> int:
            return 7

        def restore_state(self, state: int) -> None:
            calls.append(f"restored {state}")

    with Running(make_job(tmp_path / "out", Telling()), tmp_path / "job") as running:
        running.let_pass(5)
        running.ask("stop", savepoint=True)
    assert calls == []


def test_commands_that_wait_when_the_job_ends_are_told(tmp_path: Path) -> None:
    block = Block("durable")
    failures: list[BaseException] = []

    def asks() -> None:
        try:
            running.ask("savepoint")
        except RefusedError as error:
            failures.append(error)

    job = make_job(tmp_path / "out", generator(ENDLESS))
    with Running(job, tmp_path / "job", faults=block) as running:
        asking = threading.Thread(target=asks)
        asking.start()
        block.reached.wait(30)
        running.execution.cancel()
        threading.Timer(0.1, block.go_on.set).start()
        asking.join(30)
    assert "no savepoint was made: the run ended" in str(failures[0])


def test_a_run_leaves_no_socket_thread_or_handle(tmp_path: Path) -> None:
    ms.run(make_job(tmp_path / "out", generator(9)), folder=tmp_path / "job")  # what loads once
    before = len(os.listdir("/proc/self/fd"))
    with Running(make_job(tmp_path / "out", generator(ENDLESS)), tmp_path / "job") as running:
        running.ask("savepoint")
        running.ask("stop", savepoint=True)
    running.result()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not (tmp_path / "job" / NAME).exists()
    assert not [each for each in threading.enumerate() if "millstream" in each.name]


def test_where_there_can_be_no_socket_the_job_runs_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "job" / NAME).mkdir(parents=True)
    result = ms.run(make_job(tmp_path / "out", generator(9)), folder=tmp_path / "job")
    assert result.status is JobStatus.COMPLETED
    assert "control.unavailable" in capsys.readouterr().err
