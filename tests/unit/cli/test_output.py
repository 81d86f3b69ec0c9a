"""What happens to the output of a command when nobody reads it, or it cannot be written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

import pytest

from millstream.cli.output import is_read, leave, say, say_traceback
from millstream.core.errors import RecordError

Piped = Callable[[str], int]


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Piped]:
    """Give what makes a stream of this process a pipe, and returns the end to read from."""

    def make(name: str) -> int:
        reader, writer = os.pipe()
        stream: TextIO = os.fdopen(writer, "w", buffering=1 if name == "stderr" else -1)
        streams.append(stream)
        monkeypatch.setattr(sys, name, stream)
        return reader

    streams: list[TextIO] = []
    yield make
    for stream in streams:
        stream.close()


@pytest.mark.parametrize("code", [0, 3])
def test_what_is_read_is_written_and_the_code_is_kept(code: int, piped: Piped) -> None:
    reader = piped("stdout")
    assert is_read()
    with pytest.raises(SystemExit) as end:
        leave(code, "a plan")
    assert end.value.code == code
    assert os.read(reader, 100) == b"a plan\n"
    os.close(reader)


@pytest.mark.parametrize(("code", "left_with"), [(0, 141), (3, 3)])
def test_what_nobody_reads_is_dropped_and_only_a_success_becomes_141(
    code: int, left_with: int, piped: Piped
) -> None:
    os.close(piped("stdout"))
    assert not is_read()
    print("of a sink")
    with pytest.raises(SystemExit) as end:
        leave(code)
    assert end.value.code == left_with
    sys.stdout.flush()  # as Python does at its exit: it goes nowhere, and is no error


def test_an_error_that_nobody_reads_is_no_error_of_its_own(piped: Piped) -> None:
    os.close(piped("stderr"))
    say("error: …")
    say("and more")


def test_standard_output_that_is_no_file_or_closed_is_not_in_the_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert is_read()
    with open(os.devnull, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
    assert is_read()
    with pytest.raises(SystemExit) as end:
        leave(0)
    assert end.value.code == 0


def raised(error: Exception, where: str) -> Exception:
    """Return the error as code of that file would raise it."""
    try:
        exec(compile("raise error", where, "exec"), {"error": error})  # noqa: S102  # a user's file
    except type(error) as caught:
        return caught.with_traceback(caught.__traceback__ and caught.__traceback__.tb_next)
    raise AssertionError


def test_a_traceback_begins_with_the_users_frame(capsys: pytest.CaptureFixture[str]) -> None:
    say_traceback(raised(LookupError("no"), "job.py"))
    assert capsys.readouterr().err.splitlines() == [
        "Traceback (most recent call last):",
        '  File "job.py", line 1, in <module>',
        "LookupError: no",
    ]


def test_without_a_frame_of_the_users_an_error_of_ours_says_no_more_than_its_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say_traceback(raised(RecordError("no such field"), "<millstream chain 1: map-1>"))
    assert capsys.readouterr().err == ""
    say_traceback(raised(LookupError("a bug"), "<millstream chain 1: map-1>"))
    assert "<millstream chain 1: map-1>" in capsys.readouterr().err
