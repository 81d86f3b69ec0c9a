"""What a running job can be asked for over its socket, and what it answers.

Every request is an object with a ``command``; every reply says ``"ok": true`` and more, or
``"ok": false`` and an ``error``. The engine is asked by a message in its inbox, and answers from
there when it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any  # JSON, as it comes

import msgspec

from millstream.control.job_socket import Answer, refusal
from millstream.core.errors import ConfigError
from millstream.core.job_result import JobResult
from millstream.core.job_status import JobStatus
from millstream.core.wording import said
from millstream.engine.checkpoint.journal import Made, Purpose
from millstream.engine.checkpoint.requests import Request
from millstream.runners.embedded import Execution, Progress


class _Status(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _Checkpoint(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _Savepoint(msgspec.Struct, forbid_unknown_fields=True):
    to: str | None = None


class _Stop(msgspec.Struct, forbid_unknown_fields=True):
    savepoint: bool = False
    drain: bool = False
    to: str | None = None


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What does not change while the job runs.

    Attributes:
        job: its name.
        execution_id: of this run.
        resumed_from: what it goes on from, in words; None: it began anew.
    """

    job: str
    execution_id: str
    resumed_from: str | None


class JobControl:
    """Takes commands for one execution; the methods run on the socket's thread."""

    def __init__(self, execution: Execution, facts: JobFacts) -> None:
        self._execution = execution
        self._facts = facts
        self._stopping: list[Answer] = []  # told when the job has ended
        self._commands: dict[str, tuple[type[Any], Callable[[Any, Answer], None]]] = {
            "status": (_Status, self._status),
            "checkpoint": (_Checkpoint, self._checkpoint),
            "savepoint": (_Savepoint, self._savepoint),
            "stop": (_Stop, self._stop),
        }

    def handle(self, line: bytes, answer: Answer) -> None:
        """Do what a line asks for."""
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
            known = ", ".join(self._commands)
            command = request.pop("command", None)
            if not isinstance(command, str) or command not in self._commands:
                raise ConfigError(f"unknown command {command!r}; there are: {known}")
            kind, call = self._commands[command]
            arguments = msgspec.convert(request, kind)
            _check(arguments)
        except (msgspec.MsgspecError, ValueError, RecursionError, ConfigError) as error:
            answer(refusal(f"not understood: {error}"))
            return
        call(arguments, answer)

    def end(self, result: JobResult | None) -> None:
        """Tell those who stopped the job that it has ended.

        Args:
            result: how; None: it was left before it had ended.
        """
        reply = refusal("the job did not end in time, and was left")
        if result is not None:
            reply = {"ok": True, "status": result.status.value, "savepoint": result.savepoint}
            if result.error is not None:
                reply = refusal(f"the job ended {result.status}: {said(result.error)}")
        for answer in self._stopping:
            answer(reply)

    # -- commands -------------------------------------------------------------------------------

    def _status(self, _: _Status, answer: Answer) -> None:
        def tell(progress: Progress) -> None:
            status = JobStatus.CHECKPOINTING if progress.checkpointing else JobStatus.RUNNING
            counts = progress.checkpoints
            answer(
                {
                    "ok": True,
                    **asdict(self._facts),
                    "status": status.value,
                    "flags": ["DRAINING"] if progress.draining else [],
                    "checkpoints": None if counts is None else asdict(counts),
                }
            )

        self._execution.ask(tell)

    def _checkpoint(self, _: _Checkpoint, answer: Answer) -> None:
        self._execution.save(Request(Purpose(), lambda outcome: answer(_outcome(outcome))))

    def _savepoint(self, arguments: _Savepoint, answer: Answer) -> None:
        purpose = Purpose(savepoint=True, folder=arguments.to)
        self._execution.save(Request(purpose, lambda outcome: answer(_outcome(outcome))))

    def _stop(self, arguments: _Stop, answer: Answer) -> None:
        self._stopping.append(answer)
        if not arguments.savepoint and not arguments.drain:
            self._execution.cancel()
            return

        def tell(outcome: Made | Exception) -> None:
            if not isinstance(outcome, Made):  # else the job ends, and that is told
                self._stopping.remove(answer)
                answer(_outcome(outcome))

        purpose = Purpose(savepoint=True, stop=True, final=arguments.drain, folder=arguments.to)
        self._execution.save(Request(purpose, tell))


def _outcome(outcome: Made | Exception) -> dict[str, Any]:
    if isinstance(outcome, Made):
        return {"ok": True, **asdict(outcome)}
    return refusal(str(outcome))


def _check(arguments: Any) -> None:
    folder = getattr(arguments, "to", None)
    if folder is None:
        return
    if not Path(folder).is_absolute():
        raise ConfigError(f"to: expected the whole path of a folder; got {folder!r}")
    if isinstance(arguments, _Stop) and not (arguments.savepoint or arguments.drain):
        raise ConfigError("to: without savepoint or drain there is nothing to put there")
