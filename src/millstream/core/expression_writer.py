"""Writes the nodes of an expression as Python source; `expression_code` has the contract."""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal  # Any: a constant has any type, and so has a record

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
from millstream.core.expression_value import (
    COMPARISONS,
    FUNCTIONS,
    is_mapping,
    is_method_name,
    kleene,
    kleene_not,
    read_field,
    slice_bounds,
    truth_of,
)

AccessKind = Literal["item", "attribute"]

# How tightly Python's forms bind, loosest first. A number cannot take a dot, so it has a level.
_OR, _AND, _NOT, _COMPARE, _ADD, _MULTIPLY, _SIGN, _POWER, _NUMBER, _PRIMARY = range(10)
_LEVELS = {"+": _ADD, "-": _ADD, "*": _MULTIPLY, "/": _MULTIPLY, "//": _MULTIPLY, "%": _MULTIPLY}

_NUMBERS = (bool, int, float)
_NULL = type(None)

_MAX_DEPTH = 30  # nested levels; CPython's tokenizer allows 200 brackets, a level opens up to five
_MAX_BRANCHES = 500  # of a `when`: Python nests each in the one before, and refuses some 1,500
_MAX_INLINE = 100  # characters of a constant written into the code
_MAX_INLINE_BITS = 64  # repr() of huge integers is slow and, past 4,300 digits, refused

_METHODS = {  # functions written as a call of the value's own method, and whether that gives a bool
    "str.lower": ("lower", None),
    "str.upper": ("upper", None),
    "str.strip": ("strip", None),
    "str.starts_with": ("startswith", bool),
    "str.ends_with": ("endswith", bool),
    "str.replace": ("replace", None),
}


class NameSpace:
    """The names that generated code uses for objects, and the objects.

    Attributes:
        objects: by name; the code's globals, or part of them.
    """

    def __init__(self) -> None:
        self.objects: dict[str, object] = {}
        self._names: dict[int, str] = {}
        self._temporaries = 0

    def bind(self, value: object) -> str:
        """Return the name of `value`, `k0`, `k1`, …; the same object keeps its name."""
        name = self._names.get(id(value))  # ids stay unique: `objects` keeps what they stand for
        if name is None:
            name = self._names[id(value)] = f"k{len(self._names)}"
            self.objects[name] = value
        return name

    def temporary(self) -> str:
        """Return the name of a new local variable, `t0`, `t1`, …."""
        self._temporaries += 1
        return f"t{self._temporaries - 1}"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A Python expression as text, and what is known of its value.

    Attributes:
        code: the text.
        nullable: it may yield None; if not, it yields something else or raises.
        kind: bool where every value but null is one; int or float where each is a number.
        level: how tightly it binds, for `at`.
    """

    code: str
    nullable: bool
    kind: type | None = None
    level: int = _PRIMARY

    def at(self, level: int) -> str:
        """Return the code, in parentheses if it binds less tightly than `level`."""
        return self.code if self.level >= level else f"({self.code})"

    @property
    def is_certain(self) -> bool:
        """Return whether it yields true or false and nothing else."""
        return self.kind is bool and not self.nullable


class ExpressionWriter:
    """Writes one expression over one variable; made for each rendering."""

    def __init__(self, record: str, access: AccessKind, names: NameSpace) -> None:
        self._record = record
        self._access = access
        self._names = names
        self._depth = 0

    # -- values ---------------------------------------------------------------------------------

    def value(self, node: Node) -> Rendered:
        """Return code for the value of `node`."""
        if self._depth >= _MAX_DEPTH or not (isinstance(node, Constant) or _reads_record(node)):
            return self._interpreted(node)  # also constants alone: Python warns of `5 is None`
        self._depth += 1
        try:
            return _WRITE[type(node)](self, node)
        finally:
            self._depth -= 1

    def _interpreted(self, node: Node) -> Rendered:
        return Rendered(f"{self._names.bind(node.evaluate)}({self._record})", True)

    def _it(self, _node: Record) -> Rendered:
        return Rendered(self._record, True)

    def _constant(self, node: Constant) -> Rendered:
        value, kind = node.value, type(node.value)
        if kind in (_NULL, bool):
            return Rendered(repr(value), kind is _NULL, kind)
        if kind in (int, float):
            plain = value.bit_length() <= _MAX_INLINE_BITS if kind is int else math.isfinite(value)
            text = repr(value) if plain else self._names.bind(value)
            return Rendered(text, False, kind, _SIGN if text.startswith("-") else _NUMBER)
        if kind in (str, bytes) and len(value) <= _MAX_INLINE:
            return Rendered(repr(value), False, kind)
        return Rendered(self._names.bind(value), False, kind)

    def _field(self, node: Field) -> Rendered:
        base, name = self.value(node.base), node.name
        if self._access == "item":
            return Rendered(f"{base.at(_PRIMARY)}[{name!r}]", True)
        if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name):
            read = self._names.bind(read_field)  # not ASCII: Python would normalise the name
            return Rendered(f"{read}({base.code}, {name!r})", True)
        if not (is_method_name(name) or name.startswith("__")):
            return Rendered(f"{base.at(_PRIMARY)}.{name}", True)
        guarded = _GuardedField(name)
        plain, read = self._names.bind(guarded.plain), self._names.bind(guarded.read)
        first, again = self._named(base)
        code = f"({again}.{name} if type({first}) in {plain} else {read}({again}))"
        return Rendered(code, True)

    def _binary(self, node: Binary) -> Rendered:
        operator, left, right = node.operator, self.value(node.left), self.value(node.right)
        number = left.kind in _NUMBERS and right.kind in _NUMBERS
        if operator in ("==", "!=") and (left.nullable or right.nullable):
            return self._both(node, left, right, bool)
        if operator == "%" and right.nullable and left.kind not in _NUMBERS:
            return self._both(node, left, right, None)  # "%s" % None is "None"
        if operator in COMPARISONS:
            code = f"{left.at(_ADD)} {operator} {right.at(_ADD)}"
            return Rendered(code, False, bool, _COMPARE)
        if operator == "**":
            code, level = f"{left.at(_NUMBER)} ** {right.at(_POWER)}", _POWER
        else:
            level = _LEVELS[operator]
            code = f"{left.at(level)} {operator} {right.at(level + 1)}"
        return Rendered(code, False, int if number else None, level)

    def _both(self, node: Binary, left: Rendered, right: Rendered, kind: type | None) -> Rendered:
        """Return code that applies the operator if neither side is null, computing both."""
        symbol = node.operator
        if isinstance(node.right, Constant) and not right.nullable:
            return self._unless_null(left, lambda name: f"{name} {symbol} {right.code}", kind)
        if isinstance(node.left, Constant) and not left.nullable:
            return self._unless_null(right, lambda name: f"{left.code} {symbol} {name}", kind)
        (one, a), (two, b) = self._named(left), self._named(right)
        # `|` and not `or`: an error of the right side shows even where the left is null.
        code = f"(None if ({one} is None) | ({two} is None) else {a} {symbol} {b})"
        return Rendered(code, True, kind)

    def _logical(self, node: Logical) -> Rendered:
        parts = [self.value(each) for each in node.operands]
        *before, last = parts
        if not all(part.is_certain for part in before):
            values = ", ".join(part.code for part in parts)
            stop = node.operator == "|"
            return Rendered(f"{self._names.bind(kleene)}({stop}, ({values}))", True, bool)
        if last.kind is not bool:
            last = Rendered(f"{self._names.bind(truth_of)}({last.code})", True, bool)
        return _joined(node.operator == "&", [*before, last], last.nullable)

    def _not(self, node: Not) -> Rendered:
        operand = self.value(node.operand)
        if operand.is_certain:
            return Rendered(f"not {operand.at(_NOT)}", False, bool, _NOT)
        return Rendered(f"{self._names.bind(kleene_not)}({operand.code})", True, bool)

    def _is_null(self, node: IsNull) -> Rendered:
        test = "is not None" if node.negated else "is None"
        return Rendered(f"{self.value(node.operand).at(_ADD)} {test}", False, bool, _COMPARE)

    def _fill_null(self, node: FillNull) -> Rendered:
        if isinstance(node.operand, Constant):  # as good as a constant alone
            return self._interpreted(node)
        operand = self.value(node.operand)
        if not operand.nullable:  # where it would be null it raises, and the slow path fills
            return operand
        other = self.value(node.value)
        filled = self._unless_null(operand, lambda name: name, null=other.code)
        return Rendered(filled.code, other.nullable, _common(operand, other))

    def _is_in(self, node: IsIn) -> Rendered:
        operand, members = self.value(node.operand), self._names.bind(node.values)
        if operand.nullable:
            return self._unless_null(operand, lambda name: f"{name} in {members}", bool)
        return Rendered(f"{operand.at(_ADD)} in {members}", False, bool, _COMPARE)

    def _between(self, node: Between) -> Rendered:
        parts = (self.value(each).at(_ADD) for each in (node.low, node.operand, node.high))
        return Rendered(" <= ".join(parts), False, bool, _COMPARE)

    def _case(self, node: Case) -> Rendered:
        if len(node.branches) > _MAX_BRANCHES:
            return self._interpreted(node)
        code, values = "", []
        for condition, each in node.branches:
            test, value = self.truth(condition), self.value(each)
            code += f"{value.at(_OR)} if {test.at(_OR)} else "
            values.append(value)
        values.append(self.value(node.default))
        nullable = any(value.nullable for value in values)
        return Rendered(f"({code}{values[-1].at(_OR)})", nullable, _common(*values))

    def _call(self, node: Call) -> Rendered:
        function, operand = node.function, self.value(node.operand)
        number = int if operand.kind in _NUMBERS else None
        arguments = [_argument(self, each) for each in node.arguments]
        if function in _METHODS:
            method, kind = _METHODS[function]
            code = f"{operand.at(_PRIMARY)}.{method}({', '.join(arguments)})"
            return Rendered(code, False, kind)
        match function:
            case "-":
                return Rendered(f"-{operand.at(_SIGN)}", False, number, _SIGN)
            case "abs":
                return Rendered(f"abs({operand.code})", False, number)
            case "str.length":
                return Rendered(f"len({operand.code})", False, int)
            case "str.contains":
                return Rendered(f"{arguments[0]} in {operand.at(_ADD)}", False, bool, _COMPARE)
            case "str.slice":
                low, high = slice_bounds(*node.arguments)
                cut = f"{low}:{'' if high is None else high}"
                return Rendered(f"{operand.at(_PRIMARY)}[{cut}]", False)
            case "cast" if node.arguments[0] in (int, float):
                return Rendered(f"{arguments[0]}({operand.code})", False, node.arguments[0])
        return self._helper(node, operand, arguments)

    def _helper(self, node: Call, operand: Rendered, arguments: list[str]) -> Rendered:
        """Return a call of the function that the interpreter calls too."""
        kind = node.arguments[0] if node.function == "cast" else None
        if kind is str:
            name, rest = "str", ""
        else:
            name = self._names.bind(FUNCTIONS[node.function])
            rest = "".join(f", {each}" for each in arguments)
        if operand.nullable:
            return self._unless_null(operand, lambda value: f"{name}({value}{rest})", kind)
        return Rendered(f"{name}({operand.code}{rest})", False, kind)

    # -- conditions -----------------------------------------------------------------------------

    def truth(self, node: Node, wanted: bool = True) -> Rendered:
        """Return code that is truthy exactly where the value is `wanted`, not the other, not null.

        What it yields for false may be None.
        """
        match node:
            case _ if self._depth >= _MAX_DEPTH:
                code = f"{self._names.bind(node.holds)}({self._record}, {wanted})"
                return Rendered(code, False, bool)
            case Not():
                return self.truth(node.operand, not wanted)
            case Logical():
                self._depth += 1
                parts = [self.truth(each, wanted) for each in node.operands]
                self._depth -= 1
                return _joined((node.operator == "&") is wanted, parts, nullable=True)
            case Binary(operator="==" | "!="):
                return self._equality(node, wanted)
            case IsIn():
                return self._membership(node, wanted)
        found = self.value(node)
        if found.kind is bool and wanted:
            return found
        if found.is_certain:
            return Rendered(f"not {found.at(_NOT)}", False, bool, _NOT)
        first, again = self._named(found)
        if found.kind is bool:
            return Rendered(f"{first} is not None and not {again}", False, bool, _AND)
        check = f"{again} is not None and {self._names.bind(truth_of)}({again}) is {wanted}"
        code = f"{first} is {wanted} or {again} is not {not wanted} and {check}"
        return Rendered(code, False, bool, _OR)

    def _equality(self, node: Binary, wanted: bool) -> Rendered:
        """Compare so that null counts as false, computing both sides in any case."""
        left, right = self.value(node.left), self.value(node.right)
        tested = [side for side in (left, right) if side.nullable]
        if (node.operator == "==") is wanted:
            tested = [left] if tested == [left, right] else []  # None equals nothing but None
        codes, tests = [], []
        for side in (left, right):
            if any(side is each for each in tested):
                first, again = self._named(side)
                codes.append(first)
                tests.append(f"{again} is not None")
            else:
                codes.append(side.at(_ADD))
        comparison = f"{codes[0]} {node.operator} {codes[1]}"
        code = " and ".join([comparison if wanted else f"not {comparison}", *tests])
        return Rendered(code, False, bool, _AND if tests else _COMPARE if wanted else _NOT)

    def _membership(self, node: IsIn, wanted: bool) -> Rendered:
        operand, members = self.value(node.operand), self._names.bind(node.values)
        if wanted:  # None is no member
            return Rendered(f"{operand.at(_ADD)} in {members}", False, bool, _COMPARE)
        first, again = self._named(operand)
        code = f"{first} not in {members} and {again} is not None"
        return Rendered(code, False, bool, _AND)

    # -- names ----------------------------------------------------------------------------------

    def _named(self, rendered: Rendered) -> tuple[str, str]:
        """Return code for the first use of a value, which names it, and for later ones."""
        if rendered.code == self._record:
            return self._record, self._record
        name = self._names.temporary()
        return f"({name} := {rendered.code})", name

    def _unless_null(
        self,
        rendered: Rendered,
        use: Callable[[str], str],
        kind: type | None = None,
        null: str = "None",
    ) -> Rendered:
        first, again = self._named(rendered)
        return Rendered(f"({null} if {first} is None else {use(again)})", True, kind)


_WRITE: dict[type[Node], Callable[[ExpressionWriter, Any], Rendered]] = {
    Record: ExpressionWriter._it,
    Constant: ExpressionWriter._constant,
    Field: ExpressionWriter._field,
    Binary: ExpressionWriter._binary,
    Logical: ExpressionWriter._logical,
    Not: ExpressionWriter._not,
    IsNull: ExpressionWriter._is_null,
    FillNull: ExpressionWriter._fill_null,
    IsIn: ExpressionWriter._is_in,
    Between: ExpressionWriter._between,
    Case: ExpressionWriter._case,
    Call: ExpressionWriter._call,
}


class _GuardedField:
    """Reads a field named like a method of dict, list or str, which `x.items` would give instead.

    The types for which the plain attribute is right are remembered: looking into a set costs a
    third of the call (22 against 71 ns).
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.plain: set[type] = set()

    def read(self, record: Any) -> Any:
        value = read_field(record, self.name)
        if not is_mapping(record):
            self.plain.add(type(record))
        return value


def _joined(conjunction: bool, parts: list[Rendered], nullable: bool) -> Rendered:
    word, level = ("and", _AND) if conjunction else ("or", _OR)
    code = f" {word} ".join(part.at(level + 1) for part in parts)
    return Rendered(code, nullable, bool, level)


def _argument(writer: ExpressionWriter, value: Any) -> str:
    return value.__name__ if isinstance(value, type) else writer.value(Constant(value)).code


def _reads_record(node: Node) -> bool:
    return any(isinstance(each, Record) for each in node.walk())


def _common(*values: Rendered) -> type | None:
    """Return the kind of a value that is one of several."""
    kinds = {value.kind for value in values} - {_NULL}
    if kinds == {bool}:
        return bool
    return int if kinds and kinds.issubset(_NUMBERS) else None
