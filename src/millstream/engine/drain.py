"""Ends the sources of a run before their input ends; all that they gave and was emitted counts."""

from __future__ import annotations

from collections.abc import Callable, Collection

from millstream.core.errors import MillstreamError, SinkError, SourceError
from millstream.core.wording import said
from millstream.engine.assembly import AnySinkDriver, Assembly, SourceDriver

Driver = SourceDriver | AnySinkDriver


class Drain:
    """Ends every source, and its stream behind it.

    Args:
        assembly: the parts of the run.
        log: told what a source fails with while it is being ended, which fails nothing.

    Attributes:
        begun: sources have been told.
    """

    def __init__(self, assembly: Assembly, log: Callable[[BaseException], None]) -> None:
        self.begun = False
        self._assembly = assembly
        self._log = log

    def begin(self, alive: Collection[Driver]) -> None:
        """Tell the sources that have not ended."""
        self.begun = True
        for head in self._assembly.heads():
            head.drain()
        for driver in self._assembly.source_drivers():
            if driver in alive:
                try:
                    driver.drain()
                except BaseException as error:  # noqa: BLE001  # the others must still be told
                    self._log(named("source", driver.uid, error))

    def end(self, alive: Collection[Driver]) -> bool:
        """Let the stream end of each source that has ended; return whether all have."""
        going = {driver.uid for driver in self._assembly.source_drivers() if driver in alive}
        for head in self._assembly.heads():
            if head.name not in going:
                head.on_end()
        return not going

    def takes(self, kind: str, error: BaseException) -> bool:
        """Return whether a failure is a source's that its end has taken something away from."""
        if self.begun and kind == "source":
            self._log(error)
            return True
        return False


def named(kind: str, uid: str, error: BaseException) -> BaseException:
    """Return the error with the source or sink it came from, if it does not say so itself."""
    if isinstance(error, MillstreamError) and getattr(error, "operator_uid", None):
        return error
    wrapper = SourceError if kind == "source" else SinkError
    wrapped = wrapper(f"{kind} {uid!r} failed: {said(error)}", operator_uid=uid)
    wrapped.__cause__ = error
    return wrapped
