"""How errors show values: short enough to read, long enough to find."""

from __future__ import annotations

_LENGTH = 200  # characters of a record that an error shows


def shown(value: object) -> str:
    """Return a value's repr, cut where it gets long."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001  # it must not hide what the record is shown for
        text = f"<a {type(value).__name__}, whose repr fails: {said(error)}>"
    return text if len(text) <= _LENGTH else f"{text[:_LENGTH]}…"


def placed(record: object, position: object, *, exact: bool) -> str:
    """Return a record with its position; one that others were dropped or made before, roughly."""
    return f"record {shown(record)} {'at' if exact else 'made of what begins at'} {position}"


def said(error: BaseException) -> str:
    """Return an error as its type and its message."""
    kind = type(error).__name__
    try:
        return f"{kind}: {error}"
    except Exception as second:  # noqa: BLE001  # what an error says must not hide that there is one
        return f"{kind} (its message fails with {type(second).__name__})"
