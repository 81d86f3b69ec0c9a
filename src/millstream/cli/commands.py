"""What the commands do: call, print, and end with an exit code that tells the cause."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, NoReturn

from millstream.api.job import Job
from millstream.cli.exit_codes import (
    EXIT_BROKEN_PIPE,
    EXIT_CONFIG,
    EXIT_FAILED,
    EXIT_INCONSISTENT,
    EXIT_INTERRUPTED,
)
from millstream.cli.output import is_read, leave, put, say, say_traceback
from millstream.control.run_options import RunOptions
from millstream.control.wiring import explain, prepare_in_folder
from millstream.core.errors import (
    ConfigError,
    FatalError,
    InconsistentError,
    MillstreamError,
    StuckError,
)
from millstream.core.job_status import JobStatus

if TYPE_CHECKING:
    from millstream.control.checkpoint_views import CheckpointView
    from millstream.control.durable_run import DurableExecution


_LINES = 1000  # printed at once


@dataclass(frozen=True, slots=True)
class RunChoices:
    """What the user said about a run: the job's folder, and what to go on from, if anything."""

    folder: str | None = None
    resume: bool = False
    fresh: bool = False
    skip_damaged: bool = False
    from_savepoint: str | None = None

    def options(self) -> RunOptions:
        """Return what that comes to.

        Raises:
            ConfigError: they said what contradicts itself.
        """
        if self.resume and self.fresh:
            raise ConfigError("--resume goes on from a checkpoint, --fresh begins anew: choose one")
        resume = True if self.resume else False if self.fresh else None
        return RunOptions(self.folder, resume, self.skip_damaged, self.from_savepoint)


def run_job(load: Callable[[], Job], choices: RunChoices | None = None) -> None:
    """Run a job; its report goes to standard error, so that sinks may have standard output."""
    execution: DurableExecution | None = None
    choices = choices or RunChoices()
    try:
        with _users_errors_shown():
            job = load()
            execution = prepare_in_folder(job, choices.options())
        if execution.begins is not None:
            say(f"{job.name}: goes on {execution.begins}")
        result = execution.wait()
    except KeyboardInterrupt:
        if execution is None or not execution.started:
            _leave_with_message("cancelled", EXIT_INTERRUPTED)
        if not execution.ended:
            _abandon("interrupted a second time: left at once", EXIT_INTERRUPTED)
        result = execution.result()
        say(result.report())
        if result.error is not None:
            _show(result.error)
        _limit_exit(job.engine.grace_s, EXIT_INTERRUPTED)
        _leave_with_message("cancelled", EXIT_INTERRUPTED)
    except StuckError as error:
        _show(error)
        _abandon("", EXIT_FAILED)
    except MillstreamError as error:
        leave_with_error(error)
    say(result.report())
    if result.error is not None:
        _limit_exit(job.engine.grace_s, _code_of(result.error))
        leave_with_error(result.error)
    if result.status is JobStatus.CANCELLED:  # by `millstream stop`
        _limit_exit(job.engine.grace_s, EXIT_INTERRUPTED)
        _leave_with_message("stopped", EXIT_INTERRUPTED)
    leave(0)


def explain_job(load: Callable[[], Job], format: str) -> None:
    """Print what would run."""
    try:
        with _users_errors_shown():
            text = explain(load(), format)
    except ConfigError as error:
        leave_with_error(error)
    leave(0, text)


def view_checkpoints(
    job: str, folder: str | None, view: Callable[[CheckpointView], Iterator[str]]
) -> None:
    """Print what a view of a job's checkpoints says, as it comes."""
    from millstream.control.checkpoint_views import CheckpointView

    try:
        lines = view(CheckpointView(job, folder))
        while part := list(islice(lines, _LINES)):
            put("\n".join(part))
    except MillstreamError as error:
        leave_with_error(error)
    leave(0)


@dataclass(frozen=True, slots=True)
class StateChoice:
    """Which state the user wants to see: of which job, checkpoint, operator; None: of all."""

    job: str
    folder: str | None
    checkpoint: str
    operator: str | None
    state: str | None


def get_state(choice: StateChoice, key: str) -> None:
    """Print what a checkpoint has under a key."""
    from millstream.control.state_view import StateFilter, get

    wanted = StateFilter(choice.operator, choice.state)
    view_checkpoints(
        choice.job, choice.folder, lambda view: get(view.open(choice.checkpoint), wanted, key)
    )


def scan_state(choice: StateChoice, limit: int | None) -> None:
    """Print every entry that a checkpoint has."""
    from millstream.control.state_view import StateFilter, scan

    wanted = StateFilter(choice.operator, choice.state)
    view_checkpoints(
        choice.job, choice.folder, lambda view: scan(view.open(choice.checkpoint), wanted, limit)
    )


def show_savepoints(job: str, folder: str | None) -> None:
    """Print a line for each savepoint of a job."""
    from millstream.control.checkpoint_views import list_savepoints

    try:
        lines = list(list_savepoints(job, folder))
    except MillstreamError as error:
        leave_with_error(error)
    leave(0, "\n".join(lines))


def show_version() -> None:
    """Print the version."""
    leave(0, f"millstream {version('millstream')}")


@contextmanager
def _users_errors_shown() -> Iterator[None]:
    """End with what the user's code raises before there is a run that reports it."""
    try:
        yield
    except MillstreamError:
        raise
    except Exception as error:  # noqa: BLE001  # the job file may raise anything
        say_traceback(error)
        leave(EXIT_FAILED)


def leave_with_error(error: BaseException) -> NoReturn:
    """Show an error, and end with the exit code of its kind."""
    _show(error)
    leave(_code_of(error))


def _code_of(error: BaseException) -> int:
    if isinstance(error, ConfigError):
        return EXIT_CONFIG
    if _is_unread(error):
        return EXIT_BROKEN_PIPE
    return EXIT_INCONSISTENT if isinstance(error, InconsistentError) else EXIT_FAILED


def _show(error: BaseException) -> None:
    if error.__cause__ is not None and isinstance(error, FatalError):
        if isinstance(error.__cause__, FatalError):
            _show(error.__cause__)  # what the run failed with, before it got stuck
            say("")
        elif not _is_unread(error):
            say_traceback(error.__cause__)  # the user's own line first: it is what they can mend
            say("")
    elif not isinstance(error, ConfigError | FatalError):
        say("".join(traceback.format_exception(error)))  # ours to mend
    for line in (f"error: {error}", *getattr(error, "__notes__", ())):
        say(line)


def _is_unread(error: BaseException) -> bool:
    """Return whether a sink failed because nobody reads standard output: ``| head`` has enough."""
    return isinstance(error.__cause__, BrokenPipeError) and not is_read()


def _leave_with_message(message: str, code: int) -> NoReturn:
    say(message)
    leave(code)


def _limit_exit(grace_s: float, code: int) -> None:
    """Let the end of the process take no longer than the grace.

    Python waits for every thread that the user's code has made and not ended, which after a cancel
    or a failure may be for ever.
    """

    def give_up() -> None:
        if threading.main_thread().is_alive():
            return  # somebody has caught our SystemExit: the process is not ending
        frames = sys._current_frames()
        others = [
            each
            for each in threading.enumerate()
            if not each.daemon and each is not threading.main_thread()
        ]
        stacks = "\n".join(
            f"{each.name}:\n{''.join(traceback.format_stack(frames.get(each.ident or 0)))}"
            for each in others
        )
        names = ", ".join(each.name for each in others)
        _abandon(
            f"error: threads that the job's code has made did not end within {grace_s:g} s: "
            f"{names}. Stacks:\n{stacks}",
            code,
        )

    timer = threading.Timer(grace_s, give_up)
    timer.daemon = True
    timer.start()


def _abandon(message: str, code: int) -> NoReturn:
    """End the process although threads of it are stuck.

    ``sys.exit`` would wait for those of ``asyncio.to_thread``, and for any the user's code made.
    """
    if message:
        say(message)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or a pipe that nobody reads
            stream.flush()
    os._exit(code)
