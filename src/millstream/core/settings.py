"""Settings of the engine, built at the edge and handed down."""

from __future__ import annotations

from dataclasses import dataclass

from millstream.core.duration import Duration, parse_duration_ms
from millstream.core.element import CHUNK_SIZE
from millstream.core.errors import ConfigError

MAX_CHUNK_SIZE = 4096  # records; longer chunks measured slower


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How a run behaves, whatever the job does.

    Attributes:
        manage_gc: let the engine decide when garbage is collected; False leaves Python's
            collector as it is.
        memory_share: resident memory, as a share of the cgroup's or the machine's, past which the
            engine collects after little growth.
        grace: how long the parts of a job may take to end after a cancel or a failure, and its
            sources to close at the end of their input, before the run gives up on them.
        blocked_after: how long a callback may hold the engine, the event loop or a sink's thread
            before it is named in the log with its stack.
        chunk_size: most records in a chunk as it comes from a source, up to 4,096.
    """

    manage_gc: bool = True
    memory_share: float = 0.75
    grace: Duration = "30s"
    blocked_after: Duration = "10s"
    chunk_size: int = CHUNK_SIZE

    def __post_init__(self) -> None:
        if not isinstance(self.manage_gc, bool):
            raise ConfigError(f"manage_gc: expected True or False; got {self.manage_gc!r}")
        share = self.memory_share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise ConfigError(
                f"memory_share: expected a number above 0, at most 1; got {self.memory_share!r}"
            )
        if type(self.chunk_size) is not int or not 1 <= self.chunk_size <= MAX_CHUNK_SIZE:
            raise ConfigError(
                f"chunk_size: expected 1 to {MAX_CHUNK_SIZE} records; got {self.chunk_size!r}"
            )
        parse_duration_ms(self.grace, "grace")
        if not parse_duration_ms(self.blocked_after, "blocked_after"):
            raise ConfigError("blocked_after: must be longer than 0")

    @property
    def grace_s(self) -> float:
        """Return ``grace`` in seconds."""
        return parse_duration_ms(self.grace) / 1000

    @property
    def blocked_after_s(self) -> float:
        """Return ``blocked_after`` in seconds."""
        return parse_duration_ms(self.blocked_after) / 1000
