"""The nodes of an expression's tree, each with its meaning: the reference interpreter.

Users meet them through `Expr`, which builds them; whoever translates an expression (the chain
compiler, a columnar path, SQL) matches over these classes.
"""

from __future__ import annotations

import dataclasses
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any  # a record and an expression's value have any type

from millstream.core.errors import RecordError
from millstream.core.expression_value import (
    ARITHMETIC,
    COMPARISONS,
    FUNCTIONS,
    EvaluationError,
    kleene,
    kleene_not,
    read_field,
    truth_of,
)
from millstream.core.stable_repr import stable_members, stable_repr

# How tightly each form binds when printed, loosest first (Python's own precedence).
_COMPARE, _OR, _AND, _ADD, _MULTIPLY, _UNARY, _POWER, _POSTFIX = range(8)
_LEVELS = {"+": _ADD, "-": _ADD, "*": _MULTIPLY, "/": _MULTIPLY, "//": _MULTIPLY, "%": _MULTIPLY}
_LEVELS |= {"**": _POWER, "&": _AND, "|": _OR} | dict.fromkeys(COMPARISONS, _COMPARE)


@dataclass(frozen=True, slots=True, eq=False)
class Node(ABC):
    """One computation over a record; immutable, equal only to itself (see `to_dict`)."""

    @abstractmethod
    def evaluate(self, record: Any) -> Any:
        """Compute the value; `Expr.evaluate` has the rules."""

    @abstractmethod
    def describe(self) -> str:
        """Print the Python that builds this node."""

    def holds(self, record: Any, wanted: bool = True) -> bool:
        """Say whether the value is true (or `wanted` false), stopping as early as it can."""
        return _apply(self, truth_of, self.evaluate(record)) is wanted

    def level(self) -> int:
        """Return how tightly the printed form binds."""
        return _POSTFIX

    def children(self) -> tuple[Node, ...]:
        """Return the nodes directly below, in the order they are written."""
        return tuple(_nodes(getattr(self, each.name) for each in dataclasses.fields(self)))

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it."""
        below: list[Node] = [self]
        while below:
            node = below.pop()
            yield node
            below += reversed(node.children())

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as plain JSON data; equal trees give equal data in every process."""
        parts = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return {"node": type(self).__name__, **{name: _json(part) for name, part in parts.items()}}


@dataclass(frozen=True, slots=True, eq=False)
class Record(Node):
    """The record itself: `it`."""

    def evaluate(self, record: Any) -> Any:
        """Return the record."""
        return record

    def describe(self) -> str:
        """Print `it`."""
        return "it"


@dataclass(frozen=True, slots=True, eq=False)
class Constant(Node):
    """A value that is the same for every record."""

    value: Any

    def evaluate(self, record: Any) -> Any:
        """Return the value."""
        return self.value

    def describe(self) -> str:
        """Print `lit(5)`."""
        return f"lit({stable_repr(self.value)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the value as plain data, tagged with its type where JSON lacks it."""
        return {"node": "Constant", "value": _plain(self.value)}


@dataclass(frozen=True, slots=True, eq=False)
class Field(Node):
    """A field of the record, or of a value found in it."""

    base: Node
    name: str

    def evaluate(self, record: Any) -> Any:
        """Read the field; a null inside the record has null fields."""
        if isinstance(self.base, Record):
            return _apply(self, read_field, record, self.name)
        value = self.base.evaluate(record)
        if value is None:
            return None
        return _apply(self, read_field, value, self.name, self.base.describe())

    def describe(self) -> str:
        """Print `col("a")` or `col("a").field("b")`."""
        if isinstance(self.base, Record):
            return f"col({_quoted(self.name)})"
        return f"{_within(self.base, _POSTFIX)}.field({_quoted(self.name)})"


@dataclass(frozen=True, slots=True, eq=False)
class Binary(Node):
    """Arithmetic or a comparison of two values; null if either is."""

    operator: str
    left: Node
    right: Node

    def evaluate(self, record: Any) -> Any:
        """Compute both sides, then apply Python's operator."""
        left, right = self.left.evaluate(record), self.right.evaluate(record)
        if left is None or right is None:
            return None
        if self.operator in COMPARISONS:
            # bool: some types compare to something else that is only true or false in an `if`.
            return _apply(self, lambda: bool(COMPARISONS[self.operator](left, right)))
        return _apply(self, ARITHMETIC[self.operator], left, right)

    def describe(self) -> str:
        """Print `a + b`, with parentheses only where Python needs them."""
        level, comparing = self.level(), self.operator in COMPARISONS
        power = self.operator == "**"
        tight = level + (comparing or power)
        # Python would turn `5 < it` round, compute `1 + 2` and format `"%s" % it`.
        bare = not comparing and isinstance(self.left, Constant) and _is_number(self.left.value)
        bare = bare and not isinstance(self.right, Constant)
        left = _bare(self.left, tight) if bare else _within(self.left, tight)
        null = isinstance(self.right, Constant) and self.right.value is None
        right = "lit(None)" if null else _bare(self.right, level + (not power))
        return f"{left} {self.operator} {right}"

    def level(self) -> int:
        """Return the operator's precedence."""
        return _LEVELS[self.operator]


@dataclass(frozen=True, slots=True, eq=False)
class Logical(Node):
    """`&` or `|` of two or more conditions, in three-valued logic."""

    operator: str
    operands: tuple[Node, ...]

    def evaluate(self, record: Any) -> Any:
        """Compute from left to right, up to the first that decides."""
        values = (each.evaluate(record) for each in self.operands)
        return _apply(self, kleene, self.operator == "|", values)

    def holds(self, record: Any, wanted: bool = True) -> bool:
        """Ask the operands the same question, up to the first that decides."""
        answers = (each.holds(record, wanted) for each in self.operands)
        return all(answers) if (self.operator == "&") is wanted else any(answers)

    def describe(self) -> str:
        """Print `a & b & c`."""
        level = self.level() + 1
        first, *others = self.operands
        parts = [_within(first, level), *(_bare(each, level) for each in others)]
        return f" {self.operator} ".join(parts)

    def level(self) -> int:
        """Return the operator's precedence."""
        return _LEVELS[self.operator]


@dataclass(frozen=True, slots=True, eq=False)
class Not(Node):
    """The negation of a condition; null stays null."""

    operand: Node

    def evaluate(self, record: Any) -> Any:
        """Negate."""
        return _apply(self, kleene_not, self.operand.evaluate(record))

    def holds(self, record: Any, wanted: bool = True) -> bool:
        """Ask the operand for the opposite."""
        return self.operand.holds(record, not wanted)

    def describe(self) -> str:
        """Print `~a`."""
        return f"~{_within(self.operand, _UNARY)}"

    def level(self) -> int:
        """Return the precedence of `~`."""
        return _UNARY


@dataclass(frozen=True, slots=True, eq=False)
class IsNull(Node):
    """Whether a value is null (`negated`: is not)."""

    operand: Node
    negated: bool

    def evaluate(self, record: Any) -> Any:
        """Return true or false, never null."""
        return (self.operand.evaluate(record) is None) is not self.negated

    def describe(self) -> str:
        """Print `a.is_null()`."""
        name = "is_not_null" if self.negated else "is_null"
        return f"{_within(self.operand, _POSTFIX)}.{name}()"


@dataclass(frozen=True, slots=True, eq=False)
class FillNull(Node):
    """A value, or another where it is null."""

    operand: Node
    value: Node

    def evaluate(self, record: Any) -> Any:
        """Compute the other value only where it is needed."""
        found = self.operand.evaluate(record)
        return self.value.evaluate(record) if found is None else found

    def describe(self) -> str:
        """Print `a.fill_null(0)`."""
        return f"{_within(self.operand, _POSTFIX)}.fill_null({_bare(self.value)})"


@dataclass(frozen=True, slots=True, eq=False)
class IsIn(Node):
    """Whether a value is one of some constants, none of which is null."""

    operand: Node
    values: frozenset[Any]

    def evaluate(self, record: Any) -> Any:
        """Look the value up as a set does: by hash and equality."""
        value = self.operand.evaluate(record)
        return None if value is None else _apply(self, lambda: value in self.values)

    def describe(self) -> str:
        """Print `a.is_in([1, 2])`, sorted so that it is the same in every process."""
        members = ", ".join(stable_members(self.values))
        return f"{_within(self.operand, _POSTFIX)}.is_in([{members}])"


@dataclass(frozen=True, slots=True, eq=False)
class Between(Node):
    """`low <= operand <= high`, as `&` of the two."""

    operand: Node
    low: Node
    high: Node

    def evaluate(self, record: Any) -> Any:
        """Compute the high bound only if the low one does not fail."""
        value, low = self.operand.evaluate(record), self.low.evaluate(record)
        above = self._ordered(low, value)
        if above is False:
            return False
        below = self._ordered(value, self.high.evaluate(record))
        return kleene(False, (above, below))

    def _ordered(self, small: Any, large: Any) -> bool | None:
        if small is None or large is None:
            return None
        answer: bool = _apply(self, lambda: bool(small <= large))
        return answer

    def describe(self) -> str:
        """Print `a.between(1, 2)`."""
        bounds = f"{_bare(self.low)}, {_bare(self.high)}"
        return f"{_within(self.operand, _POSTFIX)}.between({bounds})"


@dataclass(frozen=True, slots=True, eq=False)
class Case(Node):
    """The value that belongs to the first condition that is true."""

    branches: tuple[tuple[Node, Node], ...]
    default: Node

    def evaluate(self, record: Any) -> Any:
        """Compute the conditions up to the first true one, and its value only."""
        for condition, value in self.branches:
            if condition.holds(record):
                return value.evaluate(record)
        return self.default.evaluate(record)

    def describe(self) -> str:
        """Print `when(a).then(b).otherwise(c)`."""
        branches = ".".join(f"when({_bare(c)}).then({_bare(v)})" for c, v in self.branches)
        return f"{branches}.otherwise({_bare(self.default)})"


@dataclass(frozen=True, slots=True, eq=False)
class Call(Node):
    """One of `FUNCTIONS` applied to a value and plain arguments; null gives null."""

    function: str
    operand: Node
    arguments: tuple[Any, ...] = ()

    def evaluate(self, record: Any) -> Any:
        """Apply the function to what is not null."""
        value = self.operand.evaluate(record)
        if value is None:
            return None
        return _apply(self, FUNCTIONS[self.function], value, *self.arguments)

    def describe(self) -> str:
        """Print `-a`, `abs(a)` or `a.str.slice(0, 2)`."""
        if self.function == "-":
            return f"-{_within(self.operand, _UNARY)}"
        if self.function == "abs":
            return f"abs({self.operand.describe()})"
        arguments = ", ".join(
            each.__name__ if isinstance(each, type) else repr(each) for each in self.arguments
        )
        return f"{_within(self.operand, _POSTFIX)}.{self.function}({arguments})"

    def level(self) -> int:
        """Return the precedence of a sign or of a call."""
        return _UNARY if self.function == "-" else _POSTFIX


def _apply(node: Node, function: Callable[..., Any], *values: Any) -> Any:
    """Call, and say which part of the expression failed if it does."""
    try:
        return function(*values)
    except RecordError:  # from further down, and precise already
        raise
    except Exception as exc:
        text = node.describe()
        raise EvaluationError(f"{type(exc).__name__}: {exc} in {text}", expression=text) from exc


def _within(node: Node, level: int) -> str:
    text = node.describe()
    return text if node.level() >= level else f"({text})"


def _bare(node: Node, level: int = 0) -> str:
    """Print an operand that may be written as a plain Python constant."""
    if not isinstance(node, Constant):
        return _within(node, level)
    text = stable_repr(node.value)
    return f"({text})" if text.startswith("-") and level > _UNARY else text


def _is_number(value: object) -> bool:
    return type(value) in (bool, int, float)


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _nodes(values: Iterable[Any]) -> Iterator[Node]:
    for value in values:
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from _nodes(value)


def _json(part: Any) -> Any:
    if isinstance(part, Node):
        return part.to_dict()
    if isinstance(part, tuple):
        return [_json(each) for each in part]
    return part.__name__ if isinstance(part, type) else _plain(part)


def _plain(value: Any) -> Any:
    """Return a constant as JSON data that tells types apart and is the same in every process."""
    kind = type(value)
    if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if kind is list:
        return [_plain(each) for each in value]
    if kind is tuple:
        return {"tuple": [_plain(each) for each in value]}
    if kind in (set, frozenset):
        return {kind.__name__: sorted(map(_plain, value), key=json.dumps)}
    if kind is dict:
        return {"dict": [[_plain(key), _plain(each)] for key, each in value.items()]}
    return {"type": f"{kind.__module__}.{kind.__qualname__}", "value": stable_repr(value)}
