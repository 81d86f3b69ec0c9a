"""Durations as users write them: ``"5s"``, ``"1m30s"``, ``"250ms"`` or a ``timedelta``."""

from __future__ import annotations

import re
from datetime import timedelta

from millstream.core.errors import ConfigError

Duration = str | timedelta
"""What a duration option accepts; a bare number is refused because its unit is a guess."""

_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*")
_LONGEST_MS = 100 * 365 * _UNIT_MS["d"]  # a century: what the system's own timers can still count


def parse_duration_ms(value: Duration, option: str = "duration") -> int:
    """Return a duration in whole milliseconds.

    Args:
        value: such as ``"10s"``, ``"1m30s"``, ``"250ms"``, or a ``timedelta``.
        option: the option's name, for the error.

    Raises:
        ConfigError: the value is no duration, is negative, has no unit, or is past a century.
    """
    if isinstance(value, timedelta):
        milliseconds = value / timedelta(milliseconds=1)
    elif isinstance(value, str):
        parts = _PART.findall(value)
        if not parts or _PART.sub("", value).strip():
            raise ConfigError(
                f"{option}: {value!r} is not a duration; write for example '250ms', '10s', '1m30s'"
            )
        milliseconds = sum(float(number) * _UNIT_MS[unit] for number, unit in parts)
    else:
        raise ConfigError(
            f"{option}: expected a duration such as '10s' or timedelta(seconds=10); "
            f"got {value!r}, which has no unit"
        )
    if milliseconds < 0:
        raise ConfigError(f"{option}: a duration cannot be negative; got {value!r}")
    if milliseconds > _LONGEST_MS:
        raise ConfigError(f"{option}: a duration ends at 36,500 days; got {str(value)[:100]}")
    return round(milliseconds)
