"""``explain`` as text, for a terminal of 100 columns."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from millstream.core.job_graph import Access, JobEdge, JobGraph
from millstream.graph.explain.wording import (
    NO_UID,
    RUNS,
    RUNS_MEANING,
    counts,
    fingerprints,
    loops,
    output,
    printable,
    spread,
    task_lines,
    task_name,
    what,
)
from millstream.graph.stream_graph import StreamGraph

COLUMNS = 100
_GAP = 2  # blanks between two columns of a table
_LAST = 40  # the last column, the one of free text, keeps so much if it needs it
_BREAKS = re.compile(r"[+,._/:→-]")  # where a word that is too long is cut


def to_text(stream_graph: StreamGraph, job_graph: JobGraph) -> str:
    """Return both graphs as text."""
    sections = [
        _summary(job_graph),
        _stream_graph(stream_graph),
        _states(job_graph),
        _job_graph(job_graph),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _summary(job_graph: JobGraph) -> list[str]:
    title = f"{printable(job_graph.job)} ({job_graph.mode}): {counts(job_graph)}"
    facts = [
        ["delivery", f"{job_graph.guarantee}: {printable(job_graph.guarantee_reason)}"],
        *([name, f"{digest}  ({text})"] for name, digest, text in fingerprints(job_graph)),
    ]
    return [
        *_wrap(title, COLUMNS),
        "",
        *(line for each in task_lines(job_graph) for line in _hanging(each, 4)),
        "",
        *_table(facts, indent=2),
    ]


def _stream_graph(stream_graph: StreamGraph) -> list[str]:
    rows = [["operator", "kind", "input", "runs", "at", "what"]]
    specs = [node.spec for node in stream_graph.nodes()]
    for node, spec in zip(stream_graph.nodes(), specs, strict=True):
        name = printable(spec.id if spec.uid else f"({spec.id})")
        inputs = ", ".join(output(edge.source, edge.tag) for edge in node.inputs)
        where = [RUNS[spec.access], printable(spec.defined_at) or "-"]
        rows.append([name, spec.kind, inputs or "-", *where, what(spec) or "-"])
    used = {spec.access for spec in specs}
    meanings = [[RUNS[each], RUNS_MEANING[each]] for each in Access if each in used]
    if not all(spec.uid for spec in specs):
        meanings.append(["(name)", NO_UID])
    table, legend = _table(rows, indent=2), _table(meanings, indent=2)
    return ["StreamGraph: the operators as written", "", *table, "", *legend]


def _states(job_graph: JobGraph) -> list[str]:
    rows = [
        [printable(f"{spec.id}.{each.name}"), each.kind, printable(each.type)]
        for spec in job_graph.operators()
        for each in spec.states
    ]
    return ["State", "", *_table([["state", "kind", "type"], *rows], indent=2)] if rows else []


def _job_graph(job_graph: JobGraph) -> list[str]:
    lines = ["JobGraph: the tasks that run, and why each chain ends", ""]
    rows = iter(_rows([_edge(edge) for edge in _in_order(job_graph)], indent=6))
    leaving = [edge.source for edge in job_graph.edges]
    for number, vertex in enumerate(job_graph.vertices, 1):
        lines += _hanging(f"{number:>3}  {task_name(vertex)}", 0, 5)
        for _ in range(leaving.count(vertex.id)):
            lines += next(rows)
        if vertex.id not in leaving:
            lines.append(f"{'':6}ends here")
    numbers = {vertex.id: str(number) for number, vertex in enumerate(job_graph.vertices, 1)}
    for loop in loops(job_graph):
        tasks = _enumeration([numbers[vertex.id] for vertex in loop])
        lines += ["", *_hanging(f"At parallelism 1, tasks {tasks} are fused into one loop.", 2)]
    return lines


def _in_order(job_graph: JobGraph) -> Iterator[JobEdge]:
    for vertex in job_graph.vertices:
        yield from (edge for edge in job_graph.edges if edge.source == vertex.id)


def _edge(edge: JobEdge) -> list[str]:
    origin = f"{output(edge.source_operator, edge.tag)} " if edge.tag else ""
    return [f"{origin}→ {printable(edge.target_operator)}", spread(edge), printable(edge.reason)]


def _enumeration(words: list[str]) -> str:
    return ", ".join(words[:-1]) + f" and {words[-1]}"


# -- fitting into columns -----------------------------------------------------------------------


def _table(rows: list[list[str]], indent: int) -> list[str]:
    return [line for lines in _rows(rows, indent) for line in lines]


def _rows(rows: list[list[str]], indent: int) -> list[list[str]]:
    """Return the lines of each row; cells wrap within their columns, the last has the rest."""
    if not rows:
        return []
    *widths, last = [max(map(_width, cells)) for cells in zip(*rows, strict=True)]
    room = COLUMNS - indent - _GAP * len(widths)
    while sum(widths) > room - min(last, _LAST):
        widths[widths.index(max(widths))] -= 1
    widths.append(room - sum(widths))
    return [_row(row, widths, indent) for row in rows]


def _row(row: list[str], widths: list[int], indent: int) -> list[str]:
    cells = [_wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    lines = []
    for number in range(max(map(len, cells))):
        texts = [cell[number] if number < len(cell) else "" for cell in cells]
        padded = [
            text + " " * (width - _width(text)) for text, width in zip(texts, widths, strict=True)
        ]
        lines.append((" " * indent + (" " * _GAP).join(padded)).rstrip())
    return lines


def _hanging(text: str, indent: int, further: int = 4) -> list[str]:
    """Wrap text; lines after the first are indented further."""
    first, *rest = _wrap(text, COLUMNS - indent - further)
    lines = [" " * indent + first, *(" " * (indent + further) + line for line in rest)]
    return [line.rstrip() for line in lines]


def _wrap(text: str, room: int) -> list[str]:
    lines, line = [], ""
    for number, word in enumerate(text.split(" ")):
        longer = f"{line} {word}" if number else word
        if _width(longer) <= room:
            line = longer
            continue
        if line.strip():
            lines.append(line)
        while _width(word) > room:
            cut = _cut(word, room)
            lines.append(word[:cut])
            word = word[cut:]
        line = word
    return [*lines, line]


def _cut(word: str, room: int) -> int:
    """Return how much of a word to put into a line, at a natural place if there is one."""
    fits = next(
        count for count in range(len(word), 0, -1) if _width(word[:count]) <= room or count == 1
    )
    natural = [match.end() for match in _BREAKS.finditer(word, 0, fits)]
    return natural[-1] if natural and natural[-1] > fits // 3 else fits


def _width(text: str) -> int:
    """Return how many columns text takes: an East Asian character two, a combining mark none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF")
        for each in text
    )
