"""The commands that ask a running job for something, and wait for its answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn  # Any: a reply is JSON

from millstream.cli.commands import leave_with_error
from millstream.cli.exit_codes import EXIT_INTERRUPTED
from millstream.cli.output import leave, say
from millstream.control.job_folder import job_folder
from millstream.control.job_socket import ask
from millstream.core.errors import ConfigError, MillstreamError

_STATUS_S = 10.0  # until a status is given up: the engine looks into its inbox between two chunks

Reply = dict[str, Any]


def show_status(job: str, folder: str | None) -> None:
    """Print where a running job stands."""
    _ask(job, folder, {"command": "status"}, _status, timeout_s=_STATUS_S)


def trigger_checkpoint(job: str, folder: str | None) -> None:
    """Have a checkpoint made, and print it."""
    _ask(job, folder, {"command": "checkpoint"}, lambda reply: _made("checkpoint", reply))


def trigger_savepoint(job: str, folder: str | None, to: str | None) -> None:
    """Have a savepoint made, and print it."""
    request = {"command": "savepoint", "to": _whole(to)}
    _ask(job, folder, request, lambda reply: _made("savepoint", reply))


def stop_job(job: str, folder: str | None, choices: tuple[bool, bool, str | None]) -> None:
    """Stop a job, and print how it has ended.

    Args:
        job: its name.
        folder: its folder.
        choices: with a savepoint; drained, which has one; where to put it.
    """
    savepoint, drain, to = choices
    if to is not None and not (savepoint or drain):
        leave_with_error(ConfigError("--to is where the savepoint goes: say --savepoint as well"))
    request = {"command": "stop", "savepoint": savepoint, "drain": drain, "to": _whole(to)}

    def shown(reply: Reply) -> str:
        where = f" with savepoint {reply['savepoint']}" if reply["savepoint"] else ""
        return f"{job}: {reply['status']}{where}"

    _ask(job, folder, request, shown)


def _ask(
    job: str,
    folder: str | None,
    request: dict[str, Any],
    shown: Callable[[Reply], str],
    timeout_s: float | None = None,
) -> NoReturn:
    try:
        reply = ask(job_folder(job, folder), job, request, timeout_s=timeout_s)
    except KeyboardInterrupt:
        say("not waited for: the job goes on with what it was asked for")
        leave(EXIT_INTERRUPTED)
    except MillstreamError as error:
        leave_with_error(error)
    leave(0, shown(reply))


def _whole(path: str | None) -> str | None:
    """Return a path as the job can find it, which runs elsewhere."""
    return None if path is None else str(Path(path).absolute())


def _made(noun: str, reply: Reply) -> str:
    return (
        f"{noun} {reply['checkpoint_id']}: {reply['location']} ({reply['size_bytes']:,} bytes, "
        f"{reply['duration_ms']:,} ms)"
    )


def _status(reply: Reply) -> str:
    flags = "".join(f" {flag}" for flag in reply["flags"])
    lines = [f"{reply['job']}: {reply['status']}{flags}", f"  execution {reply['execution_id']}"]
    lines.append(f"  went on {reply['resumed_from']}" if reply["resumed_from"] else "  began anew")
    counts = reply["checkpoints"]
    if counts is not None:
        healthy = "" if counts["healthy"] else "; UNHEALTHY: the last ones in a row failed"
        lines.append(
            f"  checkpoints: {counts['completed']:,} completed, {counts['failed']:,} failed, the "
            f"last complete one is {counts['last'] or 'none'}{healthy}"
        )
        lines.append(f"  savepoints: {counts['savepoints']:,}")
    return "\n".join(lines)
