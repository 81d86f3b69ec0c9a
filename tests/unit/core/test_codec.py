"""Decoders, and lines that are cut only when somebody looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.codec import DecodeError, Lines, json, text
from millstream.core.errors import ConfigError, RecordError


class Order(msgspec.Struct):
    user: str
    amount: int


@dataclass
class Item:
    name: str
    tags: list[str]


LINES = st.lists(st.binary(max_size=5).map(lambda line: line.replace(b"\n", b"")), max_size=8)


def lines(cut: list[bytes]) -> Lines:
    return Lines(b"".join(line + b"\n" for line in cut), len(cut))


@settings(max_examples=40)
@given(LINES, st.slices(8))
def test_lines_are_a_sequence_like_the_list_of_them(cut: list[bytes], part: slice) -> None:
    whole = lines(cut)
    assert len(whole) == len(cut)
    assert list(whole) == cut
    assert list(whole[part]) == cut[part]
    assert len(whole[part]) == len(cut[part])
    assert whole[part].block == b"".join(line + b"\n" for line in cut[part])
    assert list(whole[part][::-1]) == cut[part][::-1]


def test_a_line_is_found_by_its_place() -> None:
    whole = lines([b"a", b"", b"c"])
    assert (whole[0], whole[1], whole[-1]) == (b"a", b"", b"c")
    assert b"c" in whole
    with pytest.raises(IndexError):
        _ = whole[3]


def test_lines_that_are_cut_already_are_put_together_when_asked_for() -> None:
    assert Lines.of([b"a", b"b"]).block == b"a\nb\n"
    assert Lines.of([]).block == b""


def test_json_becomes_plain_values_without_a_type() -> None:
    assert json().decode(b'{"a": [1, 2.5, null, "x"]}') == {"a": [1, 2.5, None, "x"]}
    assert json().type is None


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (Order, b'{"user": "ann", "amount": 3}', Order("ann", 3)),
        (Item, b'{"name": "pen", "tags": ["a"]}', Item("pen", ["a"])),
        (list[int], b"[1, 2]", [1, 2]),
        (dict, b'{"a": 1}', {"a": 1}),
        (Order | None, b"null", None),
    ],
)
def test_json_becomes_a_typed_value(kind: Any, raw: bytes, value: Any) -> None:
    decoder = json(kind)
    assert decoder.decode(raw) == value
    assert decoder.type is kind


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"user": "ann", "amount": "3"}', r"Expected `int`, got `str` - at `\$.amount`"),
        (b'{"user": "ann"}', "missing required field `amount`"),
        (b"{", "truncated"),
        (b"", "truncated"),
        (b"\xff", "got b'\\\\xff'"),
        (b'{"user": "\xff", "amount": 1}', "not the expected JSON"),
    ],
)
def test_json_that_is_not_as_expected_names_the_field_and_the_bytes(
    raw: bytes, message: str
) -> None:
    with pytest.raises(DecodeError, match=message) as failed:
        json(Order).decode(raw)
    assert isinstance(failed.value, RecordError)
    assert f"got {raw!r}" in str(failed.value)
    assert failed.value.__cause__ is not None


def test_long_bytes_are_cut_in_the_error() -> None:
    with pytest.raises(DecodeError) as failed:
        json().decode(b"x" * 10_000)
    assert len(str(failed.value)) < 400


@pytest.mark.parametrize("kind", [5, "Order", lambda: 1])
def test_a_type_that_json_cannot_be_decoded_to_is_refused_at_once(kind: Any) -> None:
    with pytest.raises(ConfigError, match="no type that JSON can be decoded to"):
        json(kind)


def test_a_block_of_json_lines_is_decoded_in_one_call() -> None:
    block = lines([b'{"user": "a", "amount": 1}', b'{"user": "b", "amount": 2}'])
    assert json(Order).decode_block(block) == [Order("a", 1), Order("b", 2)]
    assert json().decode_block(lines([])) == []


def test_a_block_with_blank_lines_is_left_to_line_by_line() -> None:
    assert json().decode_block(lines([b"1", b"", b"2"])) is None


def test_text_is_utf_8() -> None:
    assert text().decode("é€".encode()) == "é€"
    assert text().decode(b"") == ""
    assert text().decode_block(lines([b"a"])) == ["a"]
    with pytest.raises(DecodeError, match=r"not UTF-8 text: .*; got b'\\xff'"):
        text().decode(b"\xff")
