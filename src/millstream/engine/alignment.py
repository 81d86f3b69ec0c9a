"""Merges the control elements of a task's inputs into those of its output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from millstream.core.element import Barrier, Control, EndOfInput, Idle, Watermark
from millstream.engine.channel import Inlet

_NEVER = -(2**63)


class Alignment:
    """What the inputs of one task have said so far.

    A barrier is passed on when every input that has not ended has brought it; until then nothing
    more is taken from those that have (Flink's aligned checkpoints). The watermark is the minimum
    over inputs that are not idle; it never goes back. All idle: idle.
    """

    def __init__(self, inlets: Sequence[Inlet]) -> None:
        self._inlets = inlets
        self._watermarks = [_NEVER] * len(inlets)
        self._idle = [False] * len(inlets)
        self._watermark = _NEVER
        self._barrier: Barrier | None = None
        self._said_idle = False

    def merge(self, number: int, element: Control) -> Iterator[Control]:
        """Yield what follows downstream from an element of input ``number``."""
        if isinstance(element, Watermark):
            self._watermarks[number] = element.time_ms
            self._idle[number] = self._said_idle = False
            yield from self._advance()
        elif isinstance(element, Idle):
            self._idle[number] = True
            yield from self._advance()
            yield from self._idle_if_all()
        elif isinstance(element, Barrier):
            self._inlets[number].blocked = True
            self._barrier = element
            yield from self._release()
        elif isinstance(element, EndOfInput):
            self._inlets[number].ended = True
            yield from self._release()
            if all(inlet.ended for inlet in self._inlets):
                yield element
            else:
                yield from self._advance()
                yield from self._idle_if_all()

    def _advance(self) -> Iterator[Watermark]:
        active = [
            time_ms
            for inlet, time_ms, idle in zip(self._inlets, self._watermarks, self._idle, strict=True)
            if not (idle or inlet.ended)
        ]
        if active and min(active) > self._watermark:
            self._watermark = min(active)
            yield Watermark(self._watermark)

    def _idle_if_all(self) -> Iterator[Idle]:
        if not self._said_idle and all(
            idle or inlet.ended for inlet, idle in zip(self._inlets, self._idle, strict=True)
        ):
            self._said_idle = True
            yield Idle()

    def _release(self) -> Iterator[Barrier]:
        """Yield the barrier once the last input it waited for has brought it, or has ended."""
        if self._barrier is not None and all(
            inlet.blocked or inlet.ended for inlet in self._inlets
        ):
            barrier, self._barrier = self._barrier, None
            for inlet in self._inlets:
                inlet.blocked = False
            yield barrier
