"""The bare loops: the least Python that does a workload with the same functions, and no engine."""

from __future__ import annotations

from collections.abc import Callable

from bench import data
from bench import functions as f
from bench.data import Answer


def w1(records: int) -> Callable[[], Answer]:
    def run() -> Answer:
        add_one, is_even, triple = f.add_one, f.is_even, f.triple
        count = total = 0
        for x in range(records):
            x = add_one(x)
            if is_even(x):
                x = triple(x)
                count += 1
                total += x
        return [count, total]

    return run


def dropping(records: int) -> Callable[[], Answer]:
    def run() -> Answer:
        add_one, is_negative = f.add_one, f.is_negative
        count = total = 0
        for x in range(records):
            x = add_one(x)
            if is_negative(x):
                count += 1
                total += x
        return [count, total]

    return run


def ten(records: int) -> Callable[[], Answer]:
    def run() -> Answer:
        map1, map2, map3, filter1, map4, map5, map6, filter2, map7, map8 = (
            function for _, function in f.TEN
        )
        count = total = 0
        for x in range(records):
            x = map1(x)
            x = map2(x)
            x = map3(x)
            if filter1(x):
                x = map4(x)
                x = map5(x)
                x = map6(x)
                if filter2(x):
                    x = map7(x)
                    x = map8(x)
                    count += 1
                    total += x
        return [count, total]

    return run


def orders(records: int) -> Callable[[], Answer]:
    made = data.orders(records)

    def run() -> Answer:
        with_total, is_large_order, total_of = f.with_total, f.is_large_order, f.total_of
        count = total = 0
        for order in made:
            order = with_total(order)
            if is_large_order(order):
                value = total_of(order)
                count += 1
                total += value
        return [count, total]

    return run


def w2(records: int) -> Callable[[], Answer]:
    path = data.events_file(records)

    def run() -> Answer:
        decode, is_large, user_of, add_amount = f.decode, f.is_large, f.user_of, f.add_amount
        sums: dict[str, float] = {}
        count, total = 0, 0.0
        with path.open("rb") as lines:
            for line in lines:
                event = decode(line)
                if is_large(event):
                    user = user_of(event)
                    value = sums[user] = add_amount(sums.get(user, 0.0), event)
                    count += 1
                    total += value
        return [count, total]

    return run
