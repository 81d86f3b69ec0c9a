"""No option is accepted and ignored: each public parameter changes something, or is refused."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest

import millstream as ms
from millstream.api.stream import KeyedStream
from millstream.core.errors import ConfigError, MillstreamError
from tests.unit.api.jobs import begun, collected, stream

RECORDS = [{"user": "a", "n": 1}, {"user": "b", "n": None}, {"user": "a", "n": 3}]
LETTERS = ["a", "b", "a"]


def explained(build: Callable[[ms.Stream[Any]], Any], **options: Any) -> str:
    job, numbers = begun([1], **options)
    build(numbers).sink(ms.blackhole.sink(), uid="out")
    return ms.explain(job, "json")


def run(build: Callable[[ms.Stream[Any]], Any], records: list[Any] = LETTERS) -> list[Any]:
    return collected(build, records)


def batch_sizes(records: list[Any] = LETTERS, max_size: int = 1024, **engine: Any) -> int:
    """Return the longest list that map_batches was given, the sink being no limit."""
    sizes: list[int] = []
    job = ms.Job("job", engine=ms.EngineSettings(**engine))

    def measure(batch: Sequence[str]) -> list[str]:
        sizes.append(len(batch))
        return []

    numbers = job.source(ms.collection.source(records * 100), uid="in")
    numbers.map_batches(measure, max_size=max_size).sink(ms.blackhole.sink(), uid="out")
    ms.run(job)
    return max(sizes)


class Pushed(ms.Source[int]):
    """Pushes while nobody asks: its job's source task has not even begun."""

    can_be_slowed = False

    def run(self, ctx: ms.SourceContext[int]) -> None:
        ctx.collect_batch(range(100_000))


def pushed(**options: Any) -> str:
    job = ms.Job("job")
    job.source(Pushed(), uid="in", **options).sink(ms.blackhole.sink(), uid="out")
    return str(ms.start(job).wait().error)


def endless(position: Any) -> Iterator[tuple[list[int], Any]]:
    yield [1], 1


def final_of_endless(boundedness: ms.Boundedness | None) -> object:
    numbers = ms.Job("job").source(endless, uid="in", boundedness=boundedness)
    return bool(numbers.key_by("a").aggregate(ms.count(), emit="final", uid="n"))


async def twice(record: str) -> str:
    await asyncio.sleep(0)
    return record * 2


async def later_is_sooner(record: str) -> str:
    await asyncio.sleep(0.02 if record == "b" else 0)
    return record


class Counting:
    """Counts how many calls are in flight at most, and fails the first ``failures`` ones."""

    def __init__(self, failures: int = 0) -> None:
        self.now = self.most = 0
        self.failures = failures

    async def call(self, record: str) -> str:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        if self.failures:
            self.failures -= 1
            raise OSError("passing")
        return record


def in_flight(**options: Any) -> int:
    counting = Counting()
    run(lambda s: s.map_async(counting.call, uid="m", **options), LETTERS * 20)
    return counting.most


def flaky(retry: ms.Retry | None) -> list[Any]:
    return run(lambda s: s.map_async(Counting(2).call, uid="m", retry=retry), ["a"])


class Tagging(ms.KeyedProcessFunction[str, str]):
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def process_element(self, value: str, ctx: ms.ProcessContext[str]) -> None:
        ctx.collect(self.prefix + value)


def keyed(build: Callable[[KeyedStream[Any]], Any]) -> list[Any]:
    return run(lambda s: build(s.key_by("user")), RECORDS)


def uid_of(build: Callable[[ms.Stream[Any], Any], Any]) -> tuple[Any, Any]:
    return (lambda: explained(lambda s: build(s, "one"))), lambda: explained(
        lambda s: build(s, "two")
    )


def with_side_outputs() -> ms.Stream[Any]:
    return stream().key_by("a").process(Tagging(""), uid="p", side_outputs=["t", "u"])


def routed(records: ms.Stream[Any], selector: Callable[[Any], str]) -> ms.Stream[Any]:
    parts = records.split(selector, "x", "y")
    parts["y"].sink(ms.blackhole.sink(), uid="rest")
    return parts["x"]


def source_explained(source: Any, uid: str = "in", **options: Any) -> str:
    job = ms.Job("job")
    job.source(source, uid=uid, **options).sink(ms.blackhole.sink(), uid="out")
    return ms.explain(job, "json")


def sunk(**options: Any) -> str:
    job, numbers = begun()
    numbers.sink(**{"sink": "blackhole", "uid": "out", **options})
    return ms.explain(job, "json")


Proof = tuple[Callable[[], object], Callable[[], object]]
once = ms.Retry(attempts=3, backoff="0s", on=(OSError,))

PROOFS: dict[str, Proof] = {
    "Job.name": (lambda: repr(ms.Job("one")), lambda: repr(ms.Job("two"))),
    "Job.mode": (lambda: explained(lambda s: s), lambda: explained(lambda s: s, mode="SQL_TASK")),
    "Job.guarantee": (
        lambda: explained(lambda s: s),
        lambda: explained(lambda s: s, guarantee="exactly_once"),
    ),
    "Job.parallelism": (lambda: ms.Job("j").name, lambda: ms.Job("j", parallelism=2).name),
    "Job.chaining": (
        lambda: explained(lambda s: s.map(str)),
        lambda: explained(lambda s: s.map(str), chaining=False),
    ),
    "Job.checkpoint_interval": (
        lambda: ms.Job("j").checkpoints,
        lambda: ms.Job("j", checkpoint_interval="10s").checkpoints,
    ),
    "Job.checkpoints": (
        lambda: ms.Job("j").checkpoints,
        lambda: ms.Job("j", checkpoints=ms.CheckpointSettings(retention=2)).checkpoints,
    ),
    "Job.engine": (batch_sizes, lambda: batch_sizes(chunk_size=1)),
    "Job.source.source": (
        lambda: source_explained("sequence", stop=1),
        lambda: source_explained(endless),
    ),
    "Job.source.uid": (
        lambda: source_explained(endless),
        lambda: source_explained(endless, uid="other"),
    ),
    "Job.source.boundedness": (
        lambda: final_of_endless(None),
        lambda: final_of_endless(ms.Boundedness.UNBOUNDED),
    ),
    "Job.source.overflow": (lambda: pushed(overflow="drop"), lambda: pushed(overflow="error")),
    "Job.source.buffer_size": (
        lambda: pushed(overflow="buffer", buffer_size=100_000),
        lambda: pushed(overflow="buffer", buffer_size=1),
    ),
    "Job.source.options": (
        lambda: source_explained("sequence", stop=1),
        lambda: source_explained("sequence", stop=2),
    ),
    "Stream.map.function": (lambda: run(lambda s: s.map(str)), lambda: run(lambda s: s.map(ord))),
    "Stream.map.uid": uid_of(lambda s, uid: s.map(str, uid=uid)),
    "Stream.filter.condition": (
        lambda: run(lambda s: s.filter(bool)),
        lambda: run(lambda s: s.filter(ms.it == "a")),
    ),
    "Stream.filter.uid": uid_of(lambda s, uid: s.filter(bool, uid=uid)),
    "Stream.flat_map.function": (
        lambda: run(lambda s: s.flat_map(list)),
        lambda: run(lambda s: s.flat_map(lambda letter: letter * 2)),
    ),
    "Stream.flat_map.uid": uid_of(lambda s, uid: s.flat_map(list, uid=uid)),
    "Stream.map_batches.function": (
        lambda: run(lambda s: s.map_batches(list)),
        lambda: run(lambda s: s.map_batches(lambda batch: [*batch, *batch])),
    ),
    "Stream.map_batches.max_size": (batch_sizes, lambda: batch_sizes(max_size=2)),
    "Stream.map_batches.uid": uid_of(lambda s, uid: s.map_batches(list, uid=uid)),
    "Stream.map_async.function": (
        lambda: run(lambda s: s.map_async(twice, uid="m")),
        lambda: run(lambda s: s.map_async(later_is_sooner, uid="m")),
    ),
    "Stream.map_async.uid": uid_of(lambda s, uid: s.map_async(twice, uid=uid)),
    "Stream.map_async.ordered": (
        lambda: run(lambda s: s.map_async(later_is_sooner, uid="m"), ["b", *"a" * 50]),
        lambda: run(
            lambda s: s.map_async(later_is_sooner, uid="m", ordered=False), ["b", *"a" * 50]
        ),
    ),
    "Stream.map_async.capacity": (in_flight, lambda: in_flight(capacity=1)),
    "Stream.map_async.timeout": (
        lambda: run(lambda s: s.map_async(later_is_sooner, uid="m"), ["b"]),
        lambda: run(lambda s: s.map_async(later_is_sooner, uid="m", timeout="1ms"), ["b"]),
    ),
    "Stream.map_async.retry": (lambda: flaky(once), lambda: flaky(None)),
    "Stream.key_by.key": (
        lambda: run(lambda s: s.key_by("user").aggregate(ms.count(), uid="n"), RECORDS),
        lambda: run(lambda s: s.key_by(lambda r: 1).aggregate(ms.count(), uid="n"), RECORDS),
    ),
    "Stream.key_by.more": (
        lambda: run(lambda s: s.key_by("user").aggregate(ms.count(), uid="n"), RECORDS[::2]),
        lambda: run(lambda s: s.key_by("user", "n").aggregate(ms.count(), uid="n"), RECORDS[::2]),
    ),
    "Stream.key_by.uid": uid_of(
        lambda s, uid: s.key_by("a", uid=uid).aggregate(ms.count(), uid="n")
    ),
    "Stream.union.others": (
        lambda: run(lambda s: s.union(s.map(str)), ["a"]),
        lambda: run(lambda s: s.union(s.map(str), s.map(ord)), ["a"]),
    ),
    "Stream.union.uid": uid_of(lambda s, uid: s.union(s.map(str), uid=uid)),
    "Stream.split.selector": (
        lambda: run(lambda s: routed(s, lambda letter: "x")),
        lambda: run(lambda s: routed(s, lambda letter: "x" if letter == "a" else "y")),
    ),
    "Stream.split.names": (
        lambda: sorted(stream().split(str, "x", "y")),
        lambda: sorted(stream().split(str, "x", "z")),
    ),
    "Stream.split.uid": (
        lambda: repr(stream().split(str, "x", "y", uid="one")["x"]),
        lambda: repr(stream().split(str, "x", "y", uid="two")["x"]),
    ),
    "Stream.side_output.tag": (
        lambda: repr(with_side_outputs().side_output("t")),
        lambda: repr(with_side_outputs().side_output("u")),
    ),
    "Stream.sink.sink": (sunk, lambda: sunk(sink=print)),
    "Stream.sink.uid": (sunk, lambda: sunk(uid="other")),
    "Stream.sink.options": (lambda: sunk(sink="console"), lambda: sunk(sink="console", limit=3)),
    "KeyedStream.reduce.function": (
        lambda: keyed(lambda k: k.reduce(lambda old, new: old, uid="r")),
        lambda: keyed(lambda k: k.reduce(lambda old, new: new, uid="r")),
    ),
    "KeyedStream.reduce.initial": (
        lambda: keyed(lambda k: k.reduce(lambda old, new: old, uid="r")),
        lambda: keyed(lambda k: k.reduce(lambda old, new: old, initial=0, uid="r")),
    ),
    "KeyedStream.reduce.uid": uid_of(
        lambda s, uid: s.key_by("a").reduce(lambda old, new: old, uid=uid)
    ),
    "KeyedStream.aggregate.unnamed": (
        lambda: keyed(lambda k: k.aggregate(ms.count(), uid="a")),
        lambda: keyed(lambda k: k.aggregate(ms.count("n"), uid="a")),
    ),
    "KeyedStream.aggregate.emit": (
        lambda: keyed(lambda k: k.aggregate(ms.count(), uid="a")),
        lambda: keyed(lambda k: k.aggregate(ms.count(), emit="final", uid="a")),
    ),
    "KeyedStream.aggregate.uid": uid_of(
        lambda s, uid: s.key_by("a").aggregate(ms.count(), uid=uid)
    ),
    "KeyedStream.aggregate.named": (
        lambda: keyed(lambda k: k.aggregate(x=ms.count(), uid="a")),
        lambda: keyed(lambda k: k.aggregate(y=ms.count(), uid="a")),
    ),
    "KeyedStream.process.function": (
        lambda: run(lambda s: s.key_by(ms.it).process(Tagging("-"), uid="p")),
        lambda: run(lambda s: s.key_by(ms.it).process(Tagging("+"), uid="p")),
    ),
    "KeyedStream.process.side_outputs": (
        lambda: explained(lambda s: s.key_by("a").process(Tagging(""), uid="p")),
        lambda: explained(lambda s: s.key_by("a").process(Tagging(""), uid="p", side_outputs="t")),
    ),
    "KeyedStream.process.uid": uid_of(lambda s, uid: s.key_by("a").process(Tagging(""), uid=uid)),
}


def public_parameters() -> Iterator[str]:
    for owner in (ms.Job, ms.Stream, KeyedStream):
        for name, method in vars(owner).items():
            if name == "__init__" and owner is ms.Job:
                path = owner.__name__
            elif not name.startswith("_") and inspect.isfunction(method):
                path = f"{owner.__name__}.{name}"
            else:
                continue
            for parameter in list(inspect.signature(method).parameters)[1:]:
                yield f"{path}.{parameter}"


def test_every_public_parameter_has_a_proof() -> None:
    assert sorted(public_parameters()) == sorted(PROOFS)


@pytest.mark.parametrize(("before", "after"), PROOFS.values(), ids=PROOFS.keys())
def test_a_parameter_changes_what_is_seen_or_is_refused(
    before: Callable[[], object], after: Callable[[], object]
) -> None:
    seen = repr(before())
    with suppress(MillstreamError):  # refused: that is a change as well
        assert repr(after()) != seen


def untyped_job() -> Any:
    return ms.Job("job")


def untyped_stream() -> Any:
    return stream()


@pytest.mark.parametrize(
    "call",
    [
        lambda: untyped_stream().sink(print, uid="out", colour="red"),
        lambda: untyped_job().source(endless, uid="in", stop=3),
        lambda: ms.Job("job").source("sequence", stop=3, uid="in", boundedness="unbounded"),
        lambda: untyped_job().source(
            ms.sequence.source(3), uid="in", boundedness=ms.Boundedness.BOUNDED
        ),
        lambda: ms.Job("job").source("sequence", stop=3, uid="in", overflow="drop"),
        lambda: ms.Job("job").source("sequence", stop=3, uid="in", buffer_size=5),
        lambda: ms.Job("job").source(Pushed(), uid="in", overflow="drop", buffer_size=5),
    ],
)
def test_an_option_that_would_have_no_effect_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match=r"at test_parameters\.py:\d+ \(job 'job'\)"):
        call()
