"""What can go wrong with the metadata store, as the callers tell it apart."""

from __future__ import annotations

from millstream.core.errors import ConfigError, FatalError, RetryableError


class MetadataUnavailableError(RetryableError):
    """The metadata database cannot be reached, or did not answer in time."""


class MetadataSchemaError(ConfigError):
    """The metadata database is not one that this version of Millstream can work with."""


class MetadataConflictError(FatalError):
    """A row is not as this process left it: something else has changed or removed it."""


class LeaseHeldError(ConfigError):
    """Another owner holds the job; the message names it, and until when."""


class LeaseLostError(FatalError):
    """This owner no longer holds the job: what it does must have no further effect."""
