"""How errors show values: short enough to read, long enough to find."""

from __future__ import annotations

_LENGTH = 200  # characters of a record that an error shows


def shown(value: object) -> str:
    """Return a value's repr, cut where it gets long."""
    text = repr(value)
    return text if len(text) <= _LENGTH else f"{text[:_LENGTH]}…"


def said(error: BaseException) -> str:
    """Return an error as its type and its message."""
    return f"{type(error).__name__}: {error}"
