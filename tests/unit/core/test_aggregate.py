"""Aggregates as they are declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from millstream.core import aggregate
from millstream.core.aggregate import Aggregate
from millstream.core.errors import ConfigError
from millstream.core.expression import col

WITH_OPERAND: list[Callable[[Any], Aggregate]] = [
    aggregate.count,
    aggregate.sum,
    aggregate.mean,
    aggregate.min,
    aggregate.max,
]


@pytest.mark.parametrize("make", WITH_OPERAND)
def test_an_operand_is_a_field_or_an_expression(make: Any) -> None:
    kind = make.__name__
    assert make("amount").describe() == f'{kind}(col("amount"))'
    assert make(col("amount") * 2).describe() == f'{kind}(col("amount") * 2)'
    assert make("amount").kind == kind


def test_count_without_a_field_counts_records() -> None:
    assert aggregate.count().operand is None
    assert aggregate.count().describe() == "count()"


@pytest.mark.parametrize("make", WITH_OPERAND)
def test_any_other_operand_is_refused_with_the_way_for_own_functions(make: Any) -> None:
    for operand in (5, len, ["amount"], b"amount"):
        with pytest.raises(ConfigError, match="for a function of your own use reduce") as refused:
            make(operand)
        assert str(refused.value).startswith(f"{make.__name__}(): expected a field's name or an")


@pytest.mark.parametrize("make", WITH_OPERAND[1:])
def test_only_count_can_do_without_an_operand(make: Any) -> None:
    with pytest.raises(ConfigError, match="got None"):
        make(None)
