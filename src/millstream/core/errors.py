"""Every error Millstream raises on purpose, in one tree.

MillstreamError
├── ConfigError           the user's to fix before anything runs
│   └── GraphError        the job's graph cannot be run as written
├── RetryableError        a passing fault: whoever called may try again
├── FatalError            the job stops
│   ├── OperatorError     a callback failed on a record
│   ├── SourceError       a source failed, or ended without saying so
│   ├── SinkError         a sink failed
│   ├── SourceOverflowError a push source overran its buffer
│   ├── StuckError        something did not end within its grace time
│   └── InconsistentError the conservation law does not hold
├── RecordError           one record cannot be handled (wrong type, missing field)
├── CancelledError        the run was cancelled
└── InternalError         our bug: please report
"""

from __future__ import annotations


class MillstreamError(Exception):
    """The root: catch it to catch everything Millstream raises on purpose."""


class ConfigError(MillstreamError):
    """The user's to fix: an option, a job file, a graph. Raised before anything runs."""


class GraphError(ConfigError):
    """The job's graph cannot be run as written."""


class RetryableError(MillstreamError):
    """A passing fault of an outside system; whoever called may try again."""


class RecordError(MillstreamError):
    """One record cannot be handled; the record is at fault, not the system."""


class CancelledError(MillstreamError):
    """The run was cancelled before its input ended."""


class InternalError(MillstreamError):
    """A bug in Millstream. Please report it with the traceback."""


class FatalError(MillstreamError):
    """The job stops.

    Attributes:
        operator_uid: the uid (or display name) of the operator at fault, if one is.
    """

    def __init__(self, message: str, *, operator_uid: str | None = None) -> None:
        super().__init__(message)
        self.operator_uid = operator_uid


class OperatorError(FatalError):
    """A callback failed on a record; the cause is chained, with the user's own line."""

    def __init__(
        self, message: str, *, operator_uid: str, record: object = None, position: object = None
    ) -> None:
        super().__init__(message, operator_uid=operator_uid)
        self.record = record
        self.position = position


class SourceError(FatalError):
    """A source failed."""


class SinkError(FatalError):
    """A sink failed."""


class SourceOverflowError(FatalError):
    """A push source produced more than its buffer holds under the strategy ERROR or BUFFER."""


class StuckError(FatalError):
    """Something of the job did not end within its grace time; the message has its stack."""


class InconsistentError(FatalError):
    """Records were lost or made up inside the engine: the conservation law does not hold."""
