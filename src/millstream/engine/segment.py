"""A run of row operators as one generated function, and what it takes to call it again and again.

The function takes an iterator of records and appends to output lists. Where a record fails, the
iterator stands just behind it and everything before has been appended, so the same call with the
same iterator goes on with the next record: a failing record costs only itself, and no function
ever sees a record twice. ``length_hint`` tells which record it was, at no cost while nothing fails.

Where there are only expressions, a list comprehension does the same in four fifths of the time.
It cannot go on behind a record that it fails on, so the loop then runs the list from its beginning.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count, islice
from operator import length_hint
from types import TracebackType
from typing import Any

from millstream.core.codec import Decoder, Lines
from millstream.core.errors import OperatorError
from millstream.core.expression_value import is_mapping
from millstream.core.wording import said, shown
from millstream.operators.definition import RowOperator
from millstream.operators.loop import AccessKind, Loop
from millstream.operators.process import LiveProcess
from millstream.runtime.state.base import StateBackend

_MISMATCHES = 16  # records of the other kind in one chunk before the loop is written anew
_REWRITES = 4  # then records are simply mixed, and each takes the way that is right for it
_RERUNS = 16  # lists that the comprehension failed on before it is given up: nulls are common
_numbers = count(1)

Outs = list[list[Any]]
"""The main output, and behind it the side outputs in the order of ``Segment.side_outputs``."""


@dataclass(frozen=True, slots=True)
class ChainOperator:
    """One row operator of a segment.

    Attributes:
        id: the operator's id, for errors and counters.
        uid: the owner of its state.
        operator: what it is.
    """

    id: str
    uid: str | None
    operator: RowOperator


class RecordFailed(Exception):  # noqa: N818  # it carries a failure to the task, which names it
    """A record failed; its cause is the callback's exception.

    Attributes:
        operator: the id of the operator at fault.
        index: the record's place in what the step was given; -1 if it is not one of these.
        record: the record.
        batch: it is a list of records, of which the first is at ``index``.
    """

    def __init__(self, operator: str, index: int, record: Any, *, batch: bool = False) -> None:
        super().__init__(operator, index)
        self.operator = operator
        self.index = index
        self.record = record
        self.batch = batch

    @property
    def cause(self) -> BaseException:
        """Return the callback's own error."""
        return _own(self.__cause__) if self.__cause__ is not None else self


class Segment:
    """Operators that run as one loop.

    Args:
        operators: the operators, in order.
        states: where they keep keyed state.
        decoder: ``(source id, decoder)`` where the records come raw from a source.

    Attributes:
        side_outputs: ``(operator id, tag)`` of each side output.
        drains: ``(operator id, results)``: what is emitted when the input has ended.
        lazy: output is made as it is asked for.
        received: records taken.
        skipped: blank lines among what came raw.
        emitted: records in each output list.
        fired: how many of these are of timers.
    """

    def __init__(
        self,
        operators: Sequence[ChainOperator],
        states: StateBackend,
        decoder: tuple[str, Decoder[Any]] | None = None,
    ) -> None:
        self.operators = tuple(operators)
        self.ids = tuple(each.id for each in operators)
        self._states = states
        self._decoder = decoder
        self._decodes = decoder is not None
        self._access: AccessKind | None = None
        self._rewrites = 0
        self._reruns = 0
        self._kept: dict[str, Any] = {}
        self._filename = ""
        self._line_owners: list[str] = []
        self._function: Callable[..., Any]
        self._comprehension: Callable[[Sequence[Any]], list[Any]] | None
        self._loop = Loop(states, "item", self._kept)
        self._counts: list[int] = []
        self._totals: dict[tuple[str, str], int] = {}
        self._write("item")
        self.lazy = self._loop.lazy
        # What a process function has emitted and the loop has not yet put out.
        self._collected = next((live.made for _, live in self.processes() if not self.lazy), None)
        self.side_outputs = tuple(self._loop.side_outputs)
        self.drains = tuple(self._loop.drains)
        self.received = 0
        self.skipped = 0
        self._raw: Lines | None = None  # what is being run, before blank lines were left out
        self.emitted = [0] * (1 + len(self.side_outputs))
        self.fired = 0

    def processes(self) -> Iterator[tuple[str, LiveProcess]]:
        """Yield the live process functions, to be opened and closed."""
        for key, kept in self._kept.items():
            if isinstance(kept, LiveProcess):
                yield key.rpartition("/")[0], kept

    @property
    def simple(self) -> bool:
        """Return whether every record becomes at most one, on the main output."""
        return not (
            self.lazy
            or self.side_outputs
            or any(each.operator.ends_segment for each in self.operators)
        )

    @property
    def silent(self) -> bool:
        """Return whether nothing leaves before the input has ended."""
        return not self._loop.emits_main and not self.side_outputs and self._collected is None

    def run(self, values: Sequence[Any]) -> list[Any]:
        """Run records; return what the main output is given. Not if the segment is lazy.

        Raises:
            RecordFailed: with the callback's own exception as its cause.
        """
        values = self._prepare(values)
        records = iter(values)
        try:
            out = self._run_comprehension(values)
            if out is None:
                out = []
                self._function(records, (out,), None, self._counts)
        except BaseException as error:  # also of a callback that says sys.exit()
            raise self._failed(error, values, records) from error
        self._note_taken(values, len(values))
        self.emitted[0] += len(out)
        return out

    def _run_comprehension(self, values: Sequence[Any]) -> list[Any] | None:
        """Return what the comprehension makes of records, or None if the loop has to be run."""
        if self._comprehension is None:
            return None
        try:
            out = self._comprehension(values)
        except Exception:  # noqa: BLE001  # the loop says what it was, if it was a failure
            self._reruns += 1
            if self._reruns >= _RERUNS:
                self._comprehension = None
            return None
        if self._counts:
            self._counts[0] += len(values) - len(out)
        return out

    def run_until(
        self, values: Sequence[Any], rooms: Sequence[int], bite: int, most: int
    ) -> tuple[Outs, int]:
        """Run records until an output is full. Not if the segment is lazy.

        What the loop sees is one iterator. It costs 0.4 us a bite more than to run all of them.

        Args:
            values: the records.
            rooms: about how many records each output has room for.
            bite: records between two looks at the outputs.
            most: records to take at most.

        Returns:
            What each output is given, and how many of ``values`` were taken; at least one.

        Raises:
            RecordFailed: with the callback's own exception as its cause.
        """
        values = self._prepare(values)
        records = iter(values)
        outs: Outs = [[] for _ in self.emitted]
        filling = [outs[0] if self._collected is None else self._collected, *outs[1:]]

        def bites() -> Iterator[Iterator[Any]]:
            left = most
            while left > 0 and length_hint(records):
                yield islice(records, min(bite, left))
                left -= bite
                for out, room in zip(filling, rooms, strict=True):
                    if len(out) >= room:
                        return

        try:
            self._function(chain.from_iterable(bites()), outs, None, self._counts)
        except BaseException as error:  # also of a callback that says sys.exit()
            raise self._failed(error, values, records) from error
        self._count(outs)
        return outs, self._note_taken(values, len(values) - length_hint(records))

    def outputs(self, values: Sequence[Any], limit: list[int]) -> Iterator[Outs]:
        """Run records; yield output lists as they are full, the last time perhaps with nothing.

        Args:
            values: the records.
            limit: about how many records one yield may hold; it may change in between. Only
                operators that emit more than one record per record need to look.

        Raises:
            RecordFailed: with the callback's own exception as its cause.
        """
        values = self._prepare(values)
        self._note_taken(values, len(values))
        records = iter(values)
        try:
            if self.lazy:
                outs: Outs = [[] for _ in self.emitted]
                for _ in self._function(records, outs, limit, self._counts):
                    yield self._count([out.copy() for out in outs])
                    for out in outs:
                        out.clear()
                yield self._count(outs)
            else:
                outs = [[] for _ in self.emitted]
                self._function(records, outs, limit, self._counts)
                yield self._count(outs)
        except GeneratorExit:
            raise  # nobody wants the rest
        except BaseException as error:  # also of a callback that says sys.exit()
            raise self._failed(error, values, records) from error

    def timed(self) -> tuple[str, LiveProcess] | None:
        """Return the process function with timers, if there is one: it is the last operator."""
        return next((each for each in self.processes() if each[1].timers is not None), None)

    def fire(
        self, limit: list[int], in_time: Callable[[], bool], *, at_end: bool
    ) -> Iterator[Outs]:
        """Fire the timers that are due; yield output lists as they are full; see LiveProcess.

        Raises:
            OperatorError: ``on_timer`` failed.
        """
        timed = self.timed()
        if timed is None:
            return
        operator, live = timed
        outs: Outs = [[] for _ in self.emitted]
        try:
            for _ in live.fire(outs, limit, in_time, at_end):
                yield self._count_fired([out.copy() for out in outs])
                for out in outs:
                    out.clear()
        except GeneratorExit:
            raise  # nobody wants the rest
        except BaseException as error:  # also of a function that says sys.exit()
            raise _timer_failed(operator, live.firing, _own(error)) from error
        yield self._count_fired(outs)

    def term(self, operator: str, name: str) -> int:
        """Return what an operator has counted in the loop under ``name``."""
        key = (operator, name)
        current = dict(zip(self._loop.counters, self._counts, strict=True))
        return self._totals.get(key, 0) + current.get(key, 0)

    def owner_at(self, filename: str, line: int) -> str | None:
        """Return the operator that wrote a line, if the line is of this segment's function."""
        return self._line_owners[line - 1] if filename == self._filename else None

    @property
    def source(self) -> str:
        """Return the generated function, to read."""
        return "".join(linecache.getlines(self._filename))

    def close(self) -> None:
        """Forget the source that is kept for tracebacks."""
        linecache.cache.pop(self._filename, None)

    # -- writing the loop -----------------------------------------------------------------------

    def _failed(
        self, error: BaseException, values: Sequence[Any], records: Iterator[Any]
    ) -> RecordFailed:
        """Return which record failed: the iterator stands just behind it."""
        index = len(values) - length_hint(records) - 1
        record = values[index] if index >= 0 else None
        return RecordFailed(self._owner(_own(error).__traceback__), self._in_raw(index), record)

    def _in_raw(self, index: int) -> int:
        """Return a record's place among what was given, where blank lines count as well."""
        if self._raw is None:
            return index
        return [at for at, line in enumerate(self._raw) if line and not line.isspace()][index]

    def _note_taken(self, values: Sequence[Any], records: int) -> int:
        """Count records as taken; return how many that is of what was given."""
        self.received += records
        if self._raw is None:
            return records
        taken = self._in_raw(records) if records < len(values) else len(self._raw)
        self.skipped += taken - records
        return taken

    def _count(self, outs: Outs) -> Outs:
        for number, out in enumerate(outs):
            self.emitted[number] += len(out)
        return outs

    def _count_fired(self, outs: Outs) -> Outs:
        self.fired += sum(map(len, outs))
        return self._count(outs)

    def _prepare(self, values: Sequence[Any]) -> Sequence[Any]:
        """Decode what is raw, and have the loop written for the kind of records there are."""
        if self._decoder is not None:
            values = self._decode(values, self._decoder[1])
        if self._loop.fallbacks:
            if self._access is None and len(values):
                self._access = "item" if is_mapping(values[0]) else "attribute"
                self._write(self._access)
            else:
                self._adapt()
        return values

    def _decode(self, values: Sequence[Any], decoder: Decoder[Any]) -> Sequence[Any]:
        """Decode a block in one call where that works; else the loop decodes record by record."""
        decoded: Sequence[Any] | None = None
        self._raw = None
        if isinstance(values, Lines):
            decoded = _decoded(values, decoder)
            if decoded is None and decoder.skips_blank_lines:
                kept = Lines.of([line for line in values if line and not line.isspace()])
                if len(kept) < len(values):
                    self._raw = values
                    values, decoded = kept, _decoded(kept, decoder)
        if self._decodes is not (decoded is None):
            self._decodes = decoded is None
            self._write(self._access or "item")
        return values if decoded is None else decoded

    def _adapt(self) -> None:
        """Write the loop anew if the records turned out to be of the other kind."""
        mismatches = sum(fallback.mismatches for fallback in self._loop.fallbacks)
        for fallback in self._loop.fallbacks:
            fallback.mismatches = 0
        if mismatches >= _MISMATCHES and self._rewrites < _REWRITES:
            self._rewrites += 1
            self._access = "attribute" if self._access == "item" else "item"
            self._write(self._access)

    def _write(self, access: AccessKind) -> None:
        """Write and compile the function; counts and live objects are kept."""
        for key, number in zip(self._loop.counters, self._counts, strict=True):
            self._totals[key] = self._totals.get(key, 0) + number
        loop = Loop(self._states, access, self._kept)
        if self._decodes and self._decoder is not None:
            loop.operator, decoder = self._decoder
            loop.call(decoder.decode)
        for each in self.operators:
            loop.operator, loop.uid = each.id, each.uid
            each.operator.write(loop)
        loop.emit()
        source, self._line_owners = loop.text("chain")
        clauses = self._clauses(loop)
        if clauses:
            lines = ["def comprehension(records): return [v for v in records", *clauses, "]"]
            source += "".join(line + "\n" for line in lines)
            self._line_owners += ["", *self.ids, ""]
        self.close()
        chain = "+".join(each.id for each in self.operators)
        self._filename = f"<millstream chain {next(_numbers)}: {chain}>"
        lines = source.splitlines(keepends=True)
        linecache.cache[self._filename] = (len(source), None, lines, self._filename)
        namespace: dict[str, Any] = dict(loop.names.objects)
        exec(compile(source, self._filename, "exec"), namespace)  # noqa: S102  # our own text
        self._loop, self._function = loop, namespace["chain"]
        self._comprehension = namespace.get("comprehension")
        self._counts = [0] * len(loop.counters)

    def _clauses(self, loop: Loop) -> list[str]:
        """Return the clauses of a comprehension that does what the loop does; none: it cannot."""
        clauses = [each.operator.clause(loop) for each in self.operators]
        # What one filter has left out is seen from the length of the result; of two it is not.
        if self._decodes or len(loop.counters) > 1 or self._reruns >= _RERUNS:
            return []
        return [] if None in clauses else [clause for clause in clauses if clause]

    def _owner(self, traceback: TracebackType | None) -> str:
        """Return the operator whose line of the generated function raised."""
        owner = ""
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == self._filename:
                owner = self._line_owners[traceback.tb_lineno - 1]
            traceback = traceback.tb_next
        if not owner:
            owner = self.operators[-1].id if self.operators else "source"
        return owner


def _timer_failed(
    operator: str, timer: tuple[int, Hashable], error: BaseException
) -> OperatorError:
    time_ms, key = timer
    at = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(" ", "milliseconds")
    return OperatorError(
        f"operator {operator!r} failed in on_timer, on the timer of key {shown(key)} at {time_ms} "
        f"({at}): {said(error)}",
        operator_uid=operator,
    )


def _own(error: BaseException) -> BaseException:
    """Return the callback's own error: of a lazy loop, a generator, StopIteration is wrapped."""
    cause = error.__cause__
    return cause if isinstance(cause, StopIteration) and isinstance(error, RuntimeError) else error


def _decoded(lines: Lines, decoder: Decoder[Any]) -> Sequence[Any] | None:
    """Return the records of a block decoded in one call, or None where that does not work."""
    try:
        return decoder.decode_block(lines)
    except Exception:  # noqa: BLE001  # decoding line by line finds the line and says which
        return None
