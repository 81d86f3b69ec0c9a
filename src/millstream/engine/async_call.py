"""One call of ``map_async``: the user's function with its retries, and around them the timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from millstream.core.duration import parse_duration_ms
from millstream.core.retry import Retry
from millstream.core.wording import said
from millstream.operators.map_async import MapAsync


class CallError(Exception):
    """Why a call has no result, in words; the error itself is the cause."""


def limited(operator: MapAsync) -> Callable[[Any], Awaitable[Any]]:
    """Return the user's function with its limits; it raises a ``CallError``, where it has any."""
    function, timeout_ms, retry = operator.function, operator.timeout_ms, operator.retry
    if timeout_ms is None and retry is None:
        return function
    timeout_s = None if timeout_ms is None else timeout_ms / 1000
    policy = None if retry is None else _policy(retry)

    async def call(value: Any) -> Any:
        made = 0

        async def attempt() -> Any:
            nonlocal made
            made += 1
            return await function(value)

        scope = asyncio.timeout(timeout_s)
        try:
            async with scope:
                return await (attempt() if policy is None else policy.copy()(attempt))
        except Exception as error:
            what = said(error)
            # The user's own code may time out as well, and then says itself what it waited for.
            if isinstance(error, TimeoutError) and scope.expired():
                what = f"no result within {timeout_ms} ms ({type(error).__name__})"
            if policy is not None:
                what += f"; attempts made: {made}"
            raise CallError(what) from error

    return call


def _policy(retry: Retry) -> Any:
    import tenacity

    return tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(retry.attempts),
        wait=tenacity.wait_random_exponential(
            multiplier=parse_duration_ms(retry.backoff) / 1000,
            max=parse_duration_ms(retry.max_backoff) / 1000,
        ),
        retry=tenacity.retry_if_exception_type(retry.on),
        reraise=True,
    )
