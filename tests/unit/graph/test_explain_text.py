"""``explain`` as text: golden, within 100 columns."""

import unicodedata

from hypothesis import given

from millstream.core.job_graph import Access, JobMode
from millstream.graph.explain import explain
from millstream.graph.optimizer import optimize
from millstream.graph.stream_graph import StreamGraph
from tests.unit.graph.example_graphs import (
    NASTY,
    PlainMap,
    after,
    architecture_example,
    one_of_every_sort,
    sink,
    source,
    stream_graphs,
)

ARCHITECTURE = """\
revenue (STREAMING): 6 operators, 3 tasks

    [source+map+filter] → key_by → [window+sink]

  delivery   at_least_once: sink 'sink' shows records as they come, and again those behind the last
             checkpoint
  structure  c330bf7ef69de582  (operators, edges, keys, states)
  state      81e7bf3d5f5a27df  (what saved state must fit)
  code       CODE_FINGERPRINT  (shown, but no bar to a resume)

StreamGraph: the operators as written

  operator  kind    input   runs        at             what
  source    source  -       edge        revenue.py:10  read_orders boundedness=bounded
  map       map     source  call        revenue.py:11  price
  filter    filter  map     expression  revenue.py:12  col("amount") > 0
  key_by    key_by  filter  expression  revenue.py:13  user
  window    window  key_by  expression  revenue.py:14  size_ms=60000
  sink      sink    window  edge        revenue.py:15  send

  call        a Python call per record
  expression  per record, written into the loop: no call
  edge        beside the engine's loop

State

  state         kind      type
  window.total  reducing  int

JobGraph: the tasks that run, and why each chain ends

  1  [source+map+filter]
      → key_by  forward, fused  key_by repartitions: records of one key must meet in one place
  2  key_by
      → window  hash, fused     behind a key_by a new partition begins
  3  [window+sink]
      ends here

  At parallelism 1, tasks 1, 2 and 3 are fused into one loop.
"""

EVERY_SORT_OPERATORS = """\
  operator         kind         input            runs   at         what
  web              source       -                edge   job.py:1   read_orders boundedness=bounded
  shop             source       -                edge   job.py:2   read_orders boundedness=bounded
  (map-1)          map          web              call   job.py:3   lambda
  orders           union        map-1, shop      chunk  job.py:4   -
  by_size          split        orders           call   job.py:5   lambda names=big, small
  look_up          map_async    by_size (big)    edge   job.py:6   price capacity=100
  big_orders       sink         look_up          edge   job.py:7   send
  (map_batches-1)  map_batches  by_size (small)  chunk  job.py:8   sorted max_size=512
  (key_by-1)       key_by       map_batches-1    call   job.py:9   lambda
  totals           process      key_by-1         call   job.py:10  Process
  results          sink         totals           edge   job.py:11  send
  late_results     sink         totals (late)    edge   job.py:12  send
  alone            source       -                edge   job.py:13  read_orders boundedness=bounded
  alone_sink       sink         alone            edge   job.py:14  send

  call    a Python call per record
  chunk   per chunk of records
  edge    beside the engine's loop
  (name)  no uid: a display name, which may change with the job
"""

EVERY_SORT_TASKS = """\
  1  [web+map-1]
      → orders                         forward         union merges several inputs
  2  shop
      → orders                         forward         union merges several inputs
  3  [orders+by_size]
      by_size (big) → look_up          forward         map_async waits beside the stream
      by_size (small) → map_batches-1  forward         side output 'small' leaves the chain
  4  [look_up+big_orders]
      ends here
  5  map_batches-1
      → key_by-1                       forward, fused  key_by repartitions: records of one key must
                                                       meet in one place
  6  key_by-1
      → totals                         hash, fused     behind a key_by a new partition begins
  7  [totals+results]
      totals (late) → late_results     forward         side output 'late' leaves the chain
  8  late_results
      ends here
  9  [alone+alone_sink]
      ends here

  At parallelism 1, tasks 5, 6 and 7 are fused into one loop.
"""


def text_of(graph: StreamGraph) -> str:
    return explain(graph, optimize(graph), "text")


def columns(line: str) -> int:
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in line
    )


def test_the_architectures_example() -> None:
    graph = architecture_example()
    code = optimize(graph).code_fingerprint  # which differs between versions of Python
    assert text_of(graph) == ARCHITECTURE.replace("CODE_FINGERPRINT", code)


def test_branches_unions_side_outputs_and_several_sinks() -> None:
    text = text_of(one_of_every_sort())
    assert EVERY_SORT_OPERATORS in text
    assert EVERY_SORT_TASKS in text


def test_graph_that_is_no_line_takes_several_which_show_each_edge_once() -> None:
    assert """
    [web+map-1] → [orders+by_size] (big) → [look_up+big_orders]
    shop → [orders+by_size] (small) → map_batches-1 → key_by-1 → [totals+results] (late) →
        late_results
    [alone+alone_sink]
""" in text_of(one_of_every_sort())


def test_section_on_state_is_left_out_where_there_is_none() -> None:
    graph = StreamGraph("stateless", JobMode.STREAMING)
    graph.add(source(), uid="in")
    graph.add(sink(), after("in"), uid="out")
    text = text_of(graph)
    assert "State\n" not in text
    assert "fused" not in text
    assert "stateless (STREAMING): 2 operators, 1 task\n" in text


def test_what_is_too_wide_is_wrapped_and_never_cut() -> None:
    graph = StreamGraph("wide", JobMode.STREAMING)
    long, options = "orders." + "x" * 200, {"sql": "SELECT " + "a, " * 80 + "z FROM t"}
    graph.add(source(), uid=long)
    graph.add(PlainMap(options=options, access=Access.BATCH), after(long), uid="map")
    text = text_of(graph)
    assert max(map(columns, text.splitlines())) <= 100
    assert text.count("a,") == 80
    assert text.count("x") >= 3 * 200


def test_east_asian_names_keep_the_columns_straight() -> None:
    graph = StreamGraph("订单", JobMode.STREAMING)
    graph.add(source(), uid="订单来源", defined_at="job.py:1")
    graph.add(sink(), after("订单来源"), uid="out", defined_at="job.py:2")
    lines = [line for line in text_of(graph).splitlines() if "job.py" in line]
    assert [columns(line.split("job.py")[0]) for line in lines] == [36, 36]


def test_control_characters_are_shown_escaped() -> None:
    graph = StreamGraph("a\x1b[31mred\n", JobMode.STREAMING)
    graph.add(source(), uid="in\n\t\x00", defined_at="job\x07.py:1")
    text = text_of(graph)
    assert "a\\x1b[31mred\\n (STREAMING)" in text
    assert "in\\n\\t\\x00" in text
    assert text.replace("\n", "").isprintable()


@given(stream_graphs(NASTY))
def test_any_graph_fits_a_terminal(graph: StreamGraph) -> None:
    text = text_of(graph)
    assert max(map(columns, text.splitlines())) <= 100
    assert text.replace("\n", "").isprintable()
    assert not [line for line in text.splitlines() if line != line.rstrip(" ")]


@given(stream_graphs())
def test_any_graph_shows_each_operator_and_each_task_once(graph: StreamGraph) -> None:
    job_graph = optimize(graph)
    text = text_of(graph).partition("JobGraph: ")
    for node in graph.nodes():
        assert text[0].count(f"\n  {node.id} ") == 1
    numbers = [line.split()[0] for line in text[2].splitlines() if line[:3].strip().isdigit()]
    assert numbers == [str(number + 1) for number in range(len(job_graph.vertices))]
