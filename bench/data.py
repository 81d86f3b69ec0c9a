"""Makes the records of the workloads and the right answers to them, always the same.

The answers are computed from what the generator draws, without decoding and without the functions
under test, in integer cents; a run whose answer differs is not ok, however fast it was.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parents[1]
USERS = 10_000
CYCLED_LINES = 500_000
SEED = 42
BASE_MS = 1_700_000_000_000
RELATIVE_TOLERANCE = 1e-9  # of sums: the files hold decimal fractions, floats add them inexactly

Answer = list[float]
"""``[count, sum]`` of what reached the sink."""


def folder() -> Path:
    """Return where the files are kept; BENCH_DATA overrides it."""
    return Path(os.environ.get("BENCH_DATA", ROOT / "build" / "data"))


def events(records: int) -> Iterator[tuple[int, int, int]]:
    """Yield ``(user, cents, ts)``; fewer records are a prefix of more."""
    draw = random.Random(SEED).random
    for number in range(records):
        user = int(draw() * USERS)
        cents = int(draw() * 10_000)
        yield user, cents, BASE_MS + number // 10 + int(draw() * 41) - 20


def events_file(records: int) -> Path:
    """Return a JSON Lines file of so many events, written if it is not there."""
    path = folder() / f"events_{records}.jsonl"
    if not path.exists():
        _write(path, records)
    return path


def orders(records: int) -> list[dict[str, Any]]:
    """Return so many dict records, in memory."""
    draw = random.Random(SEED).random
    return [
        {
            "id": number,
            "user": f"user_{int(draw() * USERS)}",
            "price": int(draw() * 10_000),
            "quantity": 1 + number % 4,
        }
        for number in range(records)
    ]


def _write(path: Path, records: int) -> None:
    """Write the file, and the answer beside it: one pass draws both."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sums: dict[int, int] = {}
    count = total = 0
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        for user, cents, ts in events(records):
            amount = f"{cents // 100}.{cents % 100:02}"
            file.write(f'{{"user": "user_{user}", "amount": {amount}, "ts": {ts}}}\n')
            if cents >= 1_000:
                sums[user] = sums.get(user, 0) + cents
                count += 1
                total += sums[user]
    _answer_path(records).write_text(json.dumps([count, total / 100]))
    unfinished.replace(path)


def _answer_path(records: int) -> Path:
    return folder() / f"answer_{records}.json"


# -- right answers --------------------------------------------------------------------------------


def answer_numbers(records: int) -> Answer:
    """Return what an empty chain gives."""
    return [records, records * (records - 1) // 2]


def answer_w1(records: int) -> Answer:
    """Return W1's answer: three times the even numbers up to ``records``."""
    evens = records // 2
    return [evens, 3 * evens * (evens + 1)]


def answer_nothing(records: int) -> Answer:
    """Return what a filter that drops everything gives."""
    return [0, 0]


def answer_ten(records: int) -> Answer:
    """Return the answer of the ten operators, their expressions written out."""
    count = total = 0
    for x in range(records):
        x = (x + 1) * 3 - 7
        if x % 2 == 0:
            x = (x // 2 + 11) * 2
            if x % 5:
                count += 1
                total += x - 3
    return [count, total]


def answer_orders(records: int) -> Answer:
    """Return the answer of the dict records."""
    totals = [order["price"] * order["quantity"] for order in orders(records)]
    large = [total for total in totals if total >= 5_000]
    return [len(large), sum(large)]


def answer_w2(records: int) -> Answer:
    """Return W2's answer: how many running sums, and the sum of them."""
    events_file(records)
    answer: Answer = json.loads(_answer_path(records).read_text())
    return answer


def cycled(records: int) -> tuple[int, int]:
    """Return how many lines a file has that is read again and again, and how often."""
    lines = min(records, CYCLED_LINES)
    return lines, records // lines


def answer_cycled(records: int) -> Answer:
    """Return W2's answer where the file is read again and again: the sums go on."""
    lines, cycles = cycled(records)
    count, total = answer_w2(lines)
    sums: dict[int, int] = {}
    counts: dict[int, int] = {}
    for user, cents, _ in events(lines):
        if cents >= 1_000:
            sums[user] = sums.get(user, 0) + cents
            counts[user] = counts.get(user, 0) + 1
    again = sum(sums[user] * counts[user] for user in sums) / 100  # what one cycle adds to the next
    return [cycles * count, cycles * total + again * cycles * (cycles - 1) / 2]


def answer_lines(records: int) -> Answer:
    """Return how many lines the orders are as JSON, and how many bytes."""
    made = orders(records)
    return [records, len(msgspec.json.Encoder().encode_lines(made))]


def answer_prices(records: int) -> Answer:
    """Return how many orders there are, and the sum of their prices."""
    return [records, sum(order["price"] for order in orders(records))]


def is_right(answer: object, expected: Answer) -> bool:
    """Return whether a run's answer is the right one."""
    if not isinstance(answer, list) or len(answer) != len(expected):
        return False
    return bool(answer[0] == expected[0]) and all(
        abs(got - right) <= RELATIVE_TOLERANCE * max(1.0, abs(right))
        for got, right in zip(answer, expected, strict=True)
    )


AnswerOf = Callable[[int], Answer]
