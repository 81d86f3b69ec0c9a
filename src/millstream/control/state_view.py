"""What is in the states of a checkpoint: looked up by key, or read through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any  # state is of any type

import msgspec

from millstream.core.errors import ConfigError
from millstream.runtime.snapshot.codec import Codec
from millstream.runtime.snapshot.state_file import StateFileReader, StateHeader
from millstream.storage.checkpoints.base import StoredCheckpoint

_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class StateFilter:
    """Which states to look at; None: all of them.

    Attributes:
        uid: the operator's.
        name: the state's.
    """

    uid: str | None = None
    name: str | None = None

    def takes(self, header: StateHeader) -> bool:
        """Return whether a state is one of these."""
        return (
            bool(header.uid)  # the others are positions and the like
            and self.uid in (None, header.uid)
            and self.name in (None, header.state)
        )


def scan(stored: StoredCheckpoint, wanted: StateFilter, limit: int | None) -> Iterator[str]:
    """Yield entries of states as JSON, a line each, in no order.

    Raises:
        ConfigError: there is no such state.
        CheckpointDamagedError, SnapshotDamagedError: a file is not what was written.
    """
    for header, key, value in islice(_entries(stored, wanted), limit):
        yield _line(header, key, value)


def get(stored: StoredCheckpoint, wanted: StateFilter, key: str) -> Iterator[str]:
    """Yield what states have under a key, as ``scan`` does.

    Args:
        stored: the checkpoint.
        wanted: which states.
        key: the key as ``scan`` shows it; of a text also without quotes.

    Raises:
        ConfigError: there is no such state, or none of them has the key.
        CheckpointDamagedError, SnapshotDamagedError: a file is not what was written.
    """
    found = False
    for header, each, value in _entries(stored, wanted):
        if key in (each, _json(each)):
            found = True
            yield _line(header, each, value)
    if not found:
        raise ConfigError(f"no state of checkpoint {stored.location} has the key {key}")


def _entries(
    stored: StoredCheckpoint, wanted: StateFilter
) -> Iterator[tuple[StateHeader, Any, Any]]:
    there = []
    taken = False
    for name in sorted(stored.metadata.files):
        with stored.open_file(name) as file:
            reader = StateFileReader(file, name)
            header = reader.header
            if header.uid:
                there.append(f"{header.uid}/{header.state}")
            if wanted.takes(header):
                taken = True
                for key, value in reader.entries(Codec(plain=True)):
                    yield header, key, value
    if not taken:
        raise ConfigError(
            f"checkpoint {stored.location} has no such state; there are (operator/state): "
            f"{', '.join(there) or 'none'}"
        )


def _line(header: StateHeader, key: Any, value: Any) -> str:
    return (
        f'{{"operator":{_json(header.uid)},"state":{_json(header.state)},'
        f'"key":{_json(key)},"value":{_json(value)}}}'
    )


def _json(value: Any) -> str:
    """Return a value as JSON, as far as that can say it; else as text."""
    try:
        return _encode(value).decode()
    except (TypeError, ValueError, OverflowError):  # such as a dict by tuples
        return _encode(repr(value)).decode()
