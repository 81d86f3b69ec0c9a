"""Keyed state in memory."""

from __future__ import annotations

import pytest

from millstream.core.errors import RecordError
from millstream.runtime.state.memory import MemoryStateBackend


def test_a_value_belongs_to_the_current_key() -> None:
    state = MemoryStateBackend().value_state("uid", "seen", 0)
    state.key = "a"
    assert state.value() == 0
    state.update(1)
    state.key = "b"
    assert state.value() == 0
    state.update(2)
    state.key = "a"
    assert state.value() == 1
    state.clear()
    assert state.value() == 0
    state.clear()  # once more changes nothing
    state.key = "b"
    assert state.value() == 2


def test_a_value_may_be_none_and_is_not_the_default_then() -> None:
    state = MemoryStateBackend().value_state("uid", "seen", "default")
    state.key = 1
    state.update(None)
    assert state.value() is None


def test_a_state_is_the_same_by_operator_and_name_and_no_other() -> None:
    backend = MemoryStateBackend()
    assert backend.state_table("a", "x") is backend.state_table("a", "x")
    tables = [backend.state_table(uid, name) for uid in ("a", "b") for name in ("x", "y")]
    assert len({id(table.table) for table in tables}) == 4
    state = backend.value_state("a", "x", 0)
    state.key = 5
    state.update("shared")
    assert backend.state_table("a", "x").table == {5: "shared"}
    assert MemoryStateBackend().state_table("a", "x").table == {}


def test_before_the_first_record_there_is_no_key_to_keep_anything_for() -> None:
    backend = MemoryStateBackend()
    state = backend.value_state("uid", "seen", 0)
    for use in (state.value, lambda: state.update(1)):
        with pytest.raises(RecordError, match="no record is there yet: use it in process_element"):
            use()
    assert backend.state_table("uid", "seen").table == {}
