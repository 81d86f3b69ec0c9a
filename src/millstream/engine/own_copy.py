"""Copies what users' code hands over for a checkpoint, which is encoded when that code has gone on.

A source that returns ``self.state`` and changes it, a generator that yields one dict again and
again: without a copy, what is saved would be of a later moment than the barrier.
"""

from __future__ import annotations

from typing import Any  # a position or a state is of the user's own type

from millstream.core.wording import said
from millstream.runtime.snapshot.errors import StateEncodeError
from millstream.runtime.state.private_copy import private_copy


def own_copy(value: Any, what: str) -> Any:
    """Return a value as it is now, whatever happens to it; itself where nothing in it can change.

    Raises:
        StateEncodeError: it cannot be copied, so it could not be kept in a snapshot either.
    """
    try:
        return private_copy(value)
    except Exception as error:  # of a class of the user's
        kind = type(value).__name__
        raise StateEncodeError(
            f"{what} is a {kind} that cannot be copied, so no checkpoint can keep it: "
            f"{said(error)}; let it be of numbers, text, lists and dicts",
            type_name=kind,
            path="",
        ) from error
