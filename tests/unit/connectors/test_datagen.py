"""Made-up records."""

import copy
import functools
import random
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.connectors import datagen
from millstream.connectors.datagen import BLOCK_SIZE
from millstream.core.errors import ConfigError, SourceError
from millstream.core.source import Boundedness
from tests.unit.connectors.driving import batches, records


def make(index: int, numbers: random.Random) -> tuple[int, float, int]:
    """Take a different count of random numbers per record."""
    extra = sum(numbers.randrange(10) for _ in range(index % 3))
    return (index, numbers.random(), extra)


def test_the_same_seed_gives_the_same_records_and_another_does_not() -> None:
    first = records(datagen.source(make, count=3000, seed=1))
    assert [record[0] for record in first] == list(range(3000))
    assert records(datagen.source(make, count=3000, seed=1)) == first
    assert records(datagen.source(make, count=3000, seed=2)) != first
    assert first[0][1] != first[BLOCK_SIZE][1]


EVERYTHING = records(datagen.source(make, count=3 * BLOCK_SIZE))


@given(st.integers(0, 3 * BLOCK_SIZE))
def test_a_resume_anywhere_gives_the_rest(position: int) -> None:
    source = datagen.source(make, count=3 * BLOCK_SIZE)
    assert records(source, position) == EVERYTHING[position:]


def test_a_rate_changes_no_record() -> None:
    source = datagen.source(make, count=2000, rate=100_000)
    assert records(source) == EVERYTHING[:2000]
    middle = [position for _, position in batches(source)][1]
    assert records(source, middle) == EVERYTHING[middle:2000]


def test_without_a_count_it_is_unbounded_and_cancel_ends_it() -> None:
    source = copy.copy(datagen.source(make, rate=0.001))
    assert source.boundedness is Boundedness.UNBOUNDED
    source.open()
    thread = threading.Thread(target=lambda: list(source.read(None)))
    thread.start()
    source.cancel()
    thread.join(5)
    assert not thread.is_alive()


def test_a_failing_function_is_named_with_its_record() -> None:
    def fails(index: int, numbers: random.Random) -> int:
        return 1 // (5 - index)

    with pytest.raises(SourceError, match=r"fails\(5, random\) failed: ZeroDivisionError"):
        records(datagen.source(fails, count=10))


async def awaited(index: int, numbers: random.Random) -> int:
    return index


def yields(index: int, numbers: random.Random) -> Any:
    yield index


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"make": 5}, r"make= takes a function of \(i, random\) that returns a record; got 5"),
        ({"make": lambda index: index}, "too many positional arguments"),
        ({"make": awaited}, "nothing would await it"),
        ({"make": yields}, "let it return one record"),
        ({"make": make, "count": -1}, "count= takes an integer from 0 on; got -1"),
        ({"make": make, "seed": "x"}, "seed= takes an integer; got 'x'"),
        ({"make": make, "rate": -1}, "rate= takes records per second"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        datagen.source(**options)


def test_any_callable_of_two_will_do() -> None:
    assert records(datagen.source(functools.partial(lambda c, i, r: c + i, 10), count=2)) == [
        10,
        11,
    ]
    assert datagen.CONNECTOR.make_source({"make": make}).describe()["make"] == "make"


def test_a_position_of_another_source_is_refused() -> None:
    with pytest.raises(ConfigError, match="start without the saved state"):
        records(datagen.source(make, count=1), {"path": "x"})
