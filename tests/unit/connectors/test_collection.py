"""Records from and into a list."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.connectors import collection
from millstream.core.errors import ConfigError
from tests.unit.connectors.driving import assert_resumes_everywhere, records, write


@given(st.lists(st.integers(), max_size=30), st.integers(1, 7))
def test_it_emits_the_list_and_resumes_anywhere(values: list[int], batch_size: int) -> None:
    source = collection.source(values, batch_size)
    assert records(source) == values
    assert_resumes_everywhere(source)


@pytest.mark.parametrize("values", [(1, 2, 3), range(1, 4), deque([1, 2, 3])])
def test_it_takes_any_sequence(values: Sequence[int]) -> None:
    assert records(collection.source(values, 2)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (iter([1]), "an iterator can be read only once"),
        ((x for x in [1]), "an iterator can be read only once"),
        ({1, 2}, "a set has no order"),
        ({"a": 1}, r"put it into a list to emit it as one record: \[dict …\]"),
        ("text", "put it into a list"),
        (5, r"use list\(…\)"),
    ],
)
def test_what_cannot_be_read_again_is_refused_with_the_reason(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        collection.source(values)


def test_batch_size_is_checked() -> None:
    with pytest.raises(ConfigError, match="batch_size= takes an integer from 1 on; got 0"):
        collection.source([1], 0)


@pytest.mark.parametrize("position", [3, -1, "1"])
def test_a_position_past_the_end_is_refused(position: Any) -> None:
    with pytest.raises(ConfigError, match="is not in the 2 records"):
        records(collection.source([1, 2]), position)


def test_the_sink_appends_to_the_users_own_list() -> None:
    into = [0]
    write(collection.sink(into), [[1, 2], range(3, 5)])
    assert into == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("into", [(), None, "text", bytearray()])
def test_the_sink_refuses_what_is_no_list(into: Any) -> None:
    with pytest.raises(ConfigError, match="into= takes a list to append to"):
        collection.sink(into)
