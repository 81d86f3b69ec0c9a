"""``explain`` as Mermaid: golden, and labels that nothing can break out of."""

import re

import pytest
from hypothesis import given

from millstream.core.job_graph import JobMode
from millstream.graph.explain import explain
from millstream.graph.optimizer import optimize
from millstream.graph.stream_graph import StreamGraph
from tests.unit.graph.example_graphs import (
    NASTY,
    architecture_example,
    one_of_every_sort,
    source,
    stream_graphs,
)

ARCHITECTURE = """\
flowchart LR
  about["revenue (STREAMING)#58; 6<br/>operators, 3 tasks<br/>#91;source+map+filter#93; →<br/>\
key_by → #91;window+sink#93;<br/>delivery at_least_once#58;<br/>\
sink #39;sink#39; shows records<br/>\
as they come, and again<br/>those behind the last<br/>checkpoint<br/>\
structure c330bf7ef69de582<br/>(operators, edges, keys,<br/>states)<br/>\
state 81e7bf3d5f5a27df<br/>(what saved state must<br/>fit)<br/>\
code CODE_FINGERPRINT<br/>(shown, but no bar to a<br/>resume)<br/>one loop at parallelism 1#58;\
<br/>tasks 1, 2, 3<br/>call#58; a Python call per<br/>record<br/>\
expression#58; per record,<br/>written into the loop#58; no<br/>call<br/>\
edge#58; beside the engine#39;s<br/>loop"]
  subgraph t0["task 1"]
    n0["source<br/>source (edge)<br/>read_orders<br/>boundedness=bounded"]
    n1["map<br/>map (call)<br/>price"]
    n2["filter<br/>filter (expression)<br/>col(#34;amount#34;) #62; 0"]
    n0 --> n1 --> n2
  end
  subgraph t1["task 2"]
    n3["key_by<br/>key_by (expression)<br/>user"]
  end
  subgraph t2["task 3"]
    n4["window<br/>window (expression)<br/>size_ms=60000<br/>state total#58; reducing int"]
    n5["sink<br/>sink (edge)<br/>send"]
    n4 --> n5
  end
  n2 -.->|"forward, fused<br/>key_by repartitions#58;<br/>records of one key must<br/>\
meet in one place"| n3
  n3 -.->|"hash, fused<br/>behind a key_by a new<br/>partition begins"| n4
"""

# What a line may be, each label being free of everything that ends or changes one.
LABEL = r'"(?:[^"<>#&`|\[\]{}\\$*~:/@%]|<br/>|#\d+;)*"'
LINES = [
    r"flowchart LR",
    rf"  about\[{LABEL}\]",
    rf"  subgraph t\d+\[{LABEL}\]",
    rf"    n\d+\[{LABEL}\]",
    r"    n\d+(?: --> n\d+)+",
    r"  end",
    rf"  n\d+ (?:-->|-\.->)\|{LABEL}\| n\d+",
]
LINE = re.compile("|".join(f"(?:{each})" for each in LINES))


def mermaid_of(graph: StreamGraph) -> str:
    return explain(graph, optimize(graph), "mermaid")


def label_of(uid: str) -> str:
    """Return how a node of that uid is labelled, without what follows the uid."""
    graph = StreamGraph("job", JobMode.STREAMING)
    graph.add(source(), uid=uid)
    match = re.search(r'    n0\["(.*)<br/>source', mermaid_of(graph))
    assert match
    return match.group(1)


def test_the_architectures_example() -> None:
    graph = architecture_example()
    code = optimize(graph).code_fingerprint
    assert mermaid_of(graph) == ARCHITECTURE.replace("CODE_FINGERPRINT", code)


def test_side_output_and_missing_uid_are_told() -> None:
    shown = mermaid_of(one_of_every_sort())
    assert '-->|"side output#58; late<br/>forward<br/>' in shown
    assert '["map-1<br/>map (call)<br/>no uid<br/>lambda"]' in shown


@pytest.mark.parametrize(
    ("uid", "label"),
    [
        ("per_minute.v2-a", "per_minute.v2-a"),
        ("订单", "订单"),
        ('say "x"', "say #34;x#34;"),
        ("a|b", "a#124;b"),
        ("a]--b", "a#93;#45;#45;b"),
        ("<b>&amp;", "#60;b#62;#38;amp#59;"),
        ("#35;", "#35;35#59;"),
        ("`code`", "#96;code#96;"),
        ("**bold**", "#42;#42;bold#42;#42;"),
        ("__init__", "#95;#95;init#95;#95;"),
        ("1. list", "1#46; list"),
        ("1) list", "1#41; list"),
        ("- list", "#45; list"),
        ("http://a.b", "http#58;#47;#47;a.b"),
        ("www.a.b", "www#46;a.b"),
        ("$$x$$", "#36;#8203;#36;x#36;#8203;#36;"),
        ("a\nb", "a#92;#8203;nb"),
    ],
)
def test_label_shows_what_would_mean_something(uid: str, label: str) -> None:
    assert label_of(uid) == label


@given(stream_graphs(NASTY))
def test_any_graph_has_each_operator_as_a_node_of_one_subgraph(graph: StreamGraph) -> None:
    job_graph = optimize(graph)
    lines = mermaid_of(graph).splitlines()
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    nodes = [
        line.split("[")[0].strip() for line in lines if line.startswith("    n") and "[" in line
    ]
    assert sorted(nodes) == sorted(f"n{number}" for number, _ in enumerate(graph.nodes()))
    assert sum(line.startswith("  subgraph") for line in lines) == len(job_graph.vertices)
    assert sum("|" in line for line in lines) == len(job_graph.edges)
