"""What each operator says of itself: the description that goes into a JobGraph."""

from __future__ import annotations

import json
from typing import Any

import pytest

import millstream as ms
from millstream.core.job_graph import Access, OperatorKind, OperatorSpec, StateSpec
from millstream.operators.aggregate import AggregateBy
from millstream.operators.key_by import KeyBy
from tests.support.hash_seeds import printed_under_hash_seeds

ME = f"{__name__}:"


def double(n: Any) -> Any:
    return n * 2


async def later(n: Any) -> Any:
    return n


def merge(old: Any, new: Any) -> Any:
    return new


class Counting(ms.KeyedProcessFunction[Any, Any]):
    seen = ms.ValueStateDescriptor(int, default=0)
    last = ms.ValueStateDescriptor(dict[str, int], default=None, name="previous")

    def process_element(self, value: Any, ctx: Any) -> None:
        pass


class Pushed(ms.Source[int]):
    can_be_slowed = False

    def run(self, ctx: Any) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {"topic": "clicks"}


class Ending(ms.Sink[int]):
    def invoke(self, value: int, ctx: Any) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {"table": "clicks"}


def endless(position: Any) -> Any:
    yield [], None


@pytest.fixture(scope="module")
def specs() -> dict[str, OperatorSpec]:
    job = ms.Job("job")
    numbers = job.source("sequence", stop=3, uid="in")
    job.source(Pushed(), uid="pushed", overflow="buffer")
    job.source(Pushed(), uid="dropped", overflow="drop")
    job.source(endless, uid="generated", boundedness=ms.Boundedness.UNBOUNDED)
    numbers.map(double, uid="map")
    numbers.map(ms.it * 2, uid="map expression")
    numbers.filter(ms.it > 1, uid="filter")
    numbers.filter(double, uid="filter function")
    numbers.flat_map(double, uid="flat_map")
    numbers.map_batches(double, max_size=7, uid="map_batches")
    numbers.map(later, uid="map async")
    numbers.map_async(
        later, uid="map_async", ordered=False, capacity=5, timeout="2s", retry=ms.Retry(attempts=4)
    )
    numbers.split(double, "a", "b", uid="split")
    numbers.union(numbers.map(str), uid="union")
    keyed = numbers.key_by("user", "day", uid="key_by")
    numbers.key_by(double, uid="key_by function")
    numbers.key_by(ms.it % 2, uid="key_by expression")
    keyed.reduce(merge, uid="reduce")
    keyed.reduce(merge, initial=(), uid="reduce from ()")
    keyed.aggregate(ms.count(), uid="count")
    keyed.aggregate(n=ms.count(), top=ms.max("n"), emit="final", uid="final")
    keyed.process(Counting(), uid="process", side_outputs=["late"])
    numbers.sink(Ending(), uid="sink")
    numbers.sink(print, uid="sink function")
    return {node.id: node.spec for node in job.stream_graph.nodes()}


KINDS = {
    "in": (OperatorKind.SOURCE, Access.EDGE),
    "generated": (OperatorKind.SOURCE, Access.EDGE),
    "map": (OperatorKind.MAP, Access.FUNCTION),
    "map expression": (OperatorKind.MAP, Access.EXPRESSION),
    "filter": (OperatorKind.FILTER, Access.EXPRESSION),
    "filter function": (OperatorKind.FILTER, Access.FUNCTION),
    "flat_map": (OperatorKind.FLAT_MAP, Access.FUNCTION),
    "map_batches": (OperatorKind.MAP_BATCHES, Access.BATCH),
    "map async": (OperatorKind.MAP_ASYNC, Access.EDGE),
    "map_async": (OperatorKind.MAP_ASYNC, Access.EDGE),
    "split": (OperatorKind.SPLIT, Access.FUNCTION),
    "union": (OperatorKind.UNION, Access.BATCH),
    "key_by": (OperatorKind.KEY_BY, Access.EXPRESSION),
    "key_by function": (OperatorKind.KEY_BY, Access.FUNCTION),
    "key_by expression": (OperatorKind.KEY_BY, Access.EXPRESSION),
    "reduce": (OperatorKind.REDUCE, Access.FUNCTION),
    "count": (OperatorKind.AGGREGATE, Access.EXPRESSION),
    "final": (OperatorKind.AGGREGATE, Access.EXPRESSION),
    "process": (OperatorKind.PROCESS, Access.FUNCTION),
    "sink": (OperatorKind.SINK, Access.EDGE),
}


def test_an_operator_says_what_it_is_and_how_it_meets_its_records(
    specs: dict[str, OperatorSpec],
) -> None:
    assert {uid: (specs[uid].kind, specs[uid].access) for uid in KINDS} == KINDS
    for uid in KINDS:
        assert specs[uid].uid == uid
        assert specs[uid].defined_at.startswith("test_definition.py:")


OPTIONS: dict[str, dict[str, Any]] = {
    "in": {"start": 0, "stop": 3, "step": 1, "rate": None, "boundedness": "bounded"},
    "generated": {"generator": "endless", "boundedness": "unbounded"},
    "pushed": {
        "topic": "clicks", "boundedness": "bounded", "overflow": "buffer", "buffer_size": 10_000,
    },
    "dropped": {
        "topic": "clicks", "boundedness": "bounded", "overflow": "drop", "buffer_size": 0,
    },
    "map": {"function": f"{ME}double"},
    "map expression": {"function": "it * 2"},
    "filter": {"condition": "it > 1"},
    "filter function": {"condition": f"{ME}double"},
    "flat_map": {"function": f"{ME}double"},
    "map_batches": {"function": f"{ME}double", "max_size": 7},
    "map async": {
        "function": f"{ME}later", "result": "record", "ordered": True, "capacity": 100,
        "timeout_ms": None, "attempts": 1,
    },
    "map_async": {
        "function": f"{ME}later", "result": "record", "ordered": False, "capacity": 5,
        "timeout_ms": 2000, "attempts": 4,
    },
    "split": {"selector": f"{ME}double", "names": ["a", "b"]},
    "union": {},
    "key_by": {"key": ["user", "day"]},
    "key_by function": {"key": f"{ME}double"},
    "key_by expression": {"key": "it % 2"},
    "reduce": {"function": f"{ME}merge"},
    "reduce from ()": {"function": f"{ME}merge", "initial": "()"},
    "count": {"aggregates": {"": "count()"}, "emit": "each"},
    "final": {"aggregates": {"n": "count()", "top": 'max(col("n"))'}, "emit": "final"},
    "process": {"side_outputs": ["late"]},
    "sink": {"table": "clicks"},
    "sink function": {"function": "print"},
}  # fmt: skip


@pytest.mark.parametrize("uid", OPTIONS)
def test_an_operator_says_its_options_as_plain_values(
    specs: dict[str, OperatorSpec], uid: str
) -> None:
    assert dict(specs[uid].options) == OPTIONS[uid]
    assert json.loads(json.dumps(specs[uid].options)) == specs[uid].options


STATES = {
    "reduce": (StateSpec("value", "reducing", "any"),),
    "reduce from ()": (StateSpec("value", "reducing", "tuple"),),
    "count": (StateSpec("aggregates", "aggregating", "count"),),
    "final": (StateSpec("aggregates", "aggregating", "[n: count, top: max]"),),
    "process": (
        StateSpec("seen", "value", "int"),
        StateSpec("previous", "value", "dict[str, int]"),
    ),
    "map": (),
    "key_by": (),
}


@pytest.mark.parametrize("uid", STATES)
def test_a_stateful_operator_says_its_states(specs: dict[str, OperatorSpec], uid: str) -> None:
    assert specs[uid].states == STATES[uid]


def layout(emit: Any = "each", **aggregates: Any) -> str:
    (state,) = AggregateBy(aggregates, emit, KeyBy(("user",), ("user",))).states()
    return state.type


def test_the_type_of_aggregates_is_the_layout_of_their_state() -> None:
    total, seen = ms.sum("a"), ms.count()
    assert layout(total=total, n=seen) == "[total: sum, n: count]"
    assert layout(n=seen, total=total) == "[n: count, total: sum]"
    assert layout(total=ms.mean("a"), n=seen) == "[total: mean, n: count]"
    assert layout(amount=total, n=seen) == "[amount: sum, n: count]"
    assert layout(total=ms.sum("b"), n=seen) == layout(total=total, n=seen)
    assert layout(**{"a: sum, b": total}) != layout(a=total, b=total)


def test_a_number_kept_alone_is_told_from_a_list_of_one() -> None:
    assert layout(**{"": ms.count()}) == "count"
    assert layout("final", **{"": ms.count()}) == "[count]"
    assert layout(**{"": ms.max("a")}) == "[max]"


@pytest.mark.parametrize(
    ("key", "described"),
    [
        (("user",), 'col("user")'),
        (("user", "day"), '(col("user"), col("day"))'),
        (("user, day",), 'col("user, day")'),
        (ms.it % 2, "it % 2"),
        (double, "a function"),
    ],
)
def test_a_key_is_described_as_an_expression(key: Any, described: str) -> None:
    assert KeyBy(key, ("key",)).spec("key_by-1", None, "").key == described


IN_ANY_PROCESS = """
import millstream as ms
from millstream.graph.optimizer import optimize

job = ms.Job("job")
numbers = job.source("sequence", stop=3, uid="in")
numbers = numbers.filter(ms.col("x").is_in({"a", "b", "c", frozenset("defgh")}))
numbers = numbers.map(ms.lit({"a", "b", "c", "d", "e"})).filter(lambda x: x in {"a", "b", "c"})
keyed = numbers.key_by(ms.it.is_in([("k", frozenset("abcde"))]))
reduced = keyed.reduce(lambda a, b: a, initial=frozenset("abcde"), uid="reduced")
graph = optimize(job.stream_graph)
print(graph.fingerprint, graph.state_fingerprint, graph.code_fingerprint)
"""


def test_fingerprints_do_not_depend_on_the_hash_seed() -> None:
    assert len(printed_under_hash_seeds(IN_ANY_PROCESS)) == 1


FUNCTIONS = {
    "map": [f"{ME}double"],
    "map expression": [],
    "key_by": [],
    "key_by function": [f"{ME}double"],
    "reduce": [f"{ME}merge"],
    "count": [],
    "process": [f"{ME}Counting"],
    "in": ["millstream.connectors.sequence:SequenceSource"],
    "generated": [f"{ME}endless"],
    "sink": [f"{ME}Ending"],
    "sink function": ["builtins:print"],
}


@pytest.mark.parametrize("uid", FUNCTIONS)
def test_an_operator_names_the_users_functions_in_it(
    specs: dict[str, OperatorSpec], uid: str
) -> None:
    assert [function.name for function in specs[uid].functions] == FUNCTIONS[uid]
    assert all(len(function.code) == 16 for function in specs[uid].functions)
