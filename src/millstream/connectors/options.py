"""Checks the options of connectors, with errors that say what to write instead."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from millstream.core.errors import ConfigError

_COMPRESSED = frozenset({".gz", ".bz2", ".xz", ".zst", ".zip"})


def bad_option(who: str, option: str, expected: str, got: Any, hint: str = "") -> ConfigError:
    """Return the error for an option's value.

    Args:
        who: the connector and side, such as ``"jsonl source"``.
        option: the option's name.
        expected: what it takes.
        got: what was given.
        hint: what to do, where it does not follow from ``expected``.
    """
    shown = repr(got)
    if len(shown) > 100:  # noqa: PLR2004  # enough to recognise a value
        shown = shown[:100] + "…"
    return ConfigError(f"{who}: {option}= takes {expected}; got {shown}{hint and '; ' + hint}")


def check_integer(who: str, option: str, value: Any, least: int | None = None) -> int:
    """Return ``value`` if it is an integer, and at least ``least``.

    Raises:
        ConfigError: it is not; True and False are not integers here.
    """
    valid = isinstance(value, int) and not isinstance(value, bool)
    if not valid or (least is not None and value < least):
        expected = "an integer" if least is None else f"an integer from {least} on"
        raise bad_option(who, option, expected, value)
    return int(value)


def check_rate(who: str, rate: Any) -> float | None:
    """Return ``rate`` if it is None or a number of records per second above zero.

    Raises:
        ConfigError: it is not.
    """
    if rate is None:
        return None
    valid = isinstance(rate, int | float) and not isinstance(rate, bool)
    if not valid or not math.isfinite(rate) or rate <= 0:
        hint = "leave it out for no limit"
        raise bad_option(who, "rate", "records per second, a number above 0", rate, hint)
    return float(rate)


def check_path(who: str, path: Any) -> Path:
    """Return ``path`` as a Path; whether there is such a file is not looked at yet.

    Raises:
        ConfigError: it is no path, is empty, or names a compressed file.
    """
    if not _is_path(path) or os.fspath(path).endswith("/"):  # which only a folder's does
        raise bad_option(who, "path", "the path of a file, a str or pathlib.Path", path)
    result = Path(path)
    if result.suffix.lower() in _COMPRESSED:
        raise bad_option(who, "path", "an uncompressed file", os.fspath(path))
    return result


def check_folder(who: str, folder: Any) -> Path:
    """Return ``folder`` as a Path; whether there is such a folder is not looked at yet.

    Raises:
        ConfigError: it is no path, or is empty.
    """
    if not _is_path(folder):
        raise bad_option(who, "folder", "the path of a folder, a str or pathlib.Path", folder)
    return Path(folder)


def _is_path(value: Any) -> bool:
    try:
        name = os.fspath(value)
        return isinstance(name, str) and bool(name) and b"\0" not in os.fsencode(name)
    except (TypeError, UnicodeEncodeError):  # no path; half of a surrogate pair
        return False


def check_names(
    who: str, option: str, names: Any, example: str, *, distinct: bool = False
) -> tuple[str, ...]:
    """Return ``names`` as a tuple if it is a list or tuple of str.

    Args:
        who: the connector and side.
        option: the option's name.
        names: what was given.
        example: for the error.
        distinct: there must be at least one, and each only once.

    Raises:
        ConfigError: it is not.
    """
    expected = f"a list or tuple of str, such as {example}"
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise bad_option(who, option, expected, names)
    if distinct and (not names or len(set(names)) < len(names)):
        raise bad_option(who, option, "at least one name, each of them once", names)
    return tuple(names)
