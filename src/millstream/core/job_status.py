"""The states of an execution, in the architecture's words."""

from __future__ import annotations

from enum import StrEnum


class JobStatus(StrEnum):
    """Where an execution stands (architecture §4.1)."""

    CREATED = "CREATED"
    SCHEDULED = "SCHEDULED"
    INITIALIZING = "INITIALIZING"
    RESTORING = "RESTORING"
    RUNNING = "RUNNING"
    CHECKPOINTING = "CHECKPOINTING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    DEAD = "DEAD"
