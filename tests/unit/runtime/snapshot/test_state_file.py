"""A state file comes back whole or says what is damaged; files of each version stay readable."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millstream.runtime.snapshot.codec import Codec
from millstream.runtime.snapshot.errors import (
    SnapshotDamagedError,
    StateDecodeError,
    StateEncodeError,
)
from millstream.runtime.snapshot.state_file import StateFileReader, StateFileWriter, StateHeader
from millstream.runtime.snapshot.type_description import describe, type_changes
from tests.fixtures.snapshots.v1.contents import FILES
from tests.support.snapshot_values import VALUES, same

FIXTURES = Path(__file__).parents[3] / "fixtures" / "snapshots" / "v1"
CODEC = Codec()
HEADER = StateHeader(
    job="revenue",
    uid="per_minute",
    state="total",
    kind="value",
    key_type=describe(str),
    type=describe(tuple[int, float]),
    state_version=3,
    subtask=1,
    first_key_group=64,
)


def written(*slices: list[tuple[Any, Any]]) -> bytes:
    output = io.BytesIO()
    writer = StateFileWriter(output, HEADER, CODEC)
    for entries in slices:
        writer.write([key for key, _ in entries], [value for _, value in entries])
    writer.finish()
    assert writer.entries == sum(map(len, slices))
    return output.getvalue()


def read(data: bytes) -> list[tuple[Any, Any]]:
    return list(StateFileReader(io.BytesIO(data), "chk-7/total").entries(CODEC))


GOOD = [("a", (1, 2.5)), ("b", (2, 3.5))], [("c", (3, 4.5))]


def test_entries_and_header_come_back_in_order() -> None:
    data = written(*GOOD)
    assert read(data) == [*GOOD[0], *GOOD[1]]
    assert StateFileReader(io.BytesIO(data), "f").header == HEADER
    assert StateFileReader(io.BytesIO(data), "f").verify() == 3


def test_slices_come_as_they_were_written() -> None:
    slices = StateFileReader(io.BytesIO(written(*GOOD)), "f").slices(CODEC)
    assert [list(keys) for keys, _ in slices] == [["a", "b"], ["c"]]


def test_a_state_without_entries_is_a_file_too() -> None:
    assert read(written()) == []
    assert read(written([], [])) == []


def test_as_many_values_as_keys_are_wanted() -> None:
    with pytest.raises(ValueError, match="2 keys for 1 values"):
        StateFileWriter(io.BytesIO(), HEADER, CODEC).write([1, 2], [3])


def test_a_value_that_cannot_be_kept_leaves_nothing_of_its_slice() -> None:
    output = io.BytesIO()
    writer = StateFileWriter(output, HEADER, CODEC)
    writer.write(["a"], [1])
    with pytest.raises(StateEncodeError, match="value is 1j of type complex"):
        writer.write(["b", "c"], [1, 1j])
    writer.write(["d"], [2])
    writer.finish()
    assert read(output.getvalue()) == [("a", 1), ("d", 2)]


def test_every_cut_is_noticed() -> None:
    data = written(*GOOD)
    for length in range(len(data)):
        with pytest.raises(SnapshotDamagedError, match=r"chk-7/total is damaged.*cut off") as found:
            read(data[:length])
        assert "older checkpoint" in str(found.value)


def test_every_changed_bit_is_noticed() -> None:
    data = written(*GOOD)
    for index in range(len(data)):
        for bit in range(8):
            bad = bytearray(data)
            bad[index] ^= 1 << bit
            with pytest.raises((SnapshotDamagedError, StateDecodeError)):
                read(bytes(bad))
            with pytest.raises((SnapshotDamagedError, StateDecodeError)):
                StateFileReader(io.BytesIO(bytes(bad)), "f").verify()


def test_a_changed_byte_is_told_with_block_and_checksums() -> None:
    data = bytearray(written(*GOOD))
    data[-40] ^= 1
    with pytest.raises(
        SnapshotDamagedError,
        match=r"expected checksum [0-9a-f]{8} for the block at byte \d+, found [0-9a-f]{8}",
    ):
        read(bytes(data))


def test_what_is_added_is_noticed() -> None:
    with pytest.raises(SnapshotDamagedError, match="expected the end behind the footer"):
        read(written(*GOOD) + b"x")


def test_slices_that_changed_places_are_noticed() -> None:
    one, two = written(GOOD[0]), written(GOOD[1])
    assert len(one) > len(two)
    mixed = one[: len(one) - 40] + two[len(two) - 40 :]
    with pytest.raises(SnapshotDamagedError):
        read(mixed)


def test_another_file_is_no_state_file() -> None:
    with pytest.raises(SnapshotDamagedError, match="expected a state file, which begins b'MILLS"):
        read(b"{'json': 'of some length or other'}")


def test_a_newer_version_is_told_from_damage() -> None:
    data = bytearray(written())
    data[17] = 2
    with pytest.raises(
        StateDecodeError, match=r"version 2 of the snapshot format.*reads version 1"
    ):
        read(bytes(data))


@pytest.mark.parametrize("name", VALUES)
def test_every_value_comes_back_from_a_file(name: str) -> None:
    value = VALUES[name]
    assert same(read(written([(1, value)], [(2, value), (3, None)]))[0], (1, value))


# -- files of earlier versions --------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_version_1_is_restored(name: str) -> None:
    header, slices = FILES[name]
    with (FIXTURES / f"{name}.state").open("rb") as file:
        reader = StateFileReader(file, name)
        found = list(reader.entries(CODEC))
    ours = reader.header
    assert (
        type_changes(ours.type, header.type) == type_changes(ours.key_type, header.key_type) == []
    )
    types = {"type": header.type, "key_type": header.key_type}
    assert msgspec.structs.replace(ours, **types) == header
    assert same(found, [each for entries in slices for each in entries])


def test_every_file_of_version_1_is_known() -> None:
    assert {path.stem for path in FIXTURES.glob("*.state")} == set(FILES)
