"""The records and the right answers of the benchmark."""

import json
from pathlib import Path

import pytest

from bench import data


def test_a_shorter_file_is_a_prefix_of_a_longer_one() -> None:
    short, long = data.events_file(10).read_text(), data.events_file(100).read_text()
    assert long.startswith(short)
    assert short.count("\n") == 10


def test_lines_are_json_with_amounts_in_hundredths() -> None:
    events = [json.loads(line) for line in data.events_file(200).read_text().splitlines()]
    assert all(set(event) == {"user", "amount", "ts"} for event in events)
    assert all(abs(event["amount"] * 100 - round(event["amount"] * 100)) < 1e-9 for event in events)


def test_the_answer_to_w2_is_what_decoding_the_file_gives() -> None:
    sums: dict[str, float] = {}
    count, total = 0, 0.0
    for line in data.events_file(3_000).read_text().splitlines():
        event = json.loads(line)
        if event["amount"] >= 10:
            sums[event["user"]] = sums.get(event["user"], 0.0) + event["amount"]
            count += 1
            total += sums[event["user"]]
    assert data.is_right([count, total], data.answer_w2(3_000))


def test_a_file_is_written_once(data_folder: Path) -> None:
    path = data.events_file(5)
    path.write_text("kept\n")
    assert data.events_file(5).read_text() == "kept\n"
    assert sorted(each.name for each in data_folder.iterdir()) == ["answer_5.json", path.name]


@pytest.mark.parametrize("records", [0, 1, 2, 7, 1_000])
def test_the_answer_to_w1_is_that_of_a_plain_loop(records: int) -> None:
    values = [(x + 1) * 3 for x in range(records) if (x + 1) % 2 == 0]
    assert data.answer_w1(records) == [len(values), sum(values)]


def test_the_ten_operators_keep_some_records_and_drop_some() -> None:
    count, _ = data.answer_ten(1_000)
    assert 100 < count < 900


def test_an_answer_may_differ_only_in_the_last_places_of_its_sum() -> None:
    assert data.is_right([3, 1e9 + 0.1], [3, 1e9])
    assert not data.is_right([3, 1e9 + 10], [3, 1e9])
    assert not data.is_right([2, 1e9], [3, 1e9])
    assert not data.is_right([3], [3, 1e9])
    assert not data.is_right(None, [3, 1e9])
