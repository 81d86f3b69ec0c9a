"""What chaining is compared with: a push per record and operator, and a thread per operator."""

from __future__ import annotations

import pickle
import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from bench import data
from bench import functions as f
from bench.data import Answer

CHUNK = 1024
WAITING = 16  # chunks that a queue holds, as many as the engine's channels

# -- an object per operator, a call per record ----------------------------------------------------


class Observer(Protocol):
    def on_next(self, value: Any) -> None: ...


class PushMap:
    __slots__ = ("following", "function")

    def __init__(self, function: Callable[[Any], Any], following: Observer) -> None:
        self.function = function
        self.following = following

    def on_next(self, value: Any) -> None:
        self.following.on_next(self.function(value))


class PushFilter:
    __slots__ = ("condition", "following")

    def __init__(self, condition: Callable[[Any], Any], following: Observer) -> None:
        self.condition = condition
        self.following = following

    def on_next(self, value: Any) -> None:
        if self.condition(value):
            self.following.on_next(value)


class PushSink:
    __slots__ = ("count", "total")

    def __init__(self) -> None:
        self.count = self.total = 0

    def on_next(self, value: Any) -> None:
        self.count += 1
        self.total += value


def ten_pushed(records: int) -> Callable[[], Answer]:
    def run() -> Answer:
        sink = PushSink()
        first: Observer = sink
        for kind, function in reversed(f.TEN):
            first = PushMap(function, first) if kind == "map" else PushFilter(function, first)
        for x in range(records):
            first.on_next(x)
        return [sink.count, sink.total]

    return run


# -- a thread per operator, pickled chunks between them -------------------------------------------

Step = Callable[[list[Any]], list[Any]]
Pipe = queue.Queue[bytes | None]


def _step(kind: str, function: Callable[[Any], Any]) -> Step:
    if kind == "map":
        return lambda values: [function(value) for value in values]
    return lambda values: [value for value in values if function(value)]


def _reduce(values: list[tuple[Any, Any]], sums: dict[Any, float]) -> list[float]:
    results = []
    for key, event in values:
        total = sums[key] = f.add_amount(sums.get(key, 0.0), event)
        results.append(total)
    return results


def _chunks(values: Iterable[Any]) -> Iterable[list[Any]]:
    chunk: list[Any] = []
    for value in values:
        chunk.append(value)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _feed(chunks: Iterable[list[Any]], output: Pipe) -> None:
    for chunk in chunks:
        output.put(pickle.dumps(chunk, protocol=5))
    output.put(None)


def _work(step: Step, source: Pipe, output: Pipe) -> None:
    while (pickled := source.get()) is not None:
        output.put(pickle.dumps(step(pickle.loads(pickled)), protocol=5))  # noqa: S301  # our own
    output.put(None)


def _through_threads(chunks: Iterable[list[Any]], steps: list[Step]) -> Answer:
    pipes: list[Pipe] = [queue.Queue(WAITING) for _ in range(len(steps) + 1)]
    threads = [threading.Thread(target=_feed, args=(chunks, pipes[0]))]
    threads += [
        threading.Thread(target=_work, args=(step, pipes[i], pipes[i + 1]))
        for i, step in enumerate(steps)
    ]
    for thread in threads:
        thread.start()
    count, total = 0, 0.0
    while (pickled := pipes[-1].get()) is not None:
        values = pickle.loads(pickled)  # noqa: S301  # our own
        count += len(values)
        total += sum(values)
    for thread in threads:
        thread.join()
    return [count, total]


def ten_in_threads(records: int) -> Callable[[], Answer]:
    def run() -> Answer:
        ranges = (list(range(i, min(i + CHUNK, records))) for i in range(0, records, CHUNK))
        return _through_threads(ranges, [_step(kind, function) for kind, function in f.TEN])

    return run


def w2_in_threads(records: int) -> Callable[[], Answer]:
    path = data.events_file(records)

    def run() -> Answer:
        sums: dict[Any, float] = {}
        steps: list[Step] = [
            _step("map", f.decode),
            _step("filter", f.is_large),
            lambda events: [(f.user_of(event), event) for event in events],
            lambda keyed: _reduce(keyed, sums),
        ]
        with path.open("rb") as lines:
            return _through_threads(_chunks(lines), steps)

    return run
