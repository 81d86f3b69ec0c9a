"""Records from a list and into a list, for tests and first steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableSequence, Sequence, Set
from typing import Any, TypeVar

from millstream.connectors.options import bad_option, check_integer
from millstream.core.connector import Connector
from millstream.core.element import CHUNK_SIZE
from millstream.core.errors import ConfigError
from millstream.core.sink import Sink, SinkContext
from millstream.core.source import BatchSource, SourceBatch

T = TypeVar("T")


class CollectionSource(BatchSource[T]):
    """Emits the records of a sequence; its position is the next index."""

    def __init__(self, records: Sequence[T], batch_size: int) -> None:
        self.records = records
        self.batch_size = batch_size

    def validate_position(self, position: Any) -> None:
        """Check that the index is one of these records, or just behind them.

        Raises:
            ConfigError: it was saved with other records.
        """
        self._checked(position)

    def read(self, position: Any) -> Iterator[SourceBatch[T]]:
        """Yield slices; the sequence is not copied, so leave it alone while the run goes on.

        Raises:
            ConfigError: ``position`` is past the end: it was saved with other records.
        """
        following = 0 if position is None else self._checked(position)
        records = self.records
        while following < len(records):
            end = min(following + self.batch_size, len(records))
            batch: Sequence[T]
            if isinstance(records, list | tuple | range):
                batch = records[following:end]
            else:  # slices of other sequences are not always sequences (deque has none)
                batch = [records[index] for index in range(following, end)]
            following = end
            yield batch, following

    def describe(self) -> Mapping[str, Any]:
        """Return how many records there are."""
        return {"records": len(self.records), "batch_size": self.batch_size}

    def _checked(self, position: Any) -> int:
        if isinstance(position, int) and 0 <= position <= len(self.records):
            return position
        raise ConfigError(
            f"collection source: the saved position {position!r} is not in the "
            f"{len(self.records):,} records; give the records it was saved with, or start without "
            "the saved state"
        )


class CollectionSink(Sink[T]):
    """Appends to a list of the user's."""

    def __init__(self, into: MutableSequence[T]) -> None:
        self.into = into

    def invoke(self, value: T, ctx: SinkContext) -> None:
        """Append one record."""
        self.into.append(value)

    def invoke_batch(self, values: Sequence[T], ctx: SinkContext) -> None:
        """Append records."""
        self.into.extend(values)


def source(records: Sequence[T], batch_size: int = CHUNK_SIZE) -> CollectionSource[T]:
    """Make a source of the records in ``records``.

    Args:
        records: a list, tuple, range or other sequence, in the order to emit.
        batch_size: how many records to hand over at once.

    Raises:
        ConfigError: ``records`` cannot be read again from the middle, or ``batch_size`` is no
            integer from 1 on.
    """
    who = "collection source"
    expected = "a list or another sequence"
    if isinstance(records, str | bytes | bytearray | Mapping):
        hint = f"put it into a list to emit it as one record: [{type(records).__name__} …]"
        raise bad_option(who, "records", expected, records, hint)
    if isinstance(records, Iterator):
        hint = (
            "an iterator can be read only once, so a restart could not begin it again; "
            "use list(…), or give job.source a generator function of the position"
        )
        raise bad_option(who, "records", expected, records, hint)
    if isinstance(records, Set):
        hint = "a set has no order of its own; use sorted(…)"
        raise bad_option(who, "records", expected, records, hint)
    if not hasattr(records, "__len__") or not hasattr(records, "__getitem__"):
        raise bad_option(who, "records", expected, records, "use list(…)")
    return CollectionSource(records, check_integer(who, "batch_size", batch_size, least=1))


def sink(into: MutableSequence[T]) -> CollectionSink[T]:
    """Make a sink that appends to ``into``, on the sink's thread, while the run goes on.

    After a run that failed or was cancelled the list has what came so far; a restart of the run
    appends its records again.

    Args:
        into: a list, or another sequence that can be appended to.

    Raises:
        ConfigError: ``into`` is not a list.
    """
    checked: object = into
    if not isinstance(checked, MutableSequence) or isinstance(checked, bytearray):
        raise bad_option("collection sink", "into", "a list to append to", into)
    return CollectionSink(into)


CONNECTOR = Connector("collection", source=source, sink=sink)
