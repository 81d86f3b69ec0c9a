"""Drops every record, for measuring what comes before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millstream.core.connector import Connector
from millstream.core.sink import Sink, SinkContext


class BlackholeSink(Sink[Any]):
    """Takes records and keeps nothing; the run's report counts them."""

    def invoke(self, value: Any, ctx: SinkContext) -> None:
        """Drop one record."""

    def invoke_batch(self, values: Sequence[Any], ctx: SinkContext) -> None:
        """Drop records."""


def sink() -> BlackholeSink:
    """Make a sink that drops every record."""
    return BlackholeSink()


CONNECTOR = Connector("blackhole", sink=sink)
