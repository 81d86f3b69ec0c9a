"""Values as both databases can keep them: what PostgreSQL refuses must not fail there alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column

from millstream.core.errors import ConfigError


def storable_text(text: str) -> str:
    r"""Return a text without NUL and lone surrogates: written ``\x00`` and ``\udc80`` instead.

    An error message may quote a record or a file name, and that it cannot be stored must not hide
    the error itself.
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text.replace("\x00", r"\x00")


def storable(value: Any) -> Any:  # JSON: plain values of any shape
    """Return plain values as JSON has them.

    Every text is ``storable_text``, a tuple is a list, and NaN and infinity are texts.
    """
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {storable_text(str(key)): storable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [storable(each) for each in value]
    return value


def fitting(column: Column[Any], text: str) -> str:  # a column of any type of text
    """Return a text that its column has room for; SQLite would take a longer one.

    Raises:
        ConfigError: it is longer.
    """
    text = storable_text(text)
    room: int = column.type.length  # type: ignore[attr-defined]  # it is a VARCHAR
    if len(text) > room:
        raise ConfigError(
            f"{column.name} in the metadata store has room for {room} characters, got "
            f"{len(text)}: {text[:80]!r}…; choose a shorter one"
        )
    return text
