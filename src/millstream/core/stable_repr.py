"""A value's repr that is the same in every process, for what is shown, hashed and compared."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any  # a constant may be of any type

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    dict: ("{", "}"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}


def stable_repr(value: Any) -> str:
    """Return ``repr(value)`` with the members of sets sorted and no addresses.

    A set's own order depends on the process's hash seed. Lists, tuples, dicts and sets are looked
    into; any other object speaks for itself.

        >>> stable_repr([{"b", 2, "a"}, frozenset()])
        "[{2, 'a', 'b'}, frozenset()]"
    """
    kind = type(value)
    if kind not in _BRACKETS or not value:
        return without_addresses(repr(value))
    if kind is dict:
        items = [f"{stable_repr(key)}: {stable_repr(each)}" for key, each in value.items()]
    elif kind in (list, tuple):
        items = [stable_repr(each) for each in value]
    else:
        items = stable_members(value)
    before, after = _BRACKETS[kind]
    comma = "," if kind is tuple and len(value) == 1 else ""
    return f"{before}{', '.join(items)}{comma}{after}"


def stable_members(members: Iterable[object]) -> list[str]:
    """Return the ``stable_repr`` of a set's members, sorted by type, then by text."""
    named = sorted((type(each).__qualname__, stable_repr(each)) for each in members)
    return [text for _, text in named]


def without_addresses(text: str) -> str:
    """Return text without the addresses in default reprs, which are new in every process."""
    return _ADDRESS.sub("", text)
