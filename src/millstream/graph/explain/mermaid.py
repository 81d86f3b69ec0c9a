"""``explain`` as a Mermaid flowchart: a subgraph per task, a node per operator."""

from __future__ import annotations

import textwrap

from millstream.core.job_graph import Access, JobGraph, JobVertex, OperatorSpec
from millstream.graph.explain.wording import (
    RUNS,
    RUNS_MEANING,
    counts,
    fingerprints,
    loops,
    printable,
    spread,
    task_lines,
    what,
)
from millstream.graph.stream_graph import StreamGraph

_LINE = 26  # characters in a line of a label: Mermaid breaks what is wider than 200 px itself
_NO_SPACE = "\u200b"  # a blank of no width
_WITHIN_WORDS = "._-+="  # harmless between two letters or digits, else Markdown may take them


def to_mermaid(stream_graph: StreamGraph, job_graph: JobGraph) -> str:
    """Return both graphs as one flowchart; what fills a node or an arrow stands in its label."""
    names = {node.id: f"n{number}" for number, node in enumerate(stream_graph.nodes())}
    specs = {node.id: node.spec for node in stream_graph.nodes()}
    lines = ["flowchart LR", f"  about[{_label(_about(job_graph))}]"]
    for number, vertex in enumerate(job_graph.vertices):
        # The chain stands above: a longer title is drawn over the nodes.
        lines.append(f"  subgraph t{number}[{_label([f'task {number + 1}'])}]")
        for spec in vertex.operators:
            lines.append(f"    {names[spec.id]}[{_label(_operator(specs[spec.id]))}]")
        lines += _chain(vertex, names)
        lines.append("  end")
    for edge in job_graph.edges:
        arrow = "-.->" if edge.fused else "-->"
        side = [] if edge.tag is None else [f"side output: {edge.tag}"]
        label = _label([*side, spread(edge), edge.reason])
        ends = names[edge.source_operator], names[edge.target_operator]
        lines.append(f"  {ends[0]} {arrow}|{label}| {ends[1]}")
    return "\n".join(lines) + "\n"


def _about(job_graph: JobGraph) -> list[str]:
    numbers = {vertex.id: str(number) for number, vertex in enumerate(job_graph.vertices, 1)}
    used = {spec.access for spec in job_graph.operators()}
    return [
        f"{job_graph.job} ({job_graph.mode}): {counts(job_graph)}",
        *task_lines(job_graph),
        f"delivery {job_graph.guarantee}: {job_graph.guarantee_reason}",
        *(f"{name} {digest} ({text})" for name, digest, text in fingerprints(job_graph)),
        *(
            f"one loop at parallelism 1: tasks {', '.join(numbers[each.id] for each in loop)}"
            for loop in loops(job_graph)
        ),
        *(f"{RUNS[each]}: {RUNS_MEANING[each]}" for each in Access if each in used),
    ]


def _operator(spec: OperatorSpec) -> list[str]:
    unnamed = [] if spec.uid else ["no uid"]
    states = [f"state {each.name}: {each.kind} {each.type}" for each in spec.states]
    return [spec.id, f"{spec.kind} ({RUNS[spec.access]})", *unnamed, what(spec), *states]


def _chain(vertex: JobVertex, names: dict[str, str]) -> list[str]:
    chain = " --> ".join(names[spec.id] for spec in vertex.operators)
    return [f"    {chain}"] if len(vertex.operators) > 1 else []


def _label(paragraphs: list[str]) -> str:
    """Return a quoted label; each paragraph begins a line, and long ones take several."""
    lines = [
        line for paragraph in paragraphs for line in textwrap.wrap(printable(paragraph), _LINE)
    ]
    return '"' + "<br/>".join(map(_escape, lines)) + '"'


def _escape(line: str) -> str:
    """Escape as Mermaid's entity codes, ``#34;``; letters of any language stay readable."""
    # Two signs that Mermaid acts on even when they are escaped: a formula and a line break.
    line = line.replace("$$", f"${_NO_SPACE}$").replace("\\n", f"\\{_NO_SPACE}n")
    return "".join(
        sign if _is_plain(line, at) else f"#{ord(sign)};" for at, sign in enumerate(line)
    )


def _is_plain(line: str, at: int) -> bool:
    """Return whether a sign means nothing to Mermaid, to HTML, or to Markdown at this place."""
    sign = line[at]
    if sign in _WITHIN_WORDS:
        joins = line[at - 1 : at].isalnum() and line[at + 1 : at + 2].isalnum()
        return joins and not line[:at].lower().endswith("www")  # which would become a link
    if sign == ")":
        return not line[:at].isdigit()  # "1)" begins a list
    return sign.isalnum() or sign in " ,(→"
