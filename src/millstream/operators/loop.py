"""The loop over a chunk's records, while operators write themselves into it.

A chain becomes one generated Python function (see ``docs/explanation/engine.md``). Operators call
the methods here in chain order; each line remembers the operator it came from, which is how a
traceback through generated code finds the operator that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from millstream.core.errors import RecordError
from millstream.core.expression import Expr
from millstream.core.expression_code import NameSpace, render, render_condition
from millstream.core.expression_value import is_mapping
from millstream.core.key import check_key
from millstream.runtime.state.base import StateBackend, Table

AccessKind = Literal["item", "attribute"]
_BREATH = 8192  # results of a flat_map after which the engine looks at its inbox
MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING"})()


class Fallback:
    """Evaluates an expression the careful way where the written-out code raised.

    It also notices that the loop was written for the other kind of record.
    """

    __slots__ = ("access", "evaluate", "mismatches")

    def __init__(self, evaluate: Callable[[Any], Any], access: AccessKind) -> None:
        self.evaluate = evaluate
        self.access = access
        self.mismatches = 0

    def __call__(self, record: Any) -> Any:
        """Return the expression's value, or raise what names the field and the record."""
        if is_mapping(record) is not (self.access == "item"):
            self.mismatches += 1
        try:
            return self.evaluate(record)
        except RecordError as error:
            raise error from error.__cause__  # not also from what the fast code said


class Loop:
    """Collects the lines of one generated function.

    Attributes:
        operator: the id of the operator that is writing.
        uid: its uid, for state.
        lazy: the function is to be a generator that stops when its output is large enough.
        fallbacks: of the expressions, which notice records of the other kind.
        drains: ``(operator, results)``: what operators emit when the input has ended.
        counters: the variable in which each ``(operator, term)`` is counted.
        side_outputs: ``(operator, tag)`` of each output list behind the main one.
        emits_main: the record in hand leaves at the end of the loop.
    """

    def __init__(self, states: StateBackend, access: AccessKind, kept: dict[str, Any]) -> None:
        self.states = states
        self.access: AccessKind = access
        self.operator = ""
        self.uid: str | None = None
        self.lazy = False
        self.names = NameSpace()
        self.fallbacks: list[Fallback] = []
        self.drains: list[tuple[str, Callable[[], Iterator[Any]]]] = []
        self.counters: dict[tuple[str, str], str] = {}
        self.side_outputs: list[tuple[str, str]] = []
        self.emits_main = True
        self._kept = kept
        self._lines: list[tuple[int, str, str]] = []
        self._prologue: list[str] = []
        self._epilogue: list[str] = []
        self._calls: list[tuple[str, str]] = []  # functions to nest around v: (name, operator)
        self._depth = 3
        self._keys: dict[int, str] = {}  # the variable of each key_by's key
        self._fresh = 0

    # -- values ---------------------------------------------------------------------------------

    def bind(self, value: Any) -> str:
        """Return a name by which the generated code knows ``value``."""
        return self.names.bind(value)

    def keep(self, name: str, make: Callable[[], Any]) -> Any:
        """Return an object of this operator's that outlives the loop's being written anew."""
        key = f"{self.operator}/{name}"
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def fresh(self, stem: str) -> str:
        """Return a variable's name that nobody else uses."""
        self._fresh += 1
        return f"{stem}{self._fresh}"

    def call(self, function: Any) -> None:
        """Let the record be ``function(record)``; consecutive calls are nested, one per line."""
        self._calls.append((self.bind(function), self.operator))

    def value(self) -> str:
        """Return the variable that holds the record, computing it first if need be."""
        if self._calls:
            self._nested("v = ", "")
        return "v"

    def line(self, code: str) -> None:
        """Add a line at the current depth."""
        self._lines.append((self._depth, code, self.operator))

    def check_write(self, state: Table, name: str) -> None:
        """Let a variable's value be refused, if snapshots of a state could not keep it."""
        if state.check is not None:
            last, check = self.fresh("last"), self.bind(state.check)
            self.prologue(f"{last} = None")
            self.line(f"if type({name}) is not {last}: {last} = {check}({name})")

    def prologue(self, code: str) -> None:
        """Add a line that runs once per call, before the loop."""
        self._prologue.append(code)

    def epilogue(self, code: str) -> None:
        """Add a line that runs once per call, behind the loop, also after a failure."""
        self._epilogue.append(code)

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Indent what is written inside; ``header`` ends with a colon."""
        self.line(header)
        self._depth += 1
        yield
        self._depth -= 1

    def expression(self, expression: Expr, into: str) -> None:
        """Compute an expression of the record into a variable.

        The fast code raises wherever it could differ from ``Expr.evaluate`` (null, another kind
        of record, a true error); an expression is pure, so it is then evaluated again with care.
        A ``try`` costs nothing on CPython 3.11 while nothing is raised.
        """
        record = self.value()
        code = render(expression, record, self.access, self.names).code
        self.line(f"try: {into} = {code}")
        self.line(f"except Exception: {into} = {self._fallback(expression.evaluate)}({record})")

    def _fallback(self, evaluate: Callable[[Any], Any]) -> str:
        fallback = Fallback(evaluate, self.access)
        self.fallbacks.append(fallback)
        return self.bind(fallback)

    def compute(self, function: Any, into: str) -> None:
        """Compute a function or an expression of the record into a variable."""
        if isinstance(function, Expr):
            self.expression(function, into)
        else:
            record = self.value()
            self.line(f"{into} = {self.bind(function)}({record})")

    # -- flow -----------------------------------------------------------------------------------

    def keep_if(self, condition: Any) -> None:
        """Go on with the record only if a function or an expression of it holds; else count it.

        The comparison stands in the ``if`` itself: CPython 3.11 fuses the two, which is worth
        11 % of a short chain.
        """
        record = self.value()
        if not isinstance(condition, Expr):
            self._leave_unless(f"{self.bind(condition)}({record})")
            return
        code = render_condition(condition, record, self.access, self.names).code
        with self.block("try:"):
            self._leave_unless(f"({code})")
        with self.block("except Exception:"):
            self._leave_unless(f"{self._fallback(condition.holds)}({record})")

    def _leave_unless(self, condition: str) -> None:
        with self.block(f"if not {condition}:"):
            self.line(f"{self.counter('filtered')} += 1")
            self.line("continue")

    def for_each(self, results: str) -> None:
        """Go on once for each of ``results``; everything written later is inside that loop."""
        self.lazy = True
        self.line(f"for v in {results}:")
        self._depth += 1
        counter = self.counter("results")
        self.line(f"{counter} += 1")
        # Also where nothing is emitted for long, a cancel or a barrier must get its turn.
        self.line(f"if not {counter} & {_BREATH - 1}: yield")

    def counter(self, term: str) -> str:
        """Return the variable in which this operator counts ``term``."""
        key = (self.operator, term)
        if key not in self.counters:
            self.counters[key] = f"n{len(self.counters)}"
        return self.counters[key]

    def key(self, selector: object, compute: Callable[[str], None], *, check: bool) -> str:
        """Return the variable that holds the record's key, computed and checked once.

        Args:
            selector: whose key it is; a loop may have several ``key_by``, each with its own.
            compute: writes the lines that put the key into the variable it is given.
            check: look at the type of each record's key.
        """
        variable = self._keys.get(id(selector))
        if variable is None:
            variable = self._keys[id(selector)] = self.fresh("key")
            compute(variable)
            if check:
                self._write_key_check(variable)
        return variable

    def _write_key_check(self, key: str) -> None:
        """Refuse a key of another type than the first one's: one `is` per record."""
        kind, check = self.fresh("kind"), self.bind(self.keep("key", _KeyCheck))
        self.prologue(f"{kind} = {check}.kind")
        with self.block(f"if type({key}) is not {kind}:"):
            self.line(f"{kind} = {check}({key})")

    def side_output(self, tag: str) -> str:
        """Return the variable by which the loop appends to a side output."""
        self.side_outputs.append((self.operator, tag))
        number = len(self.side_outputs)
        self.prologue(f"side{number} = outs[{number}].append")
        return f"side{number}"

    # -- the finished text ----------------------------------------------------------------------

    def emit(self) -> None:
        """Write the end of the chain: the record leaves."""
        if not self.emits_main:
            self.value()
        elif self._calls:
            self._nested("out.append(", ")")  # measured to be faster than a bound append
        else:
            self.line("out.append(v)")
        if self.lazy and self.emits_main:
            self.line("if len(out) >= limit[0]: yield")

    def text(self, name: str) -> tuple[str, list[str]]:
        """Return the function's source, and for each line of it the operator it came from."""
        lines: list[tuple[str, str]] = [(f"def {name}(records, outs, limit, counts):", "")]
        lines.append(("    out = outs[0]", ""))
        lines += [(f"    {code}", "") for code in self._prologue]
        counters = list(self.counters.values())
        if counters:
            lines.append((f"    {' = '.join(counters)} = 0", ""))
        lines.append(("    try:", ""))
        lines.append(("        for v in records:", ""))
        lines += [("    " * depth + code, operator) for depth, code, operator in self._lines]
        lines.append(("    finally:", ""))
        lines += [(f"        counts[{i}] += {counter}", "") for i, counter in enumerate(counters)]
        lines += [(f"        {code}", "") for code in self._epilogue]
        if not counters and not self._epilogue:
            lines.append(("        pass", ""))
        return "\n".join(code for code, _ in lines) + "\n", [owner for _, owner in lines]

    def _nested(self, before: str, after: str) -> None:
        """Write the nested calls, each on a line of its own, outermost first.

        CPython gives a call the line of its function's name, so a traceback still tells which
        of them failed.
        """
        calls, self._calls = self._calls, []
        operator = self.operator
        for number, (function, owner) in enumerate(reversed(calls)):
            self.operator = owner
            self.line(f"{before if not number else ''}{function}(")
        self.line("v" + ")" * len(calls) + after)
        self.operator = operator


class _KeyCheck:
    """Remembers the type of a stream's keys."""

    __slots__ = ("kind", "signature")

    def __init__(self) -> None:
        self.kind: type | None = None
        self.signature: type | tuple[Any, ...] | None = None

    def __call__(self, key: Any) -> type | None:
        self.signature = check_key(key, self.signature)
        if type(key) is not tuple:  # a tuple's parts have to be looked at each time
            self.kind = type(key)
        return self.kind
