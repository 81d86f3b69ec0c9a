"""Positions, chunks and control elements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.element import (
    Barrier,
    Chunk,
    Control,
    EndOfInput,
    Idle,
    Position,
    Watermark,
)


@pytest.mark.parametrize(
    ("position", "text"),
    [
        (Position(None, 0), "the beginning"),
        (Position(None, 3), "the beginning + 3 records"),
        (Position(17, 0), "17"),
        (Position("page-2", 5), "'page-2' + 5 records"),
        (Position({"offset": 1}, 0), "{'offset': 1}"),
    ],
)
def test_a_position_reads_as_a_place(position: Position, text: str) -> None:
    assert str(position) == text


def test_a_position_moves_on_and_stays_what_it_was() -> None:
    start = Position("page-2", 1)
    assert start.plus(2).plus(0).plus(4) == Position("page-2", 7)
    assert start == Position("page-2", 1)


def chunk(size: int, *, exact: bool = True) -> Chunk:
    return Chunk(
        list(range(size)), "split", Position("a", 2), Position("b", 0), 1_700_000, exact=exact
    )


@given(st.integers(1, 50), st.data())
def test_a_chunk_cut_anywhere_keeps_its_records_and_exact_positions(
    size: int, data: st.DataObject
) -> None:
    whole = chunk(size)
    whole.timestamps = list(range(100, 100 + size))
    records = data.draw(st.integers(0, size - 1))
    head, tail = whole.split_at(records)
    assert [*head.values, *tail.values] == whole.values
    assert [*(head.timestamps or ()), *(tail.timestamps or ())] == whole.timestamps
    assert (len(head), len(tail)) == (records, size - records)
    assert head.start == whole.start
    assert head.end == tail.start == Position("a", 2 + records)
    assert tail.end == whole.end
    assert head.split == tail.split == "split"
    assert head.ingested_ms == tail.ingested_ms == 1_700_000
    assert head.exact
    assert tail.exact


def test_a_chunk_whose_records_were_made_on_the_way_repeats_none_of_its_input_when_cut() -> None:
    head, tail = chunk(5, exact=False).split_at(2)
    assert (head.start, head.end) == (tail.start, tail.end) == (Position("a", 2), Position("b", 0))
    assert not head.exact
    assert not tail.exact


def test_a_record_of_a_chunk_stands_behind_those_before_it_if_none_was_dropped() -> None:
    assert chunk(5).position_of(3) == Position("a", 5)
    assert chunk(5, exact=False).position_of(3) == Position("a", 2)


def test_a_chunk_without_timestamps_has_none_in_either_half() -> None:
    head, tail = chunk(2).split_at(1)
    assert head.timestamps is tail.timestamps is None


def test_a_chunk_shows_how_many_records_from_where() -> None:
    assert repr(chunk(3)) == "Chunk(3 records of 'split' from 'a' + 2 records)"


def test_control_elements_are_equal_by_what_they_say() -> None:
    elements = [Watermark(5), Barrier(5), Idle(), EndOfInput()]
    assert elements == [Watermark(5), Barrier(5), Idle(), EndOfInput()]
    assert len(set(elements)) == 4
    assert all(isinstance(element, Control) for element in elements)
    assert Barrier(1) != Barrier(2)
