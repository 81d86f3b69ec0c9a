"""Raw records are decoded at the head of a chain, blocks at once where that works."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import millstream as ms
from millstream.core.errors import OperatorError


class Order(msgspec.Struct):
    amount: int


def test_blank_lines_are_no_records_and_are_counted_as_filtered_by_the_source(
    tmp_path: Path,
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"amount": 1}\n\n{"amount": 2}\n \t\n{"amount": 3}')
    results: list[int] = []
    job = ms.Job("blank")
    source = job.source(ms.jsonl.source(str(path), type=Order), uid="in")
    source.map(ms.col("amount")).sink(ms.collection.sink(results), uid="out")
    result = ms.run(job)
    assert results == [1, 2, 3]
    counts = result.account.operator("in")
    assert (counts.records_in, counts.filtered, counts.records_out) == (5, 2, 3)


@pytest.mark.parametrize("blank", ["", "\n\n"])
def test_a_line_that_cannot_be_decoded_is_named_with_its_place(tmp_path: Path, blank: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"amount": 1}\n' + blank + '{"amount": "x"}\n{"amount": 3}\n')
    job = ms.Job("bad line")
    job.source(ms.jsonl.source(str(path), type=Order), uid="in").sink(print, uid="out")
    with pytest.raises(OperatorError, match=r"'in' failed on .*\$\.amount") as failure:
        ms.run(job)
    assert failure.value.operator_uid == "in"
    assert failure.value.record == b'{"amount": "x"}'
    assert failure.value.position == (None, 1 + len(blank))
