"""How long a state's values live: Flink's ``StateTtlConfig``, as far as it is a choice here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from millstream.core.duration import Duration, parse_duration_ms
from millstream.core.errors import ConfigError

UpdateType = Literal["on_create_and_write", "on_read_and_write"]


@dataclass(frozen=True, slots=True)
class StateTtlConfig:
    """How long a value lives; ``ttl="5m"`` says the same as ``ttl=StateTtlConfig("5m")``.

    Time is the wall clock, read once per chunk. A value that has expired is never returned. It
    is dropped when it is met, and when a snapshot is taken. In a list each element has a time of
    its own, in a map each entry.

    Attributes:
        ttl: from the last update, ``"5m"`` or a ``timedelta``.
        update_type: what counts as an update: ``on_create_and_write``, or ``on_read_and_write``.
    """

    ttl: Duration
    update_type: UpdateType = "on_create_and_write"

    def __post_init__(self) -> None:
        if self.ttl_ms < 1:
            raise ConfigError(f"ttl: expected at least '1ms'; got {self.ttl!r}")
        if self.update_type not in get_args(UpdateType):
            raise ConfigError(
                f"StateTtlConfig.update_type: expected one of {', '.join(get_args(UpdateType))}; "
                f"got {self.update_type!r}"
            )

    @property
    def ttl_ms(self) -> int:
        """Return how long that is, in ms."""
        return parse_duration_ms(self.ttl, "ttl")

    @property
    def on_read(self) -> bool:
        """Return whether reading a value is an update."""
        return self.update_type == "on_read_and_write"
