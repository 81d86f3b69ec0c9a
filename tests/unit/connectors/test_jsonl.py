"""JSON Lines files."""

import json
import json as stdlib_json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.connectors import jsonl
from millstream.connectors.files import EncodeError
from millstream.connectors.jsonl import JsonlSource
from millstream.core.codec import DecodeError
from millstream.core.codec import json as json_decoder
from millstream.core.codec import text as text_decoder
from millstream.core.errors import ConfigError
from tests.unit.connectors.driving import (
    CONTEXT,
    assert_resumes_everywhere,
    batches,
    decoded,
    one_by_one,
    records,
    write,
)

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


class Order(msgspec.Struct):
    id: int
    note: str = ""


@dataclass
class Point:
    x: float


def small_reads(path: Path, read_bytes: int, type: Any = Any) -> JsonlSource[Any]:
    return JsonlSource(path, json_decoder(type), read_bytes)


@in_one_folder
@given(
    written=st.lists(st.lists(documents, max_size=6), max_size=6), read_bytes=st.integers(1, 300)
)
def test_what_is_written_is_read_back(
    tmp_path: Path, written: list[list[Any]], read_bytes: int
) -> None:
    path = tmp_path / "data.jsonl"
    write(jsonl.sink(path), written)
    everything = [record for batch in written for record in batch]
    source = small_reads(path, read_bytes)
    assert records(source) == everything
    assert one_by_one(source) == everything
    assert_resumes_everywhere(source)


@in_one_folder
@given(
    lines=st.lists(
        st.sampled_from(["", " ", "\t ", '"x"', "1", '{"a": "é\\n"}', ' "𝄞" ']), max_size=12
    ),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    mark=st.booleans(),
    read_bytes=st.integers(1, 40),
)
def test_blank_lines_line_ends_and_a_missing_last_one_change_nothing(
    tmp_path: Path, lines: list[str], end: str, last: bool, mark: bool, read_bytes: int
) -> None:
    path = tmp_path / "data.jsonl"
    text = end.join(lines) + (end if last else "")
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + text.encode())
    expected = [json.loads(line) for line in lines if line.strip()]
    source = small_reads(path, read_bytes)
    assert records(source) == expected
    assert_resumes_everywhere(source)


@in_one_folder
@given(
    lines=st.lists(st.sampled_from(["", " a ", "é", "x" * 50]), max_size=12),
    end=st.sampled_from(["\n", "\r\n"]),
    read_bytes=st.integers(1, 40),
)
def test_as_text_every_line_comes_also_a_blank_one(
    tmp_path: Path, lines: list[str], end: str, read_bytes: int
) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes("".join(line + end for line in lines).encode())
    source = JsonlSource[str](path, text_decoder(), read_bytes)
    assert records(source) == lines
    assert records(jsonl.source(path, str)) == lines
    assert records(jsonl.source(path, bytes)) == [line.encode() for line in lines]
    assert_resumes_everywhere(source)


def test_records_come_as_the_type_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"id": 1, "note": "a"}\n{"id": 2}')
    assert records(jsonl.source(path)) == [{"id": 1, "note": "a"}, {"id": 2}]
    assert records(jsonl.source(path, type=Order)) == [Order(1, "a"), Order(2)]
    source = jsonl.source(path, type=Order)
    assert source.decoder is not None
    assert source.decoder.type is Order


def test_a_position_is_the_offset_of_the_next_line(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("1\n22\n\n333")
    assert list(batches(small_reads(path, 4))) == [
        ([1], {"path": str(path), "offset": 2, "line": 2}),
        ([22], {"path": str(path), "offset": 6, "line": 4}),
        ([333], {"path": str(path), "offset": 9, "line": 5}),
    ]


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"")
    assert records(jsonl.source(path)) == []


def test_a_line_that_is_no_json_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"id": 1}\n{"id": "x"}\n')
    with pytest.raises(DecodeError, match=r"Expected `int`, got `str` - at `\$.id`; got b'{"):
        records(jsonl.source(path, type=Order))
    path.write_bytes(b'1\n"\xc3')
    with pytest.raises(DecodeError, match="not the expected JSON"):
        records(jsonl.source(path))


@pytest.mark.parametrize("kind", [Order, str])
@pytest.mark.parametrize("before", [0, 5, 3000])
@pytest.mark.parametrize("blank", ["", "\n\n"])
def test_a_bad_line_is_named_with_file_and_number(
    tmp_path: Path, kind: Any, before: int, blank: str
) -> None:
    path = tmp_path / "data.jsonl"
    good = b'{"id": 1}\r\n'
    path.write_bytes(good * before + blank.encode() + b"\xff\n" + good)
    number = before + len(blank) + 1
    with pytest.raises(DecodeError, match=rf"^{path}, line {number:,}: not "):
        records(jsonl.source(path, kind))
    resumed = {"path": str(path), "offset": len(good) * before, "line": before + 1}
    with pytest.raises(DecodeError, match=rf"^{path}, line {number:,}: not "):
        records(jsonl.source(path, kind), resumed)
    del resumed["line"]
    with pytest.raises(DecodeError, match=r"^not "):
        records(jsonl.source(path, kind), resumed)


def test_a_line_keeps_its_number_where_a_block_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("1\n2\n3\n4\nx\n6\n")
    source = jsonl.source(path)
    source.open()
    ((lines, _),) = source.read(None)
    source.close()
    assert lines[0] == b"1"
    for part in (lines[2:], lines[1:5][2:], lines[::-1]):
        with pytest.raises(DecodeError, match=r"data.jsonl, line 5: not the expected JSON"):
            decoded(source, part)


def test_lines_that_are_the_records_are_plain_bytes(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"\xff\n")
    assert [type(line) for line in records(jsonl.source(path, bytes))] == [bytes]


def test_validate_sees_a_missing_file_before_the_run(tmp_path: Path) -> None:
    source = jsonl.source(tmp_path / "no.jsonl")
    with pytest.raises(ConfigError, match="jsonl source: there is no file"):
        source.validate()
    with pytest.raises(ConfigError, match="jsonl source: there is no file"):
        source.open()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": 5}, "jsonl source: path= takes the path of a file"),
        ({"path": ""}, "path= takes the path of a file"),
        ({"path": b"x"}, "path= takes the path of a file"),
        ({"path": "folder/"}, "path= takes the path of a file"),
        ({"path": "\ud800"}, "path= takes the path of a file"),
        ({"path": "a\0b"}, "path= takes the path of a file"),
        ({"path": "x.jsonl.gz"}, "path= takes an uncompressed file"),
        ({"path": "x", "type": "Order"}, "type= takes a type that msgspec can decode JSON into"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        jsonl.source(**options)


def test_an_unknown_option_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"unexpected keyword argument 'pth'.*path, type="):
        jsonl.CONNECTOR.make_source({"path": "x", "pth": "x"})


# -- the sink -------------------------------------------------------------------------------------


def test_the_sink_takes_what_msgspec_encodes(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write(jsonl.sink(path), [[Order(1, "é"), Point(0.5)], range(2), [math.nan, {"a": None}]])
    assert path.read_text("utf-8") == ('{"id":1,"note":"é"}\n{"x":0.5}\n0\n1\nnull\n{"a":null}\n')


def test_the_file_appears_only_when_the_run_finishes(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write(jsonl.sink(path), [[1], [2]], finish=False)
    assert os.listdir(tmp_path) == []
    write(jsonl.sink(path), [[1], [2]])
    assert os.listdir(tmp_path) == ["out.jsonl"]
    assert path.read_text() == "1\n2\n"


@pytest.mark.parametrize("bad", [object(), {(1, 2): 3}, "\ud800", {"deep": [object()]}])
def test_a_record_that_is_no_json_is_named_and_nothing_appears(tmp_path: Path, bad: Any) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    with pytest.raises(EncodeError, match="jsonl sink: cannot write the record ") as caught:
        write(jsonl.sink(path), [[1, 2], [3, bad, 4]])
    assert repr(bad)[:50] in str(caught.value)
    assert os.listdir(tmp_path) == ["out.jsonl"]
    assert path.read_text() == "old"


def test_one_record_at_a_time_is_the_same(tmp_path: Path) -> None:
    sink = jsonl.sink(tmp_path / "out.jsonl")
    sink.open(CONTEXT)
    sink.invoke({"a": 1}, CONTEXT)
    sink.finish()
    sink.close()
    assert (tmp_path / "out.jsonl").read_text() == '{"a":1}\n'


def test_the_sink_validates_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="jsonl sink: there is no folder"):
        jsonl.sink(tmp_path / "no" / "out.jsonl").validate()
    with pytest.raises(ConfigError, match="uncompressed"):
        jsonl.sink("out.gz")
    jsonl.sink(tmp_path / "out.jsonl").close()  # never opened: fine


def test_a_run_that_goes_on_has_all_records_once(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    first = jsonl.sink(path)
    first.open(CONTEXT)
    first.invoke_batch([1, 2], CONTEXT)
    state = stdlib_json.loads(stdlib_json.dumps(first.snapshot_state()))
    first.invoke_batch([3], CONTEXT)
    first.flush()
    first.close()
    later = jsonl.sink(path)
    later.restore_state(state)
    later.open(CONTEXT)
    later.invoke_batch([3, 4], CONTEXT)
    later.finish()
    later.close()
    assert path.read_text() == "1\n2\n3\n4\n"
    with pytest.raises(ConfigError, match=r"the saved state 5 is not one of a file"):
        jsonl.sink(path).restore_state(5)
