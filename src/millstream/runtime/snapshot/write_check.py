"""Refuses a value that could not be encoded at its write, not in a checkpoint later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, Flag
from itertools import chain
from typing import Any  # values are of any type

from millstream.runtime.snapshot.classes import is_record, record_fields, row_of
from millstream.runtime.snapshot.codec import Codec
from millstream.runtime.snapshot.errors import StateEncodeError
from millstream.runtime.snapshot.tags import ALWAYS_KEPT


class WriteCheck:
    """Refuses a value that could not be encoded, when it is written.

    Called for every write, so what is common is looked at by type only: a number or a text, and
    lists, tuples, dicts and objects of those. Everything else is walked through.

    Args:
        codec: by which the state is written.
        state: its name, for errors.
    """

    __slots__ = ("_check", "_kept", "_row", "_state")

    def __init__(self, codec: Codec, state: str) -> None:
        self._check = codec.check
        self._state = state
        self._kept = set(ALWAYS_KEPT)
        self._row: dict[type, Callable[[Any], Iterable[Any]]] = {
            list: iter,
            tuple: iter,
            dict: lambda value: chain(value, value.values()),
        }

    def __call__(self, value: Any) -> type | None:
        """Check a value.

        Returns:
            Its type, if any other value of that type can be kept as well.

        Raises:
            StateEncodeError: it cannot be kept.
        """
        kind = type(value)
        if kind in self._kept:
            return kind
        row = self._row.get(kind)
        try:
            if row is not None and self._kept.issuperset(map(type, row(value))):
                return None
        except AttributeError:  # a field without a value, which the check tells of
            pass
        try:
            self._check(value)
        except StateEncodeError as error:
            message = f"state {self._state!r}: {error}"
            raise StateEncodeError(message, type_name=error.type_name, path=error.path) from None
        if issubclass(kind, Enum) and not issubclass(kind, Flag):
            self._kept.add(kind)
        elif row is None and is_record(kind):
            self._row[kind] = row_of(record_fields(kind))
        return kind if kind in self._kept else None
