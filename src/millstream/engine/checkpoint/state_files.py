"""What the files of a checkpoint are called, and how each is encoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any  # a serialisation edge: values are of any type
from urllib.parse import quote

from millstream.runtime.snapshot.codec import Codec
from millstream.runtime.snapshot.state_file import StateFileWriter, StateHeader
from millstream.runtime.snapshot.type_description import (
    TypeDescription,
    describe,
)
from millstream.runtime.state.base import StateDescription

POSITIONS, SINKS, IN_FLIGHT, FINISHED = "positions", "sinks", "in_flight", "finished"
"""Kinds of files beside those of states. Each has entries by uid."""

_EXPIRING = "expiring_"  # before the kind of a state whose values have a time


@dataclass(frozen=True, slots=True)
class StateForm:
    """How one state is written, and what is read must fit.

    Attributes:
        name: of its file.
        header: what the file begins with.
        codec: for its keys and values.
    """

    name: str
    header: StateHeader
    codec: Codec


def state_form(job: str, state: StateDescription) -> StateForm:
    """Return how a state is written.

    Raises:
        ConfigError: its type has a class that state does not keep.
    """
    own_word = isinstance(state.type, str)  # an operator's own layout of its values
    header = StateHeader(
        job=job,
        uid=state.uid,
        state=state.name,
        kind=f"{_EXPIRING}{state.kind}" if state.ttl else state.kind,
        type=TypeDescription(state.type) if own_word else describe(state.type),
        state_version=state.version,
    )
    name = f"state/{quote(state.uid, safe='')}/{quote(state.name, safe='')}"
    return StateForm(name, header, Codec(state.classes()))


def described(header: StateHeader) -> StateDescription:
    """Return whose state a file holds, and in which form."""
    kind = header.kind.removeprefix(_EXPIRING)
    ttl = kind != header.kind
    return StateDescription(header.uid, header.state, kind, header.type, header.state_version, ttl)


def entries_file(job: str, kind: str, entries: Mapping[str, Any]) -> bytes:
    """Return a whole file of entries by uid.

    Raises:
        StateEncodeError: a value would not come back as it is.
    """
    output = BytesIO()
    header = StateHeader(job=job, uid="", state=kind, kind=kind)
    writer = StateFileWriter(output, header, Codec())
    writer.write(list(entries), list(entries.values()))
    writer.finish()
    return output.getvalue()
