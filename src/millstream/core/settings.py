"""Settings of the engine, built at the edge and handed down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """When checkpoints are made, and what becomes of them.

    Attributes:
        interval: from the start of one to the start of the next; None: only the final one, at the
            end of the input.
        timeout: one that takes longer is given up; the job goes on.
        min_pause: from the end of one to the start of the next.
        tolerable_failures: so many may fail in a row before the job is called unhealthy.
        retention: complete checkpoints to keep.
        folder: where they are; by default in the job's own folder.
    """

    interval: Duration | None = None
    timeout: Duration = "10m"  # as Flink's execution.checkpointing.timeout
    min_pause: Duration = "0s"
    tolerable_failures: int = 3
    retention: int = 10
    folder: str | Path | None = None

    def __post_init__(self) -> None:
        if self.interval is not None and not parse_duration_ms(self.interval, "interval"):
            raise ConfigError("interval of checkpoints: must be longer than 0; or leave it out")
        if not parse_duration_ms(self.timeout, "timeout"):
            raise ConfigError("timeout of a checkpoint: must be longer than 0")
        parse_duration_ms(self.min_pause, "min_pause")
        for name, least in (("tolerable_failures", 0), ("retention", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ConfigError(f"{name}: expected {least} or more; got {value!r}")
        if self.folder is not None and not isinstance(self.folder, str | Path):
            raise ConfigError(f"folder of checkpoints: expected a path; got {self.folder!r}")

    @property
    def interval_ns(self) -> int | None:
        """Return ``interval`` in nanoseconds."""
        return None if self.interval is None else parse_duration_ms(self.interval) * 1_000_000

    @property
    def timeout_ns(self) -> int:
        """Return ``timeout`` in nanoseconds."""
        return parse_duration_ms(self.timeout) * 1_000_000

    @property
    def min_pause_ns(self) -> int:
        """Return ``min_pause`` in nanoseconds."""
        return parse_duration_ms(self.min_pause) * 1_000_000
