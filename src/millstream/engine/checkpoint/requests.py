"""Checkpoints and savepoints that somebody asked for, while they wait for their turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from millstream.core.errors import MillstreamError
from millstream.engine.checkpoint.journal import Made, Purpose

Answer = Callable[[Made | Exception], None]
"""Told, in the engine thread, what was made, or why it was not."""


class CheckpointFailedError(MillstreamError):
    """A checkpoint was given up; the job goes on."""


class NotMadeError(MillstreamError):
    """A checkpoint or savepoint that somebody asked for was not made."""


@dataclass(frozen=True, slots=True)
class Request:
    """A checkpoint or savepoint to be made as soon as none is in flight."""

    purpose: Purpose
    answer: Answer


class Requests:
    """Those that wait, in order. One checkpoint serves all who wait for a checkpoint."""

    def __init__(self) -> None:
        self._waiting: deque[Request] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, request: Request) -> None:
        """Have one wait."""
        self._waiting.append(request)

    def take(self) -> tuple[Purpose, Sequence[Answer]]:
        """Take the first one, with all that the same checkpoint serves."""
        first = self._waiting.popleft()
        answers = [first.answer]
        if not first.purpose.savepoint:  # a savepoint has a place and an owner of its own
            served = [each for each in self._waiting if each.purpose == first.purpose]
            answers += [each.answer for each in served]
            self._waiting = deque(each for each in self._waiting if each not in served)
        return first.purpose, answers

    def refuse_all(self, reason: str) -> None:
        """Tell all who wait that there will be none."""
        while self._waiting:
            request = self._waiting.popleft()
            request.answer(NotMadeError(f"no {request.purpose.noun} was made: {reason}"))
