"""Keys: which types may be one, and the stable group each key belongs to."""

from __future__ import annotations

import uuid
from collections.abc import Hashable
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any
from zlib import crc32

from millstream.core.errors import ConfigError, RecordError

MAX_KEY_GROUPS = 128  # as Flink's default max parallelism
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # wall clock less offset, counted from here

_SIMPLE: dict[type, bytes] = {
    str: b"s",
    bytes: b"b",
    int: b"i",
    bool: b"t",
    uuid.UUID: b"u",
    date: b"d",
    datetime: b"D",
}
_ALLOWED = "str, bytes, int, bool, UUID, date, datetime, an Enum, or a tuple of these"


class KeyTypeError(RecordError):
    """A record's key is of a type that cannot be one, or of another type than the stream's."""


def check_key_type(key_type: Any, where: str) -> None:
    """Refuse a declared key type that cannot be one.

    Raises:
        ConfigError: with the reason.
    """
    if key_type is float:
        raise ConfigError(f"{where}: {_FLOATS}")
    if key_type not in _SIMPLE and key_type is not tuple and not _is_enum(key_type):
        raise ConfigError(f"{where}: {_name(key_type)} cannot be a key; a key is {_ALLOWED}")


_FLOATS = (
    "a float cannot be a key: 1, 1.0 and True are one key to a dict and three to a serialiser, "
    "and nan equals nothing; round it to an int or format it to a str"
)


def key_signature(key: Hashable) -> type | tuple[Any, ...]:
    """Return the type of a key; for a tuple, the types of its parts. Fixed per stream.

    Raises:
        KeyTypeError: the key's type cannot be one.
    """
    kind = type(key)
    if kind in _SIMPLE or _is_enum(kind):
        return kind
    if kind is tuple:
        return tuple(key_signature(part) for part in key)  # type: ignore[attr-defined]
    if isinstance(key, float):
        raise KeyTypeError(f"key {key!r}: {_FLOATS}")
    if key is None:
        raise KeyTypeError(
            "the key is None; filter such records out before key_by, or give them a key"
        )
    raise KeyTypeError(f"key {key!r} is of type {kind.__name__}; a key is {_ALLOWED}")


def check_key(key: Hashable, expected: type | tuple[Any, ...] | None) -> type | tuple[Any, ...]:
    """Return the key's signature, which must be the stream's if that is known already.

    Raises:
        KeyTypeError: it is not.
    """
    signature = key_signature(key)
    if expected is not None and signature != expected:
        raise KeyTypeError(
            f"key {key!r} is of type {_name(signature)}, but this stream's keys are "
            f"{_name(expected)}; a stream's key type is fixed: convert in key_by"
        )
    return signature


def canonical_bytes(key: Hashable) -> bytes:
    """Return the bytes that stand for a key, equal for equal keys and for no others."""
    kind = type(key)
    if kind is tuple:
        parts = [canonical_bytes(part) for part in key]  # type: ignore[attr-defined]
        return b"(" + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    if isinstance(key, Enum):
        return b"e" + f"{kind.__qualname__}.{key.name}".encode()
    if isinstance(key, bytes):
        return b"b" + key
    if isinstance(key, str):
        return b"s" + key.encode("utf-8", "surrogatepass")
    if isinstance(key, uuid.UUID):
        return b"u" + key.bytes
    if isinstance(key, datetime):
        # Equal instants are one key to a dict, whatever their zone; so are the two moments that a
        # clock turned back shows alike, as Python's == leaves `fold` out.
        offset = key.replace(fold=0).utcoffset()
        if offset is not None:
            # Counted, as an instant near the year 1 or 9999 may have no datetime in UTC.
            since = key.replace(tzinfo=None) - _EPOCH - offset
            return b"Z%d" % (since // timedelta(microseconds=1))
    if isinstance(key, date):
        return _SIMPLE[kind] + key.isoformat().encode()
    if isinstance(key, int) and kind is not bool:
        return b"i%x" % key  # Python refuses to write decimal digits past 4,300
    return _SIMPLE[kind] + str(key).encode()


def key_group(key: Hashable, groups: int = MAX_KEY_GROUPS) -> int:
    """Return which of ``groups`` a key belongs to; the same in every process and version."""
    return crc32(canonical_bytes(key)) % groups


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _name(signature: Any) -> str:
    if isinstance(signature, tuple):
        return f"({', '.join(_name(part) for part in signature)})"
    return str(getattr(signature, "__name__", signature))
