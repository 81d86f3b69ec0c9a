"""CSV files."""

import csv as stdlib_csv
import io
import json
import os
from dataclasses import dataclass
from operator import length_hint
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.connectors import csv
from millstream.connectors.csv import CsvSource
from millstream.connectors.csv_rows import csv_format
from millstream.connectors.csv_table import CsvDecoder
from millstream.connectors.files import EncodeError
from millstream.core.codec import DecodeError, Lines
from millstream.core.errors import ConfigError, SourceError
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

cells = st.sampled_from(["", "a", "é𝄞", "x,y", 'say "hi"', "two\nlines", "\r\n", " ", "\r", "-1.5"])
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def small_reads(
    path: Path, read_bytes: int, null_values: tuple[str, ...] = (), **options: Any
) -> CsvSource[dict[str, str | None]]:
    form = csv_format("test", options.get("delimiter", ","), "utf-8", null_values)
    return CsvSource(path, CsvDecoder(dict), form, options.get("header"), read_bytes)


@in_one_folder
@given(
    rows=st.lists(st.tuples(cells | any_text, cells | any_text), max_size=10),
    read_bytes=st.integers(1, 200),
)
def test_what_is_written_is_read_back(
    tmp_path: Path, rows: list[tuple[str, str]], read_bytes: int
) -> None:
    path = tmp_path / "data.csv"
    written = [{"one": one, "other": other} for one, other in rows]
    write(csv.sink(path, ["one", "other"]), [written[:3], written[3:]])
    source = small_reads(path, read_bytes)
    assert records(source) == written
    assert one_by_one(source) == written
    assert_resumes_everywhere(source)


@in_one_folder
@given(
    rows=st.lists(st.lists(cells, min_size=2, max_size=2), max_size=8),
    delimiter=st.sampled_from([",", ";", "\t"]),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([stdlib_csv.QUOTE_ALL, stdlib_csv.QUOTE_NONNUMERIC]),
    blank=st.sets(st.integers(0, 8)),
    last=st.booleans(),
    mark=st.booleans(),
    read_bytes=st.integers(1, 60),
)
def test_other_peoples_files_are_read(  # what the csv module writes, in all its ways
    tmp_path: Path,
    rows: list[list[str]],
    delimiter: str,
    end: str,
    quoting: Any,
    blank: set[int],
    last: bool,
    mark: bool,
    read_bytes: int,
) -> None:
    text = io.StringIO()
    writer = stdlib_csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    for number, row in enumerate([["one", "other"], *rows]):
        text.write(end if number in blank else "")
        writer.writerow(row)
    content = text.getvalue() if last else text.getvalue().removesuffix(end)
    path = tmp_path / "data.csv"
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + content.encode())
    source = small_reads(path, read_bytes, delimiter=delimiter)
    expected = [dict(zip(("one", "other"), row, strict=True)) for row in rows]
    assert records(source) == expected
    assert one_by_one(source) == expected
    assert_resumes_everywhere(source)


@in_one_folder
@given(
    text=st.text(st.sampled_from('ab,"\n'), max_size=40).filter(lambda text: text.count('"') < 30),
    read_bytes=st.integers(1, 20),
)
def test_malformed_quotes_are_read_as_the_csv_module_does(
    tmp_path: Path, text: str, read_bytes: int
) -> None:
    path = tmp_path / "data.csv"
    path.write_text(text)
    expected = [row for row in stdlib_csv.reader(io.StringIO(text, newline="\n")) if row]
    form = csv_format("test", ",", "utf-8", ())
    source = CsvSource[Any](path, CsvDecoder(dict), form, ("one",), read_bytes)
    source.open()
    found: list[list[str]] = []
    try:
        for rows, _ in source.read(None):
            for row in rows:
                cut = stdlib_csv.reader(io.StringIO(row.decode(), newline="\n"))
                found += [cells for cells in cut if cells]
        assert found == expected
    except SourceError:  # a quote that is never closed, which the csv module lets pass
        assert found == expected[:-1]
    finally:
        source.close()


def test_blocks_have_up_to_1024_rows_also_where_rows_have_many_lines(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    written = [{"a": str(n), "b": "x" if n % 700 else "line\n" * 3000} for n in range(5000)]
    write(csv.sink(path), [written])
    found = list(batches(csv.source(path)))
    assert [record for batch, _ in found for record in batch] == written
    assert max(len(batch) for batch, _ in found) <= 1024


def test_a_position_is_the_offset_of_the_next_row(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text('a,b\n1,2\n\n"3\n",4\n5,6')
    assert list(batches(small_reads(path, 6))) == [
        ([{"a": "1", "b": "2"}], {"path": str(path), "offset": 9, "line": 4}),
        (
            [{"a": "3\n", "b": "4"}, {"a": "5", "b": "6"}],
            {"path": str(path), "offset": 19, "line": 7},
        ),
    ]


def test_a_position_without_a_line_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a\n1\n2\n")
    position = {"path": str(path), "offset": 4}
    assert records(csv.source(path), position) == [{"a": "2"}]
    path.write_text("a\n1\n2,3\n")
    with pytest.raises(DecodeError, match=r"data.csv, a row has 2 cells"):
        records(csv.source(path), position)


def test_null_values_become_none(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text('a,b\nNA,x\n,NA\n"",y\n')
    assert records(csv.source(path)) == [
        {"a": "NA", "b": "x"},
        {"a": None, "b": "NA"},
        {"a": None, "b": "y"},
    ]
    assert records(csv.source(path, null_values=("NA",)))[1] == {"a": "", "b": None}
    assert records(csv.source(path, null_values=()))[1] == {"a": "", "b": "NA"}


def test_a_header_given_reads_the_first_line_as_a_record(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("1,2\n3,4\n")
    source = csv.source(path, header=["x", "y"])
    assert records(source) == [{"x": "1", "y": "2"}, {"x": "3", "y": "4"}]
    assert_resumes_everywhere(source)


def test_other_encodings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes('name\nMüller\n"Ren\né"\n'.encode("cp1252"))
    source = csv.source(path, encoding="cp1252")
    assert records(source) == [{"name": "Müller"}, {"name": "Ren\né"}]
    assert_resumes_everywhere(source)
    path.write_bytes("\ufeffname\né\n".encode())
    assert records(csv.source(path, encoding="utf-8-sig")) == [{"name": "é"}]


def test_an_empty_file_has_no_header(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("")
    with pytest.raises(ConfigError, match=r"is empty; expected a line with the column names, or"):
        csv.source(path).validate()
    assert records(csv.source(path, header=["a"])) == []
    path.write_text("\n\na,b")
    assert records(csv.source(path)) == []


def test_a_slice_of_rows_is_decoded_as_a_block(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text('a,b\n1,"x\ny"\n\n2,z\n3,w\n')
    source = csv.source(path)
    source.open()
    ((rows, _),) = source.read(None)
    source.close()
    assert isinstance(rows, Lines)
    for start, stop in ((0, 1), (1, 3), (0, 0), (1, 1)):
        part = rows[start:stop]
        assert isinstance(part, Lines)
        assert len(part) == stop - start
        block = source.decoder.decode_block(part)
        assert block == decoded(source, list(rows)[start:stop]) == decoded(source, rows)[start:stop]
    assert rows[1:][0] == rows[1] == b"2,z"


def test_an_iterator_of_rows_knows_how_far_it_is(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a\n1\n2\n3\n")
    source = csv.source(path)
    source.open()
    ((rows, _),) = source.read(None)
    source.close()
    iterator = iter(rows)
    next(iterator)
    assert length_hint(iterator) == 2  # by which the engine names the row that failed


# -- what is malformed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", r"data.csv, line 3 has 1 cells, but the header has 2; got b'3'"),
        ("a,b\n\n1,2,3\n", "data.csv, line 3 has 3 cells"),
        ('a,b\n"1\n1",2\n"3\n"\n', "data.csv, line 4 has 1 cells"),
        ("a,b\n1,\udcff\n", "data.csv, line 2: 'utf-8' codec can't decode byte 0xff"),
        ('a,b\n"1",\udcff\n', "data.csv, line 2: 'utf-8' codec can't decode byte 0xff"),
        ("a,b\n1\r2,3\n", "data.csv, line 2: new-line character seen in unquoted field"),
        ('a,b\n"1",2\n\n1\r2,"3"\n', "data.csv, line 4: new-line character seen in unquoted field"),
        ('a,b\n"1",' + "x" * 200_000 + "\n", r"data.csv, line 2: field larger than field limit"),
    ],
)
def test_a_malformed_row_is_named_and_the_others_are_good(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape") + b"8,9\n")
    source = csv.source(path)
    with pytest.raises(DecodeError, match=message):
        records(source)
    source.open()
    *_, (rows, _) = source.read(None)
    source.close()
    assert source.decoder.decode(rows[-1]) == {"a": "8", "b": "9"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a\n1\n"2\n3\n', "line 3 has a quote that is never closed; was the file cut"),
        ('a\n1\n"' + "xx\n" * 90_000, r"line 3: field larger than field limit \(131072\)"),
    ],
)
def test_a_quote_that_is_never_closed_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(text)
    with pytest.raises(SourceError, match=message):
        records(csv.source(path))


def test_a_header_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"a,\xff\n1,2\n")
    with pytest.raises(ConfigError, match="the header cannot be read: 'utf-8' codec"):
        csv.source(path).validate()
    path.write_bytes(b"a,b\r1,2\r")
    with pytest.raises(ConfigError, match="the header cannot be read: new-line character"):
        csv.source(path).validate()


# -- options --------------------------------------------------------------------------------------


class Plain:
    a: str


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": None}, "csv source: path= takes the path of a file"),
        ({"type": int}, "type= takes dict, a msgspec.Struct or a dataclass; got <class 'int'>"),
        ({"type": Plain}, "type= takes dict"),
        ({"delimiter": "ab"}, "delimiter= takes one ASCII character"),
        ({"delimiter": '"'}, "delimiter= takes one ASCII character"),
        ({"null_values": "NA"}, r"null_values= takes a list .*\(\"NA\", \"\"\); got 'NA'"),
        ({"null_values": [None]}, "null_values= takes a list"),
        ({"header": ["a", "a"]}, "header= takes at least one name, each of them once"),
        ({"header": []}, "header= takes at least one name"),
        ({"encoding": "klingon"}, "encoding= takes an encoding that keeps ASCII"),
        ({"encoding": "utf-16"}, "convert the file first"),
        ({"encoding": "iso2022_jp"}, "convert the file first"),
        ({"encoding": 8}, "encoding= takes an encoding"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        csv.source(**{"path": "x.csv", **options})


def test_validate_sees_a_missing_file_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="csv source: there is no file"):
        csv.source(tmp_path / "no.csv").validate()
    assert csv.CONNECTOR.make_source({"path": "x"}).describe()["delimiter"] == ","


# -- the sink -------------------------------------------------------------------------------------


@dataclass
class Point:
    x: float
    y: int | None = None


def test_the_header_is_the_fields_of_the_first_record(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write(csv.sink(path), [[Point(0.5)], [{"y": 1, "x": "a"}, Point(2.0, 3)]])
    assert path.read_text() == "x,y\n0.5,\na,1\n2.0,3\n"


def test_the_header_given_is_written_also_without_records(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write(csv.sink(path, ["y", "x"]), [[], [Point(1.0, 2)]])
    assert path.read_text() == "y,x\n2,1.0\n"
    write(csv.sink(path, ["y", "x"]), [])
    assert path.read_text() == "y,x\n"
    write(csv.sink(path), [])
    assert path.read_text() == ""


class Renamed(msgspec.Struct, rename="camel"):
    unit_price: float
    id: int


def test_a_record_type_gives_the_header_also_without_records(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write(csv.sink(path, Renamed), [])
    assert path.read_text() == "unitPrice,id\n"
    write(csv.sink(path, Point), [[Point(1.0, 2)]])
    assert path.read_text() == "x,y\n1.0,2\n"
    for wrong in (int, dict, Plain):
        with pytest.raises(ConfigError, match=r"fields= takes names, a msgspec.Struct or a datacl"):
            csv.sink(path, wrong)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"a": 1}, "it has the fields a, but the file has a, b; use map before the sink"),
        ({"a": 1, "c": 2}, "it has the fields a, c, but"),
        ({"a": 1, "b": 2, "c": 3}, "it has the fields a, b, c, but"),
        (Point(1.0), "it has the fields x, y, but"),
        ((1, 2), "a CSV row is made of a dict with names, a Struct or a dataclass"),
        ({"a": 1, "b": [2]}, "field 'b' is a list, and a CSV cell is a scalar"),
        ({"a": 1, "b": object()}, "unsupported"),
        ({"a": 1, "b": "\ud800"}, "surrogates not allowed"),
    ],
)
def test_a_record_that_does_not_fit_is_named_and_nothing_appears(
    tmp_path: Path, bad: Any, message: str
) -> None:
    with pytest.raises(EncodeError, match=message) as caught:
        write(csv.sink(tmp_path / "out.csv"), [[{"a": 0, "b": 0}], [{"a": 1, "b": 1}, bad]])
    assert f"cannot write the record {bad!r}: " in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_first_record_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match="cannot write the record 5: a CSV row is made of"):
        write(csv.sink(tmp_path / "out.csv"), [[5]])
    with pytest.raises(
        EncodeError, match=r"cannot write the record \{1: 2\}: a CSV row is made of"
    ):
        write(csv.sink(tmp_path / "out.csv"), [[{1: 2}]])


def test_the_file_appears_only_when_the_run_finishes(tmp_path: Path) -> None:
    write(csv.sink(tmp_path / "out.csv"), [[{"a": 1}]], finish=False)
    assert os.listdir(tmp_path) == []


def test_one_record_at_a_time_is_the_same(tmp_path: Path) -> None:
    sink = csv.sink(tmp_path / "out.csv")
    sink.open(CONTEXT)
    sink.invoke({"a": 1}, CONTEXT)
    sink.invoke({"a": 2}, CONTEXT)
    sink.finish()
    sink.close()
    assert (tmp_path / "out.csv").read_text() == "a\n1\n2\n"


def test_the_sink_checks_its_options_and_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="csv sink: there is no folder"):
        csv.sink(tmp_path / "no" / "out.csv").validate()
    with pytest.raises(ConfigError, match="fields= takes at least one name"):
        csv.sink("out.csv", fields=[])
    with pytest.raises(ConfigError, match="csv sink: fields= takes a list or tuple of str"):
        csv.sink("out.csv", fields="abc")
    assert csv.sink("out.csv", ["a"]).describe() == {"path": "out.csv", "fields": ["a"]}


@pytest.mark.parametrize("fields", [None, ["b", "a"]])
@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_run_that_goes_on_has_the_header_and_all_records_once(
    tmp_path: Path, fields: list[str] | None, before: int
) -> None:
    rows = [{"b": number, "a": -number} for number in range(4)]
    path = tmp_path / "out.csv"
    first = csv.sink(path, fields)
    first.open(CONTEXT)
    first.invoke_batch(rows[:before], CONTEXT)
    state = json.loads(json.dumps(first.snapshot_state()))
    first.invoke_batch(rows[before:], CONTEXT)
    first.close()
    later = csv.sink(path, fields)
    later.restore_state(state)
    later.open(CONTEXT)
    later.invoke_batch([dict(reversed(row.items())) for row in rows[before:]], CONTEXT)
    later.finish()
    later.close()
    if before or fields:
        assert path.read_text() == "b,a\n0,0\n1,-1\n2,-2\n3,-3\n"
    else:
        assert path.read_text() == "a,b\n0,0\n-1,1\n-2,2\n-3,3\n"


def test_a_header_that_has_changed_since_the_file_was_begun_is_refused(tmp_path: Path) -> None:
    sink = csv.sink(tmp_path / "out.csv", ["a"])
    sink.open(CONTEXT)
    state = json.loads(json.dumps(sink.snapshot_state()))
    sink.close()
    with pytest.raises(ConfigError, match=r"begun with the header \['a'\], but fields= says"):
        csv.sink(tmp_path / "out.csv", ["a", "b"]).restore_state(state)
