"""The conservation law: counts that add up, and what is said of those that do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.accounting import Account, EdgeCounts, OperatorCounts

COUNTS = st.integers(0, 10**9)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_an_operator_adds_up_when_in_and_created_are_out_filtered_and_absorbed(
    out: int, filtered: int, absorbed: int, created: int
) -> None:
    total = out + filtered + absorbed
    taken = max(0, total - created)
    counts = OperatorCounts("op", taken, out, filtered, total - taken, absorbed)
    assert counts.difference == 0
    assert list(Account(operators=(counts,)).violations()) == []


@given(COUNTS, COUNTS, COUNTS)
def test_an_edge_adds_up_when_what_was_sent_is_received_dropped_and_discarded(
    received: int, dropped: int, discarded: int
) -> None:
    edge = EdgeCounts("a -> b", received + dropped + discarded, received, dropped, discarded)
    assert edge.difference == 0
    assert list(Account(edges=(edge,)).violations()) == []


def test_each_count_that_does_not_add_up_is_told_with_all_its_terms() -> None:
    account = Account(
        operators=(
            OperatorCounts("fine", 5, 4, filtered=1),
            OperatorCounts("lost", 1_000_000, 999_990, filtered=3),
            OperatorCounts("made up", 1, 5, created=1),
        ),
        edges=(EdgeCounts("a -> b", 10, 8), EdgeCounts("b -> c", 10, 11, dropped=1)),
    )
    assert list(account.violations()) == [
        "operator 'lost': 1,000,000 in + 0 created is not 999,990 out + 3 filtered + 0 absorbed "
        "(7 missing)",
        "operator 'made up': 1 in + 1 created is not 5 out + 0 filtered + 0 absorbed (3 too many)",
        "edge a -> b: 10 sent is not 8 received + 0 dropped + 0 discarded (2 missing)",
        "edge b -> c: 10 sent is not 11 received + 1 dropped + 0 discarded (2 too many)",
    ]


def test_counts_are_found_by_name() -> None:
    operator, edge = OperatorCounts("a", 1, 1), EdgeCounts("a -> b", 1, 1)
    account = Account(operators=(operator,), edges=(edge,))
    assert account.operator("a") is operator
    assert account.edge("a -> b") is edge


def test_a_name_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="typo"):
        Account().operator("typo")
    with pytest.raises(KeyError, match="a -> typo"):
        Account().edge("a -> typo")
