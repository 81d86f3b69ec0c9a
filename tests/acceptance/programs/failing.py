"""A job whose callback fails; ``OPERATOR`` says which, and by how it is written."""

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import millstream as ms


def price_of(order: dict[str, Any]) -> Any:
    return 100 // order["amount"]  # the user's own line


async def price_of_async(order: dict[str, Any]) -> Any:
    return price_of(order)


def prices_of(order: dict[str, Any]) -> Iterator[Any]:
    yield 1
    yield price_of(order)


class Write(ms.Sink[dict[str, Any]]):
    def invoke(self, value: dict[str, Any], ctx: ms.SinkContext) -> None:
        price_of(value)


class WriteBatch(Write):
    def invoke_batch(self, values: Any, ctx: ms.SinkContext) -> None:
        for value in values:
            price_of(value)


def orders(position: Any) -> Iterator[tuple[list[dict[str, Any]], int]]:
    for start in range(0, 1000, 100):
        yield [{"n": n, "amount": n - 530} for n in range(start, start + 100)], start + 100


def failing_source(position: Any) -> Iterator[tuple[list[dict[str, Any]], int]]:
    yield [{"n": 0, "amount": 1}], 1
    price_of({"amount": 0})


async def failing_async_source(position: Any) -> AsyncIterator[tuple[list[dict[str, Any]], int]]:
    yield [{"n": 0, "amount": 1}], 1
    price_of({"amount": 0})


def build(job: ms.Job, kind: str) -> None:
    sink: Any = {"sink": Write(), "batch sink": WriteBatch(), "async sink": price_of_async}.get(
        kind, ms.blackhole.sink()
    )
    source: Any = {"source": failing_source, "async source": failing_async_source}.get(kind, orders)
    stream: ms.Stream[Any] = job.source(source, uid="orders")
    if kind == "map":
        stream = stream.map(price_of, uid="price")
    elif kind == "lambda":
        stream = stream.map(lambda order: 100 // order["amount"], uid="price")
    elif kind == "flat_map":
        stream = stream.flat_map(prices_of, uid="price")
    elif kind == "map_async":
        stream = stream.map_async(price_of_async, uid="price")
    elif kind == "expression":
        stream = stream.map(100 // ms.col("amount"), uid="price")
    elif kind == "field":
        stream = stream.filter(ms.col("amuont") > 0, uid="price")
    stream.sink(sink, uid="out")


job = ms.Job("prices")
build(job, os.environ["OPERATOR"])

if __name__ == "__main__":
    ms.main(job)
