"""Releases what a source or a sink holds, without hiding why it ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from millstream.core.wording import said


@contextmanager
def closing(close: Callable[[], object]) -> Iterator[None]:
    """Call ``close`` at the end, always; a failure before it stays the one that is raised."""
    try:
        yield
    except BaseException as error:
        try:
            close()
        except BaseException as second:  # noqa: BLE001  # told with the first
            _note(error, second)
        raise
    close()


@asynccontextmanager
async def async_closing(close: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Await ``close`` at the end, as ``closing`` does."""
    try:
        yield
    except BaseException as error:
        try:
            await close()
        except Exception as second:  # noqa: BLE001  # told with the first; a cancel passes
            _note(error, second)
        raise
    await close()


def _note(error: BaseException, second: BaseException) -> None:
    error.add_note(f"afterwards, as well: {said(second)}")
