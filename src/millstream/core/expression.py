"""Expressions over one record: `col`, `it`, `lit`, `when` and the operators that combine them.

Writing one runs nothing: it builds a tree (`expression_node`), which the chain compiler writes
into its loop (`expression_code`), a columnar path can translate, and `Expr.evaluate` interprets.

    >>> (col("amount") * 2 > 10).evaluate({"amount": 7})
    True
    >>> (it % 2 == 0) & it.is_in([2, 4])
    (it % 2 == 0) & it.is_in([2, 4])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn  # Any: a record and an expression's value have any type

from millstream.core.duration import parse_duration_ms
from millstream.core.errors import ConfigError
from millstream.core.expression_node import (
    Between,
    Binary,
    Call,
    Case,
    Constant,
    Field,
    FillNull,
    IsIn,
    IsNull,
    Logical,
    Node,
    Not,
    Record,
)
from millstream.core.expression_value import EvaluationError, FieldError

__all__ = [
    "EvaluationError",
    "Expr",
    "FieldError",
    "Then",
    "When",
    "col",
    "fields",
    "it",
    "lit",
    "when",
]


def _binary(symbol: str) -> Callable[[Expr, object], Expr]:
    def build(left: Expr, right: object) -> Expr:
        return Expr(Binary(symbol, left.node, _node_of(right)))

    return build


def _reflected(symbol: str) -> Callable[[Expr, object], Expr]:
    def build(right: Expr, left: object) -> Expr:
        return Expr(Binary(symbol, _node_of(left), right.node))

    return build


def _comparison(symbol: str) -> Callable[[Expr, object], Expr]:
    def build(left: Expr, right: object) -> Expr:
        if right is None:
            raise ConfigError(
                f"{left.describe()} {symbol} None is null for every record; "
                "use is_null() or is_not_null()"
            )
        return Expr(Binary(symbol, left.node, _node_of(right)))

    return build


def _logical(symbol: str) -> Callable[[Expr, object], Expr]:
    return lambda left, right: _joined(symbol, left.node, _node_of(right))


def _reflected_logical(symbol: str) -> Callable[[Expr, object], Expr]:
    return lambda right, left: _joined(symbol, _node_of(left), right.node)


def _joined(symbol: str, *sides: Node) -> Expr:
    # `a & b & c` is one node of three, so a long generated condition stays flat.
    operands: list[Node] = []
    for side in sides:
        same = isinstance(side, Logical) and side.operator == symbol
        operands += side.operands if isinstance(side, Logical) and same else (side,)
    return Expr(Logical(symbol, tuple(operands)))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Expr:
    """A computation over one record; immutable, hashed by identity; `==` builds a comparison.

    Null (None) follows SQL: arithmetic, comparisons, text and time functions of null are null;
    `&` and `|` are three-valued (Kleene); `is_in` of null and `~null` are null; `when` takes null
    for false; a filter keeps a record only if its condition is true. A missing field is an error.
    Fields are items of a mapping and attributes of any other record.

    Attributes:
        node: the tree, for whoever translates it.
    """

    node: Node

    __add__ = _binary("+")
    __sub__ = _binary("-")
    __mul__ = _binary("*")
    __truediv__ = _binary("/")
    __floordiv__ = _binary("//")
    __mod__ = _binary("%")
    __pow__ = _binary("**")
    __radd__ = _reflected("+")
    __rsub__ = _reflected("-")
    __rmul__ = _reflected("*")
    __rtruediv__ = _reflected("/")
    __rfloordiv__ = _reflected("//")
    __rmod__ = _reflected("%")
    __rpow__ = _reflected("**")
    __lt__ = _comparison("<")
    __le__ = _comparison("<=")
    __gt__ = _comparison(">")
    __ge__ = _comparison(">=")
    # object's == and != return bool; these build a node, as the class says.
    __eq__ = _comparison("==")  # type: ignore[assignment]
    __ne__ = _comparison("!=")  # type: ignore[assignment]
    __hash__ = object.__hash__
    __and__ = _logical("&")
    __or__ = _logical("|")
    __rand__ = _reflected_logical("&")
    __ror__ = _reflected_logical("|")

    def __invert__(self) -> Expr:
        return Expr(Not(self.node))

    def __neg__(self) -> Expr:
        return Expr(Call("-", self.node))

    def __abs__(self) -> Expr:
        return Expr(Call("abs", self.node))

    def __bool__(self) -> NoReturn:
        raise ConfigError(
            f"{self.describe()} is neither true nor false before there is a record: use & | ~ "
            "instead of and or not, between() instead of a < x < b, when() instead of if"
        )

    def __contains__(self, value: object) -> NoReturn:
        raise ConfigError(
            f"`in` cannot be applied to {self.describe()}: use .is_in([…]) for a member of a "
            "collection, .str.contains(…) for a part of a text"
        )

    def __iter__(self) -> Iterator[Any]:
        raise ConfigError(
            f"{self.describe()} cannot be iterated: it is one value of one record; "
            "use .is_in([…]) for membership, flat_map for a field that holds a list"
        )

    def __repr__(self) -> str:
        return self.describe()

    def field(self, name: str) -> Expr:
        """Read a field of this value: `col("a").field("b")`; null has null fields."""
        return Expr(Field(self.node, _field_name("field", name)))

    def is_null(self) -> Expr:
        """Ask whether the value is null; the answer never is."""
        return Expr(IsNull(self.node, negated=False))

    def is_not_null(self) -> Expr:
        """Ask whether the value is anything but null; the answer never is."""
        return Expr(IsNull(self.node, negated=True))

    def fill_null(self, value: object) -> Expr:
        """Take `value`, an expression or a constant, where this is null."""
        return Expr(FillNull(self.node, _node_of(value)))

    def is_in(self, values: Iterable[object]) -> Expr:
        """Ask whether the value equals one of some constants; null where it is null.

        Raises:
            ConfigError: `values` is a text or an expression, or has null or unhashable members.
        """
        if isinstance(values, str | bytes | Expr):
            raise ConfigError(
                f"is_in takes a collection of constants; got {values!r}; did you mean == or "
                ".str.contains?"
            )
        try:
            members = frozenset(values)
        except TypeError as exc:
            raise ConfigError(f"is_in takes a collection of hashable constants: {exc}") from exc
        if any(member is None for member in members):
            raise ConfigError("is_in never finds None (null); add `| x.is_null()` to the condition")
        return Expr(IsIn(self.node, members))

    def between(self, low: object, high: object) -> Expr:
        """Ask for `low <= value <= high`, both ends included; null as in `&` of the two."""
        return Expr(Between(self.node, _node_of(low), _node_of(high)))

    def cast(self, to: type[int | float | str | bool]) -> Expr:
        """Convert with Python's int, float or str; bool takes numbers only."""
        if to not in (int, float, str, bool):
            raise ConfigError(f"cast takes int, float, str or bool; got {to!r}")
        return Expr(Call("cast", self.node, (to,)))

    def evaluate(self, record: Any) -> Any:
        """Compute the value for `record` by walking the tree: the definition of an expression.

        Apart from null and field access Python's own operators and methods decide (`"a" * 2`,
        `"%s" % 1`, `True == 1`, `.str.lower()` of bytes). Operands are computed from left to
        right, and all of them, but `&` stops at a false, `|` at a true and `between` at a low
        bound that fails; `when` and `fill_null` compute only what they answer with.

        Raises:
            FieldError: the record lacks a field.
            EvaluationError: an operator or function refused its values; it says which and why.
        """
        return self.node.evaluate(record)

    def holds(self, record: Any) -> bool:
        """Say whether a filter keeps `record`: the value is true, neither false nor null.

        This is `evaluate(record) is True` wherever that raises nothing, but stops as early as
        Python's `and` and `or` do: `a & b` computes no b after a null.

        Raises:
            FieldError: the record lacks a field.
            EvaluationError: as `evaluate`, or the value is none of true, false and null.
        """
        return self.node.holds(record)

    def describe(self) -> str:
        """Print the Python that builds this expression: `col("amount") > 10`."""
        return self.node.describe()

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as plain JSON data, equal in every process: what a fingerprint hashes.

        A constant that is no plain data is named by its type and its repr without addresses.
        """
        return self.node.to_dict()

    # The last in the class: below it the name `str` is this property.
    @property
    def dt(self) -> TimeFunctions:
        """Functions of an aware datetime or of epoch milliseconds."""
        return TimeFunctions(self.node)

    @property
    def str(self) -> TextFunctions:
        """Functions of a text."""
        return TextFunctions(self.node)


@dataclass(frozen=True, slots=True)
class TextFunctions:
    """What `.str` offers; Python's methods do the work, null stays null."""

    node: Node

    def lower(self) -> Expr:
        """Turn the text into lower case."""
        return Expr(Call("str.lower", self.node))

    def upper(self) -> Expr:
        """Turn the text into upper case."""
        return Expr(Call("str.upper", self.node))

    def strip(self) -> Expr:
        """Remove white space at both ends."""
        return Expr(Call("str.strip", self.node))

    def starts_with(self, prefix: str) -> Expr:
        """Ask whether the text begins with `prefix`."""
        return Expr(Call("str.starts_with", self.node, _texts("starts_with", prefix)))

    def ends_with(self, suffix: str) -> Expr:
        """Ask whether the text ends with `suffix`."""
        return Expr(Call("str.ends_with", self.node, _texts("ends_with", suffix)))

    def contains(self, part: str) -> Expr:
        """Ask whether `part` occurs in the text, as it is: no pattern."""
        return Expr(Call("str.contains", self.node, _texts("contains", part)))

    def length(self) -> Expr:
        """Count the characters."""
        return Expr(Call("str.length", self.node))

    def slice(self, start: int, length: int | None = None) -> Expr:
        """Cut out `length` characters (None: all) from `start`, which counts from the end if < 0.

        Raises:
            ConfigError: `length` is negative.
        """
        if length is not None and length < 0:
            raise ConfigError(f"slice takes a length of 0 or more; got {length}")
        return Expr(Call("str.slice", self.node, (start, length)))

    def replace(self, old: str, new: str) -> Expr:
        """Replace every `old` by `new`, both as they are: no pattern."""
        return Expr(Call("str.replace", self.node, _texts("replace", old, new)))


@dataclass(frozen=True, slots=True)
class TimeFunctions:
    """What `.dt` offers; a datetime answers in its own zone, epoch milliseconds in UTC."""

    node: Node

    def year(self) -> Expr:
        """Return the year."""
        return Expr(Call("dt.year", self.node))

    def month(self) -> Expr:
        """Return the month, 1 to 12."""
        return Expr(Call("dt.month", self.node))

    def day(self) -> Expr:
        """Return the day of the month, from 1."""
        return Expr(Call("dt.day", self.node))

    def hour(self) -> Expr:
        """Return the hour, 0 to 23."""
        return Expr(Call("dt.hour", self.node))

    def minute(self) -> Expr:
        """Return the minute, 0 to 59."""
        return Expr(Call("dt.minute", self.node))

    def second(self) -> Expr:
        """Return the whole second, 0 to 59."""
        return Expr(Call("dt.second", self.node))

    def weekday(self) -> Expr:
        """Return the day of the week as Python counts it: Monday is 0."""
        return Expr(Call("dt.weekday", self.node))

    def date(self) -> Expr:
        """Return the calendar day, a `datetime.date`."""
        return Expr(Call("dt.date", self.node))

    def truncate(self, every: str | timedelta | int) -> Expr:
        """Round down to a multiple of "5s", "1h", "1d", a timedelta or an int of milliseconds.

        Multiples count from 1970-01-01 00:00 UTC for epoch milliseconds, which stay an int, and
        on the wall clock of its own zone for a datetime.

        Raises:
            ConfigError: `every` is no duration, or shorter than a millisecond.
        """
        every_ms = every if isinstance(every, int) else parse_duration_ms(every, "truncate")
        if every_ms < 1:
            raise ConfigError(f"truncate takes a duration of at least 1 ms; got {every!r}")
        return Expr(Call("dt.truncate", self.node, (every_ms,)))


@dataclass(frozen=True, slots=True, eq=False)
class When:
    """A condition that still lacks its value: go on with `then`."""

    branches: tuple[tuple[Node, Node], ...]
    condition: Node

    def then(self, value: object) -> Then:
        """Give the value for records for which the condition is true."""
        return Then((*self.branches, (self.condition, _node_of(value))))


@dataclass(frozen=True, slots=True, eq=False)
class Then:
    """Conditions with their values: go on with another `when`, or end with `otherwise`."""

    branches: tuple[tuple[Node, Node], ...]

    def when(self, condition: object) -> When:
        """Add a condition, looked at if those before are not true."""
        return When(self.branches, _node_of(condition))

    def otherwise(self, value: object) -> Expr:
        """Give the value for all other records, those with a null condition included."""
        return Expr(Case(self.branches, _node_of(value)))


it: Expr = Expr(Record())
"""The record itself."""


def col(name: str) -> Expr:
    """Return the field `name` of the record."""
    return Expr(Field(it.node, _field_name("col", name)))


def lit(value: object) -> Expr:
    """Return a constant; needed only where no other operand is an expression."""
    return Expr(_node_of(value))


def when(condition: object) -> When:
    """Begin a choice: `when(condition).then(a).otherwise(b)`."""
    return When((), _node_of(condition))


def fields(expression: Expr) -> frozenset[str]:
    """Return the record's own fields that `expression` reads (not the fields of fields)."""
    return frozenset(
        node.name
        for node in expression.node.walk()
        if isinstance(node, Field) and isinstance(node.base, Record)
    )


def _node_of(value: object) -> Node:
    if isinstance(value, Expr):
        return value.node
    if isinstance(value, When | Then):
        missing = "then(…).otherwise(…)" if isinstance(value, When) else "otherwise(…)"
        raise ConfigError(f"when(…) is not finished: add .{missing}")
    return Constant(value)


def _field_name(function: str, name: object) -> str:
    if not isinstance(name, str):
        raise ConfigError(f"{function} takes a field's name; got {name!r}")
    return str.__str__(name)  # not a StrEnum's member: its repr is no string in generated code


def _texts(function: str, *texts: object) -> tuple[object, ...]:
    for text in texts:
        if not isinstance(text, str):
            raise ConfigError(f"str.{function} takes a constant text; got {text!r}")
    return texts
