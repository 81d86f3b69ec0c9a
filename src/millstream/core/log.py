"""Structured logs, on standard error: standard output belongs to the job's sinks."""

from __future__ import annotations

import sys
from typing import Any


def info(event: str, **fields: Any) -> None:
    """Log a change that somebody asked for; ``event`` is ``noun.past_verb``."""
    _logger().info(event, **fields)


def warning(event: str, **fields: Any) -> None:
    """Log that we recovered, or that someone should look; ``event`` is ``noun.past_verb``."""
    _logger().warning(event, **fields)


def _logger() -> Any:  # structlog's, which has no type of its own for it
    """Return where events go.

    structlog takes 100 ms to import, so it is loaded with the first event. A program that has
    configured it gets the event its own way.
    """
    import structlog

    if structlog.is_configured():
        return structlog.get_logger()
    return structlog.wrap_logger(structlog.PrintLogger(sys.stderr))
