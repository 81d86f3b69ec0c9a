"""What can go wrong between state and its bytes."""

from __future__ import annotations

from millstream.core.errors import FatalError, MillstreamError


class StateEncodeError(MillstreamError):
    """A value cannot be kept in state.

    Attributes:
        type_name: the type at fault.
        path: where in the value it is, such as ``value[2]['price']``.
    """

    def __init__(self, message: str, *, type_name: str, path: str) -> None:
        super().__init__(message)
        self.type_name = type_name
        self.path = path


class StateDecodeError(FatalError):
    """Saved state does not fit the classes that are there now, or a newer version wrote it."""


class SnapshotDamagedError(FatalError):
    """A state file is not what was written: cut off, or changed."""
