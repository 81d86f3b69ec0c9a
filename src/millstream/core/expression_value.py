"""What expressions do with values: fields, truth, text and time.

The reference interpreter and the generated code call the same functions, so they cannot differ.
"""

from __future__ import annotations

import difflib
import operator
from collections import ChainMap, Counter, OrderedDict, UserDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from types import BuiltinMethodType, MethodType, MethodWrapperType
from typing import Any  # a record, its fields and an expression's value have any type

from millstream.core.errors import RecordError

ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_SHOWN_FIELDS = 20  # names listed in a FieldError: enough to recognise the record


class FieldError(RecordError):
    """A record lacks a field that an expression reads; a field that is null is no error.

    Attributes:
        field: the name that was not found.
        record_type: the type of what was to have it.
    """

    def __init__(self, message: str, *, field: str = "", record_type: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.record_type = record_type


class EvaluationError(RecordError):
    """A Python operator or function refused the values it met; the original error is the cause.

    Attributes:
        expression: the part of the expression that failed, as text.
    """

    def __init__(self, message: str, *, expression: str = "") -> None:
        super().__init__(message)
        self.expression = expression


def is_mapping(record: object) -> bool:
    """Return whether fields are read as items: a Mapping, or what `dict(record)` takes for one.

    The second kind has `keys` and `[]`, as sqlite3.Row and other database rows do. A tuple never
    counts: a namedtuple may well have a field called `keys`.
    """
    # Most are dicts: asked first that takes 50 ns, the abstract class 140; nulls feel it.
    if isinstance(record, (dict, Mapping)):
        return True
    kind = type(record)
    return hasattr(kind, "keys") and hasattr(kind, "__getitem__") and not isinstance(record, tuple)


def read_field(record: Any, name: str, place: str = "the record") -> Any:
    """Read an item of a mapping, an attribute of anything else.

    Args:
        record: the record, or the value of another field.
        name: the field.
        place: what `record` is, for the error.

    Raises:
        FieldError: it has no such field, or what it has is a method like those of list and str.
    """
    mapping = is_mapping(record)
    try:
        value = record[name] if mapping else getattr(record, name)
    except (KeyError, IndexError, AttributeError) as exc:  # sqlite3.Row raises IndexError
        raise _no_such_field(record, name, place) from exc
    if not mapping and is_method_name(name) and isinstance(value, _METHODS):
        raise _no_such_field(record, name, place)
    return value


_BUILT_IN = (dict, list, tuple, str, bytes, OrderedDict, defaultdict, Counter, ChainMap, UserDict)
_METHODS = (BuiltinMethodType, MethodType, MethodWrapperType)
_METHOD_NAMES = frozenset(name for kind in _BUILT_IN for name in dir(kind)) | {"data", "maps"}


def is_method_name(name: str) -> bool:
    """Return whether a mapping, sequence or text of Python's own has such an attribute."""
    return name in _METHOD_NAMES


def _no_such_field(record: Any, name: str, place: str) -> FieldError:
    kind = type(record).__name__
    known = _field_names(record)
    if known:
        shown = ", ".join(known[:_SHOWN_FIELDS])
        more = f" … {len(known) - _SHOWN_FIELDS} more" if len(known) > _SHOWN_FIELDS else ""
        close = difflib.get_close_matches(name, known, n=1)
        guess = f"; did you mean {close[0]!r}?" if close else ""
        has = f"it has: {shown}{more}{guess}"
    else:
        has = "it has no fields"
    return FieldError(
        f"field {name!r} is not in {place} ({kind}); {has}", field=name, record_type=kind
    )


def _field_names(record: Any) -> list[str]:
    if is_mapping(record):
        return [str(key) for key in record.keys()]  # noqa: SIM118  # a row iterates its values
    kind = type(record)
    for names in ("__struct_fields__", "__dataclass_fields__", "_fields"):  # msgspec, dataclass,
        if hasattr(kind, names):  # namedtuple
            return list(getattr(kind, names))
    return [name for name in getattr(record, "__dict__", ()) if not name.startswith("_")]


def truth_of(value: Any) -> bool | None:
    """Return a condition's value: true, false or null.

    Raises:
        TypeError: it is anything else, 0 and 1 included.
    """
    if value is None or value is True or value is False:
        return value
    raise TypeError(
        f"a condition must be true, false or null, not {type(value).__name__}; "
        "compare it with something, or use .cast(bool)"
    )


def kleene(stop: bool, values: Iterable[Any]) -> bool | None:
    """Combine conditions in three-valued logic: `&` with stop=False, `|` with stop=True.

    `stop` ends it, values behind that are not looked at; a null that nothing outweighs stays.
    """
    unknown = False
    for value in values:
        truth = truth_of(value)
        if truth is stop:
            return stop
        unknown = unknown or truth is None
    return None if unknown else not stop


def kleene_not(value: Any) -> bool | None:
    """Negate a condition; null stays null."""
    truth = truth_of(value)
    return None if truth is None else not truth


def slice_bounds(start: int, length: int | None) -> tuple[int, int | None]:
    """Return the ends of a Python slice that takes `length` characters from `start`."""
    if length is None or (start < 0 <= start + length):
        return start, None
    return start, start + length


def _slice(text: Any, start: int, length: int | None) -> Any:
    low, high = slice_bounds(start, length)
    return text[low:high]


def _cast(value: Any, to: type) -> Any:
    if to is bool and not isinstance(value, int | float):
        raise TypeError(
            f"cast(bool) takes a number, not {type(value).__name__} "
            '(Python finds any text true, "false" as well); for texts use is_in(["true", …])'
        )
    return to(value)


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise TypeError("a datetime needs a time zone here; got a naive one")
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return _EPOCH + timedelta(0, 0, 0, value)  # by position: a third faster than milliseconds=
    raise TypeError(
        "a time must be an aware datetime or an int of epoch milliseconds, "
        f"not {type(value).__name__}"
    )


def _truncate(value: Any, every_ms: int) -> Any:
    moment = _moment(value)
    if not isinstance(value, datetime):
        return value - value % every_ms
    wall = moment.replace(tzinfo=None) - _EPOCH.replace(tzinfo=None)
    floor = moment.replace(tzinfo=None) - wall % timedelta(milliseconds=every_ms)
    # Within the hour that a clock change repeats, stay in the same one of the two.
    return floor.replace(tzinfo=moment.tzinfo, fold=moment.fold if every_ms <= _HOUR_MS else 0)


def _weekday(value: Any) -> int:
    if type(value) is int:
        return (value // _DAY_MS + _EPOCH.weekday()) % 7
    return _moment(value).weekday()


def _clock(name: str, unit_ms: int, count: int) -> Callable[[Any], int]:
    get = _part(name)
    # A division where it is enough: by way of a datetime it takes eight times as long.
    return lambda value: value // unit_ms % count if type(value) is int else get(value)


def _date(value: Any) -> date:
    return _moment(value).date()


def _part(name: str) -> Callable[[Any], int]:
    get = operator.attrgetter(name)
    return lambda value: get(_moment(value))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "-": operator.neg,
    "abs": abs,
    "cast": _cast,
    "str.lower": lambda text: text.lower(),
    "str.upper": lambda text: text.upper(),
    "str.strip": lambda text: text.strip(),
    "str.starts_with": lambda text, prefix: text.startswith(prefix),
    "str.ends_with": lambda text, suffix: text.endswith(suffix),
    "str.contains": lambda text, part: part in text,
    "str.length": len,
    "str.slice": _slice,
    "str.replace": lambda text, old, new: text.replace(old, new),
    "dt.year": _part("year"),
    "dt.month": _part("month"),
    "dt.day": _part("day"),
    "dt.hour": _clock("hour", _HOUR_MS, 24),
    "dt.minute": _clock("minute", 60_000, 60),
    "dt.second": _clock("second", 1_000, 60),
    "dt.weekday": _weekday,
    "dt.date": _date,
    "dt.truncate": _truncate,
}
"""The functions of one value; null never reaches them, null is what they give for it."""
