"""Refuses a value that could not be encoded at its write, not in a checkpoint later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, Flag
from itertools import chain
from typing import Any  # values are of any type

from millstream.runtime.snapshot.classes import is_record, record_fields, row_of
from millstream.runtime.snapshot.codec import Codec
from millstream.runtime.snapshot.tags import ALWAYS_KEPT


class WriteCheck:
    """Refuses a value that could not be encoded, when it is written.

    Called for every write, so what is common is looked at by type only: a number or a text, and
    lists, tuples, dicts and objects of those. Everything else is walked through.
    """

    __slots__ = ("_check", "_kept", "_row")

    def __init__(self, codec: Codec) -> None:
        self._check = codec.check
        self._kept = set(ALWAYS_KEPT)
        self._row: dict[type, Callable[[Any], Iterable[Any]]] = {
            list: iter,
            tuple: iter,
            dict: lambda value: chain(value, value.values()),
        }

    def __call__(self, value: Any) -> None:
        """Check a value.

        Raises:
            StateEncodeError: it cannot be kept.
        """
        kind = type(value)
        if kind in self._kept:
            return
        row = self._row.get(kind)
        try:
            if row is not None and self._kept.issuperset(map(type, row(value))):
                return
        except AttributeError:  # a field without a value, which the check tells of
            pass
        self._check(value)
        if issubclass(kind, Enum) and not issubclass(kind, Flag):
            self._kept.add(kind)
        elif row is None and is_record(kind):
            self._row[kind] = row_of(record_fields(kind))
