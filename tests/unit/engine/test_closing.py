"""What is held is released, and why it ended stays known."""

from __future__ import annotations

import asyncio

import pytest

from millstream.engine.closing import async_closing, closing


def fail() -> None:
    raise OSError("close")


async def fail_async() -> None:
    fail()


def test_close_is_called_at_the_end() -> None:
    calls: list[str] = []
    with closing(lambda: calls.append("close")):
        calls.append("body")
    assert calls == ["body", "close"]


def test_a_failing_close_fails() -> None:
    with pytest.raises(OSError, match="close"), closing(fail):
        pass


def test_a_failing_close_is_told_with_the_failure_before_it() -> None:
    with pytest.raises(ValueError, match="body") as caught, closing(fail):
        raise ValueError("body")
    assert caught.value.__notes__ == ["afterwards, as well: OSError: close"]


def test_the_same_holds_for_what_is_awaited() -> None:
    async def body(error: BaseException | None) -> None:
        async with async_closing(fail_async):
            if error is not None:
                raise error

    with pytest.raises(OSError, match="close"):
        asyncio.run(body(None))
    with pytest.raises(ValueError, match="body") as caught:
        asyncio.run(body(ValueError("body")))
    assert caught.value.__notes__ == ["afterwards, as well: OSError: close"]
