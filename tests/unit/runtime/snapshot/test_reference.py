"""The examples of docs/reference/snapshot-format.md are what is written; readers rely on them."""

from __future__ import annotations

import datetime
import io
import json
import re
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zlib import crc32

import msgspec
import pytest

from millstream.core.key import canonical_bytes
from millstream.runtime.snapshot import tags
from millstream.runtime.snapshot.codec import Codec
from millstream.runtime.snapshot.state_file import StateFileWriter, StateHeader
from millstream.runtime.snapshot.type_description import describe
from tests.support.snapshot_values import same

PROJECT = Path(__file__).parents[4]
PAGE = (PROJECT / "docs" / "reference" / "snapshot-format.md").read_text("utf-8")
ROWS = re.findall(r"^\| (\d+) \| .* \| `(.+)` \| `([0-9a-f ]+)` \|$", PAGE, re.MULTILINE)
NAMES = {
    "Decimal": Decimal,
    "UUID": UUID,
    "date": datetime.date,
    "time": datetime.time,
    "datetime": datetime.datetime,
    "timedelta": datetime.timedelta,
}


@pytest.mark.parametrize(("code", "example", "data"), ROWS)
def test_a_tag_is_written_as_in_the_reference(code: str, example: str, data: str) -> None:
    value = eval(example, {}, NAMES)  # noqa: S307  # our own page
    assert Codec().encode(value) == bytes.fromhex(data)
    assert same(Codec().decode(bytes.fromhex(data)), value)
    assert bytes.fromhex(data)[1 if data[:2] != "c7" else 2] == int(code)


def test_every_tag_is_in_the_reference() -> None:
    codes = {value for name, value in vars(tags).items() if name.isupper() and type(value) is int}
    assert codes == {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert len(ROWS) == len(codes) - 2  # a class of an example would not be found


def test_every_key_of_header_and_metadata_is_in_the_reference() -> None:
    for name in StateHeader.__struct_fields__:
        assert f"`{name}`" in PAGE


def test_the_file_of_the_reference_is_what_is_written() -> None:
    example = PAGE.partition("## A whole file")[2]
    lines = re.findall(r"^((?:[0-9a-f]{2} )+) ", example, re.MULTILINE)
    output = io.BytesIO()
    key_type, value_type = describe(str), describe(tuple[int, float])
    header = StateHeader(
        job="j", uid="u", state="s", kind="value", key_type=key_type, type=value_type
    )
    writer = StateFileWriter(output, header, Codec())
    writer.write(["a"], [(1, 2.5)])
    writer.finish()
    assert output.getvalue() == bytes.fromhex("".join(lines))


def read_by_the_page(data: bytes) -> tuple[Any, list[tuple[Any, Any]]]:
    """A second reader, of the page alone: nothing of Millstream, objects as dicts."""
    magic, version = struct.unpack(">16sH", data[:18])
    assert (magic, version) == (b"MILLSTREAM STATE", 1)
    at, blocks = 18, []
    while at < len(data):
        kind, length = struct.unpack(">cQ", data[at : at + 9])
        payload = data[at + 9 : at + 9 + length]
        at += 9 + length
        assert struct.unpack(">I", data[at : at + 4])[0] == crc32(data[:at])
        at += 4
        blocks.append((kind, msgspec.msgpack.decode(payload)))
    (first, header), *slices, (last, footer) = blocks
    assert (first, last) == (b"H", b"F")
    entries = []
    for kind, (key_shape, value_shape, keys, values) in slices:
        assert kind == b"S"
        for key, value in zip(keys, values, strict=True):
            entries.append((shaped(key_shape, key), shaped(value_shape, value)))
    assert footer == {"slices": len(slices), "entries": len(entries)}
    return header, entries


def shaped(shape: Any, item: Any) -> Any:
    match shape:
        case "any":
            return item
        case ["tuple", *shapes]:
            return tuple(map(shaped, shapes, item))
        case ["list", inner]:
            return [shaped(inner, each) for each in item]
        case ["record", _, fields, *shapes]:
            return dict(zip(fields, map(shaped, shapes, item), strict=True))
    raise AssertionError(shape)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("value", [("ann", (12, 3.5, 7)), ("bob", (1, 0.5, 2)), ("eve", (3, -0.0, 9))]),
        ("list", [(1, [{"x": 1, "y": 2.0}]), (2, []), (3, [{"x": 3, "y": 4.0}])]),
        ("map", [(("ann", 1), "one"), (("ann", 2), "two")]),
        ("empty", []),
    ],
)
def test_the_page_is_enough_to_read_a_file(name: str, expected: Any) -> None:
    path = PROJECT / "tests" / "fixtures" / "snapshots" / "v1" / f"{name}.state"
    header, entries = read_by_the_page(path.read_bytes())
    assert entries == expected
    assert header["job"] == "Überweisungen"
    json.dumps(header)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("é", b"s\xc3\xa9"),
        (b"\x01", b"b\x01"),
        (-255, b"i-ff"),
        (True, b"tTrue"),
        (UUID(int=1), b"u" + bytes(15) + b"\x01"),
        (datetime.date(2026, 1, 1), b"d2026-01-01"),
        (datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.UTC), b"Z1000000"),
        ((1, "a"), b"(\x00\x00\x00\x02i1\x00\x00\x00\x02sa"),
    ],
)
def test_canonical_bytes_are_as_in_the_reference(key: Any, expected: bytes) -> None:
    assert canonical_bytes(key) == expected
