"""What the commands write and end with, also where nobody reads it any more."""

from __future__ import annotations

import importlib
import os
import select
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TextIO

from millstream.cli.exit_codes import EXIT_BROKEN_PIPE, EXIT_FAILED
from millstream.core.errors import MillstreamError
from millstream.core.wording import said

_PACKAGE = str(Path(__file__).resolve().parent.parent) + os.sep
_NOT_THE_USERS = (_PACKAGE, "<millstream ", "<frozen importlib", importlib.__file__)


def say(text: str) -> None:
    """Write a line to standard error; that nobody reads it must not change how a job ends."""
    try:
        print(text, file=sys.stderr)
    except BrokenPipeError:
        _discard(sys.stderr)


def say_traceback(error: BaseException) -> None:
    """Write an error as Python would, but from the first of the user's frames on.

    Where there is none, an error of ours is left to its message, and a SyntaxError names its line
    itself; any other may be a bug of ours, and is shown whole.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        trace = trace.tb_next
    if trace is None:
        if isinstance(error, MillstreamError):
            return
        if not isinstance(error, SyntaxError):
            trace = error.__traceback__
    say("".join(traceback.format_exception(type(error), error, trace)).rstrip("\n"))


def put(text: str) -> None:
    """Print a part of what was asked for; end the process if nobody can read it."""
    failure = _print(text, "\n")
    if failure:
        sys.exit(failure)


def leave(code: int, text: str = "") -> NoReturn:
    """Print what was asked for, and end the process once all that was printed is written."""
    failure = _print(text, "\n" if text else "")
    sys.exit(code or failure)


def _print(text: str, end: str) -> int:
    """Write to standard output; return the exit code of what stands in the way."""
    try:
        with suppress(ValueError):  # the job has closed it
            print(text, end=end, flush=True)
    except BrokenPipeError:
        _discard(sys.stdout)
        return EXIT_BROKEN_PIPE
    except OSError as error:
        _discard(sys.stdout)
        say(f"error: standard output cannot be written: {said(error)}")
        return EXIT_FAILED
    return 0


def is_read() -> bool:
    """Return whether somebody may still read standard output: False behind ``| head``."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # what is wrong is told unasked
        return not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # no such call here, or it is no file
        return True


def _discard(stream: TextIO) -> None:
    """Let Python's own flush at its exit find somebody who takes the rest.

    From the note on SIGPIPE in the documentation of Python's ``signal``.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
