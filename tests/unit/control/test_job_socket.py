"""The socket of a running job: who can reach it, and that nobody can hurt the job by it."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from millstream.control import job_socket
from millstream.control.job_socket import (
    MAX_CLIENTS,
    MAX_REQUEST_BYTES,
    NAME,
    Answer,
    JobGoneError,
    JobSocket,
    RefusedError,
    ask,
)
from millstream.core.errors import ConfigError
from millstream.core.ports import ThreadSpawner
from tests.support.stepping import wait_until

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")


class Served:
    """A socket that echoes, and keeps the answers of those who ask it to wait."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.waiting: list[Answer] = []
        self.socket = JobSocket(folder, self.handle)
        self.socket.start(ThreadSpawner())

    def handle(self, line: bytes, answer: Answer) -> None:
        if b"wait" in line:
            self.waiting.append(answer)
        elif b"break" in line:
            raise ZeroDivisionError("no")
        elif b"refuse" in line:
            answer({"ok": False, "error": "not today"})
        else:
            answer({"ok": True, "echo": line.decode("utf-8", "replace")})

    def close(self) -> None:
        def last_words() -> None:
            for answer in self.waiting:
                answer({"ok": True, "status": "CANCELLED"})

        self.socket.close(last_words)

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with job_socket._address(self.folder) as address:
            connection.connect(address)
        connection.settimeout(10)
        return connection

    def echoes(self) -> bool:
        return bool(ask(self.folder, "job", {"command": "x"}, timeout_s=10)["ok"])


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "millstream-control"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    before = descriptors()
    served = Served(tmp_path)
    yield served
    if (tmp_path / NAME).exists():
        served.close()
        served.socket.hang_up()
    assert not (tmp_path / NAME).exists(), "no file is left"
    assert descriptors() == before, "no handle is left"
    assert threads() == [], "no thread is left"


def test_a_request_and_its_reply_are_a_line_of_json_each(served: Served) -> None:
    reply = ask(served.folder, "job", {"command": "savepoint", "to": "/näh"})
    assert json.loads(reply["echo"]) == {"command": "savepoint", "to": "/näh"}


def test_only_the_user_who_runs_the_job_can_connect(served: Served) -> None:
    assert stat.S_IMODE((served.folder / NAME).stat().st_mode) == 0o600


def test_a_refusal_is_an_error_with_its_reason(served: Served) -> None:
    with pytest.raises(RefusedError, match="job 'orders': not today"):
        ask(served.folder, "orders", {"command": "refuse"})


def test_a_folder_may_be_deeper_than_a_socket_address_is_long(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a folder of forty letters, one in another"] * 20)
    deep.mkdir(parents=True)
    assert len(str(deep)) > 800
    served = Served(deep)
    assert (deep / NAME).is_socket()
    assert served.echoes()
    served.close()
    assert not (deep / NAME).exists()


def test_the_socket_of_a_killed_run_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(tmp_path / NAME))
    with pytest.raises(ConfigError, match=r"job 'job' is not running in .*: nothing answers"):
        ask(tmp_path, "job", {"command": "x"})
    served = Served(tmp_path)
    assert served.echoes()
    served.close()


def test_a_job_that_does_not_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="job 'job' is not running"):
        ask(tmp_path, "job", {"command": "x"})
    with pytest.raises(ConfigError, match=r"no folder .* of job 'job'.*\(--folder\)"):
        ask(tmp_path / "nowhere", "job", {"command": "x"})


@pytest.mark.parametrize(
    "data", [b"", b'{"command": "sta', b"\x00\xff\xfe" * 100, b"x" * MAX_REQUEST_BYTES]
)
def test_half_a_request_is_no_request(data: bytes, served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(data)
    assert served.echoes()
    assert served.waiting == []


def test_garbage_with_a_line_end_reaches_the_handler_alone(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"\x00\xff{[}\n")
        assert b'"ok":true' in connection.recv(1000)
    assert served.echoes()


def test_a_huge_request_is_refused_and_not_kept(served: Served) -> None:
    with served.connect() as connection, suppress(BrokenPipeError):
        for _ in range(1000):
            connection.sendall(b"x" * MAX_REQUEST_BYTES)
        pytest.fail("it has read 65 MB")
    assert served.echoes()


def test_one_who_says_nothing_costs_nobody_anything(served: Served) -> None:
    with served.connect(), served.connect():
        assert served.echoes()
        served.close()  # with them connected
    served.socket.hang_up()


def test_of_many_who_say_nothing_the_first_ones_are_dropped(served: Served) -> None:
    silent = [served.connect() for _ in range(3 * MAX_CLIENTS)]
    assert served.echoes()
    assert silent[0].recv(1) == b""
    for each in silent:
        each.close()


def test_where_all_wait_for_answers_another_one_is_refused(served: Served) -> None:
    waiting = [served.connect() for _ in range(MAX_CLIENTS)]
    for each in waiting:
        each.sendall(b"wait\n")
    wait_until(lambda: len(served.waiting) == MAX_CLIENTS, "all requests")
    with pytest.raises(RefusedError, match="32 others wait for answers"):
        ask(served.folder, "job", {"command": "x"}, timeout_s=10)
    for answer in served.waiting:
        answer({"ok": True})
    assert [each.recv(100) for each in waiting] == [b'{"ok":true}\n'] * MAX_CLIENTS
    for each in waiting:
        each.close()
    served.waiting.clear()


def test_several_at_once_each_get_their_own_answer(served: Served) -> None:
    first, second = served.connect(), served.connect()
    first.sendall(b"one, wait\n")
    wait_until(lambda: len(served.waiting) == 1, "the first request")
    second.sendall(b"two, wait\n")
    wait_until(lambda: len(served.waiting) == 2, "the second request")
    assert served.echoes()
    served.waiting[1]({"to": "second"})
    served.waiting[0]({"to": "first"})
    assert first.recv(100) == b'{"to":"first"}\n'
    assert second.recv(100) == b'{"to":"second"}\n'
    first.close()
    second.close()
    served.waiting.clear()


def test_one_that_goes_before_its_answer_is_forgotten(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"wait\n")
        wait_until(lambda: len(served.waiting) == 1, "the request")
    served.waiting.pop()({"ok": True})
    assert served.echoes()


def test_one_that_says_it_writes_no_more_gets_its_answer_all_the_same(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"wait\n")
        connection.shutdown(socket.SHUT_WR)
        wait_until(lambda: len(served.waiting) == 1, "the request")
        served.waiting.pop()({"ok": True})
        assert connection.recv(100) == b'{"ok":true}\n'


def test_who_waits_for_the_end_is_let_go_when_the_folder_is_free(served: Served) -> None:
    replies: list[dict[str, Any]] = []
    asking = threading.Thread(
        target=lambda: replies.append(ask(served.folder, "job", {"command": "wait"}))
    )
    asking.start()
    wait_until(lambda: len(served.waiting) == 1, "the request")
    served.close()
    asking.join(0.05)
    assert asking.is_alive(), "it has its reply, and waits for the folder"
    served.socket.hang_up()
    asking.join(10)
    assert replies == [{"ok": True, "status": "CANCELLED"}]


def test_a_process_that_dies_before_it_answers_is_told_from_a_refusal(served: Served) -> None:
    failures: list[BaseException] = []

    def asks() -> None:
        try:
            ask(served.folder, "job", {"command": "wait"})
        except JobGoneError as error:
            failures.append(error)

    asking = threading.Thread(target=asks)
    asking.start()
    wait_until(lambda: len(served.waiting) == 1, "the request")
    served.waiting.clear()
    for client in served.socket._clients:  # as the system does it for a killed process
        client.connection.shutdown(socket.SHUT_RDWR)
    asking.join(10)
    assert "the process of job 'job' ended before it had answered" in str(failures[0])


def test_a_job_that_does_not_answer_in_time_is_told(served: Served) -> None:
    with pytest.raises(JobGoneError, match=r"did not answer within 0\.01 s"):
        ask(served.folder, "job", {"command": "wait"}, timeout_s=0.01)


def test_who_still_waits_at_the_end_is_told_so(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"wait\n")
        wait_until(lambda: len(served.waiting) == 1, "the request")
        served.waiting.clear()
        served.close()
        assert b"the job ended before it had answered" in connection.recv(1000)
    served.socket.hang_up()


def test_nobody_waits_for_a_server_that_has_failed(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    with served.connect() as waits, served.connect() as silent:
        waits.sendall(b"wait\n")
        wait_until(lambda: len(served.waiting) == 1, "the request")
        with pytest.raises(RefusedError, match="thread that answers has failed: ZeroDivisionError"):
            ask(served.folder, "job", {"command": "break"})
        for connection in (waits, silent):
            with connection.makefile("rb") as file:
                assert b"log says how it goes on" in file.read()
    with pytest.raises(ConfigError, match="nothing answers there"):
        ask(served.folder, "job", {"command": "x"})
    assert "control.failed" in capsys.readouterr().err
    served.close()  # as at the end of the job
    served.socket.hang_up()
