"""Every rule of Reactive Streams has a test that proves it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from tests.support.rules import PROOFS, RULES, rule

for module in sorted(Path(__file__).parent.glob("*.py")):
    if module.name not in ("conftest.py", Path(__file__).name):
        import_module(f"tests.contract.{module.stem}")


def test_the_list_of_rules_is_that_of_the_specification() -> None:
    counts = {"1": 11, "2": 13, "3": 17, "4": 2}
    numbers = [f"{part}.{n}" for part, last in counts.items() for n in range(1, last + 1)]
    assert list(RULES) == [*numbers, "no demand loss"]


@pytest.mark.parametrize("number", RULES)
def test_each_rule_has_a_test(number: str) -> None:
    assert PROOFS[number], f"no test is marked with @rule({number!r}): {RULES[number]}"


def test_a_rule_that_does_not_exist_cannot_be_claimed() -> None:
    with pytest.raises(KeyError):
        rule("5.1")(test_each_rule_has_a_test)
