"""Process functions: state per key, side outputs, generators, and their life."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import ConfigError, OperatorError
from tests.unit.api.jobs import begun, collected, failure, refusal, stream

CHUNK_SIZES = [3, 1024]
Context = ms.ProcessContext[Any]


class Visits(ms.KeyedProcessFunction[str, Any]):
    """Counts per key; forgets a key on its third visit."""

    seen = ms.ValueStateDescriptor(int, default=0)
    last = ms.ValueStateDescriptor(str, default="", name="last_one")

    def process_element(self, value: str, ctx: Context) -> None:
        count = self.seen.value() + 1
        before = self.last.value()
        if count == 3:
            self.seen.clear()
        else:
            self.seen.update(count)
        self.last.update(value)
        ctx.collect((ctx.current_key, count, before))


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
@pytest.mark.parametrize("chaining", [True, False])
def test_state_belongs_to_the_key_of_the_record(chunk_size: int, chaining: bool) -> None:
    results = collected(
        lambda s: s.key_by(lambda word: word[0]).process(Visits(), uid="visits"),
        ["a1", "b1", "a2", "a3", "a4", "b2"],
        chunk_size=chunk_size,
        chaining=chaining,
    )
    assert results == [
        ("a", 1, ""),
        ("b", 1, ""),
        ("a", 2, "a1"),
        ("a", 3, "a2"),
        ("a", 1, "a3"),
        ("b", 2, "b1"),
    ]


def test_two_functions_of_one_class_do_not_share_state() -> None:
    function = Visits()
    results = collected(
        lambda s: s.key_by(lambda word: 0).process(function, uid="one")
        .key_by(lambda visit: 0).process(function, uid="two"),
        ["a", "b"],
    )  # fmt: skip
    assert [count for _, count, _ in results] == [1, 2]


def test_a_function_may_emit_nothing_or_much() -> None:
    class Some(ms.KeyedProcessFunction[int, int]):
        def process_element(self, value: int, ctx: Context) -> None:
            for _ in range(value):
                ctx.collect(value)

    assert collected(lambda s: s.key_by(ms.it).process(Some(), uid="p"), [0, 3, 1]) == [3, 3, 3, 1]


class Numbered(ms.KeyedProcessFunction[int, int]):
    """A generator; it collects as well."""

    def process_element(self, value: int, ctx: Context) -> Iterator[int]:
        ctx.collect(-value)
        yield from range(value)


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_a_generator_yields_records_in_order_with_what_it_collects(chunk_size: int) -> None:
    results = collected(
        lambda s: s.key_by(ms.it).process(Numbered(), uid="p").map(str),
        [2, 3],
        chunk_size=chunk_size,
    )
    assert results == ["-2", "0", "1", "-3", "0", "1", "2"]


def test_a_generator_is_resumed_not_materialised() -> None:
    results = collected(lambda s: s.key_by(ms.it).process(Numbered(), uid="p"), [50_000])
    assert len(results) == 50_001


class Sorting(ms.KeyedProcessFunction[int, int]):
    def process_element(self, value: int, ctx: Context) -> None:
        if value < 0:
            ctx.output("negative", value)
        elif value > 99:
            ctx.output("large", str(value))
        else:
            ctx.collect(value)


class SortingGenerator(ms.KeyedProcessFunction[int, int]):
    def process_element(self, value: int, ctx: Context) -> Iterator[int]:
        if value < 0:
            ctx.output("negative", value)
        elif value > 99:
            ctx.output("large", str(value))
        else:
            yield value


@pytest.mark.parametrize("function", [Sorting, SortingGenerator])
@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
@pytest.mark.parametrize("chaining", [True, False])
def test_side_outputs_are_streams_of_their_own(
    function: Any, chunk_size: int, chaining: bool
) -> None:
    normal, negative, large, again = list[Any](), list[Any](), list[Any](), list[Any]()
    job, numbers = begun(
        [1, -1, 100, 2, -2], chaining=chaining, engine=ms.EngineSettings(chunk_size=chunk_size)
    )
    sorted_ = numbers.key_by(lambda n: 0).process(
        function(), uid="sorted", side_outputs=["negative", "large"]
    )
    sorted_.sink(ms.collection.sink(normal), uid="normal")
    sorted_.side_output("negative").map(abs).sink(ms.collection.sink(negative), uid="negative")
    sorted_.side_output("large").sink(ms.collection.sink(large), uid="large")
    sorted_.side_output("large").sink(ms.collection.sink(again), uid="again")
    ms.run(job)
    assert (normal, negative, large, again) == ([1, 2], [1, 2], ["100"], ["100"])


def test_an_undeclared_side_output_is_an_error_that_says_how_to_declare_it() -> None:
    error = failure(lambda s: s.key_by(ms.it).process(Sorting(), uid="sorted"), [-1])
    assert "operator 'sorted' failed on record -1" in str(error)
    assert "declare it by process(…, side_outputs=['negative'])" in str(error)


def test_a_declared_side_output_must_be_used() -> None:
    job, numbers = begun([1])
    sorted_ = numbers.key_by(ms.it).process(Sorting(), uid="sorted", side_outputs=("large",))
    sorted_.sink(ms.blackhole.sink(), uid="out")
    with pytest.raises(ConfigError, match=r"'sorted' at .*: its side output 'large' leads nowhere"):
        ms.run(job)


@pytest.mark.parametrize("result", [5, [], "text", iter([1])])
def test_a_returned_value_is_an_error_as_it_would_be_lost(result: Any) -> None:
    class Returning(ms.KeyedProcessFunction[int, int]):
        def process_element(self, value: int, ctx: Context) -> Any:
            return result

    error = failure(lambda s: s.key_by(ms.it).process(Returning(), uid="p"), [1])
    assert "would be lost; emit by ctx.collect(…), or make it a generator and yield" in str(error)


def test_it_is_opened_once_before_the_first_record_and_closed_once_at_the_end() -> None:
    calls: list[str] = []

    class Living(ms.KeyedProcessFunction[int, int]):
        def open(self, ctx: Context) -> None:
            calls.append(f"open {ctx.uid}")

        def process_element(self, value: int, ctx: Context) -> None:
            calls.append(f"process {value}")

        def close(self) -> None:
            calls.append("close")

    collected(lambda s: s.key_by(ms.it).process(Living(), uid="p"), [1, 2])
    assert calls == ["open p", "process 1", "process 2", "close"]
    calls.clear()
    collected(lambda s: s.key_by(ms.it).process(Living(), uid="p"), [])
    assert calls == ["open p", "close"]


def test_it_is_closed_after_a_failure_as_well() -> None:
    closed: list[int] = []

    class Failing(ms.KeyedProcessFunction[int, int]):
        def process_element(self, value: int, ctx: Context) -> None:
            raise LookupError(value)

        def close(self) -> None:
            closed.append(1)

    error = failure(lambda s: s.key_by(ms.it).process(Failing(), uid="p"), [1, 2])
    assert isinstance(error.__cause__, LookupError)
    assert closed == [1]


def test_a_run_works_on_a_copy_and_leaves_the_users_instance_alone() -> None:
    class Remembering(ms.KeyedProcessFunction[int, int]):
        seen = ms.ValueStateDescriptor(int, default=0)

        def __init__(self) -> None:
            self.total = 0

        def process_element(self, value: int, ctx: Context) -> None:
            self.total += value
            self.seen.update(self.seen.value() + 1)
            ctx.collect((self.total, self.seen.value()))

    function = Remembering()
    results: list[Any] = []
    job, numbers = begun([1, 1])
    numbers.key_by(ms.it).process(function, uid="p").sink(ms.collection.sink(results), uid="out")
    ms.run(job)
    ms.run(job)
    assert results == [(1, 1), (2, 2)] * 2
    assert function.total == 0


def test_records_are_emitted_only_from_process_element() -> None:
    class Early(ms.KeyedProcessFunction[int, int]):
        def open(self, ctx: Context) -> None:
            ctx.collect(1)

        def process_element(self, value: int, ctx: Context) -> None:
            pass

    error = failure(lambda s: s.key_by(ms.it).process(Early(), uid="early"), [1])
    assert isinstance(error, OperatorError)
    assert "operator 'early': open() failed" in str(error)
    assert "collect(1) in open(): emit only in process_element" in str(error)


@pytest.mark.parametrize("use", ["value", "update"])
def test_state_has_no_key_before_the_first_record(use: str) -> None:
    class Early(ms.KeyedProcessFunction[int, int]):
        seen = ms.ValueStateDescriptor(int, default=0)

        def open(self, ctx: Context) -> None:
            getattr(self.seen, use)(*[1] * (use == "update"))

        def process_element(self, value: int, ctx: Context) -> None:
            pass

    error = failure(lambda s: s.key_by(ms.it).process(Early(), uid="early"), [1])
    assert "a state belongs to the key of a record, and there is no record here" in str(error)


@pytest.mark.parametrize("use", ["value", "update", "clear"])
def test_state_used_outside_a_job_says_so(use: str) -> None:
    for state, name in ((Visits().seen, "seen"), (Visits().last, "last")):
        with pytest.raises(ConfigError, match=f"state '{name}' of Visits was used outside a run"):
            getattr(state, use)(*[1] * (use == "update"))


@dataclass
class Plain(ms.KeyedProcessFunction[int, int]):
    step: int
    total = ms.ValueStateDescriptor(int, default=0)

    def process_element(self, value: int, ctx: Context) -> None:
        self.total.update(self.total.value() + self.step)
        ctx.collect(self.total.value())


@dataclass(frozen=True)
class Frozen(ms.KeyedProcessFunction[int, int]):
    step: int
    total = ms.ValueStateDescriptor(int, default=0)

    def process_element(self, value: int, ctx: Context) -> None:
        self.total.update(self.total.value() + self.step)
        ctx.collect(self.total.value())


@dataclass(slots=True)
class Slotted(ms.KeyedProcessFunction[int, int]):
    step: int
    total = ms.ValueStateDescriptor(int, default=0)

    def process_element(self, value: int, ctx: Context) -> None:
        self.total.update(self.total.value() + self.step)
        ctx.collect(self.total.value())


class Inheriting(Plain):
    """Has its parent's state."""


@pytest.mark.parametrize("function", [Plain, Frozen, Slotted, Inheriting])
def test_a_function_may_be_a_dataclass_or_inherit_its_states(function: Any) -> None:
    results = collected(lambda s: s.key_by(ms.it).process(function(2), uid="p"), [1, 1, 2])
    assert results == [2, 4, 2]


def test_state_set_on_the_instance_is_refused_as_the_graph_would_not_know_it() -> None:
    class Mistaken(ms.KeyedProcessFunction[Any, Any]):
        def __init__(self) -> None:
            self.seen = ms.ValueStateDescriptor(int, default=0)

        def process_element(self, value: Any, ctx: Context) -> None:
            pass

    message = refusal(lambda s: s.key_by("a").process(Mistaken(), uid="p"))
    assert "the state 'seen' is set on the instance; declare it in the body of class" in message


def test_two_states_of_one_name_are_refused() -> None:
    class Twice(ms.KeyedProcessFunction[Any, Any]):
        one = ms.ValueStateDescriptor(int, default=0, name="same")
        two = ms.ValueStateDescriptor(int, default=0, name="same")

        def process_element(self, value: Any, ctx: Context) -> None:
            pass

    with pytest.raises(ConfigError, match="Twice declares two states named 'same'"):
        stream().key_by("a").process(Twice(), uid="p")


def test_states_and_their_types_are_part_of_the_fingerprint() -> None:
    def fingerprint(**attributes: Any) -> str:
        body = {"process_element": lambda self, value, ctx: None, **attributes}
        function: Any = type("Function", (ms.KeyedProcessFunction,), body)()
        job, numbers = begun()
        numbers.key_by("a").process(function, uid="p").sink(ms.blackhole.sink(), uid="out")
        return ms.explain(job, "json").split('"fingerprint": "')[1][:16]

    number, text = ms.ValueStateDescriptor(int, default=0), ms.ValueStateDescriptor(str, default="")
    assert fingerprint(seen=number) == fingerprint(seen=ms.ValueStateDescriptor(int, default=9))
    assert len({fingerprint(), fingerprint(seen=number), fingerprint(seen=text)}) == 3
    assert fingerprint(seen=number) != fingerprint(other=ms.ValueStateDescriptor(int, default=0))
