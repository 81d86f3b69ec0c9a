"""How often and how long apart a failing call is tried again."""

from __future__ import annotations

from dataclasses import dataclass

from millstream.core.duration import Duration, parse_duration_ms
from millstream.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff with jitter.

    Attributes:
        attempts: how often the call is made in all, the first included.
        backoff: the wait before the second attempt; doubled each time, and jittered.
        max_backoff: the longest wait.
        on: which exceptions are worth another attempt; others fail at once.
    """

    attempts: int = 3
    backoff: Duration = "100ms"
    max_backoff: Duration = "10s"
    on: tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or self.attempts < 1:
            raise ConfigError(f"Retry.attempts: expected 1 or more; got {self.attempts!r}")
        parse_duration_ms(self.backoff, "Retry.backoff")
        parse_duration_ms(self.max_backoff, "Retry.max_backoff")
        kinds: object = self.on  # whatever the annotation says: not all callers are typed
        if not isinstance(kinds, tuple) or not all(
            isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds
        ):
            raise ConfigError(
                f"Retry.on: expected a tuple of exception classes, such as (TimeoutError,); "
                f"got {kinds!r}"
            )
