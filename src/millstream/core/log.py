"""Structured logs, on standard error: standard output belongs to the job's sinks."""

from __future__ import annotations

import sys
from typing import Any


def warning(event: str, **fields: Any) -> None:
    """Log that we recovered, or that someone should look; ``event`` is ``noun.past_verb``.

    structlog takes 100 ms to import, so it is loaded with the first event. A program that has
    configured it gets the event its own way.
    """
    import structlog

    if structlog.is_configured():
        logger = structlog.get_logger()
    else:
        logger = structlog.wrap_logger(structlog.PrintLogger(sys.stderr))
    logger.warning(event, **fields)
