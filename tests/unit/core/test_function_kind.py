"""What calling a function gives, seen without calling it."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from millstream.core.function_kind import (
    call_fault,
    is_async,
    is_async_generator,
    is_coroutine,
    is_generator,
    name_of,
)


def plain(record: Any) -> Any:
    return record


def generator(record: Any) -> Iterator[Any]:
    yield record


async def coroutine(record: Any) -> Any:
    return record


async def async_generator(record: Any) -> AsyncIterator[Any]:
    yield record


KINDS = {plain: "", generator: "g", coroutine: "c", async_generator: "a"}


class Owner:
    def plain(self, record: Any) -> Any:
        return record

    async def coroutine(self, record: Any) -> Any:
        return record

    @staticmethod
    def generator(record: Any) -> Iterator[Any]:
        yield record

    @classmethod
    async def async_generator(cls, record: Any) -> AsyncIterator[Any]:
        yield record


def callable_object(function: Any) -> Any:
    return type("Called", (), {"__call__": function})()


def shapes(function: Any) -> Iterator[Any]:
    """Yield the function, and what calls it."""
    yield function
    yield functools.partial(function)
    yield functools.partial(functools.partial(function, 1), record=2)
    yield callable_object(function)
    yield functools.partial(callable_object(function))
    yield getattr(Owner(), function.__name__, None) or Owner().plain


@pytest.mark.parametrize(
    ("function", "kind"), KINDS.items(), ids=lambda f: getattr(f, "__name__", "")
)
def test_a_function_is_what_it_is_in_any_shape(function: Any, kind: str) -> None:
    for shape in shapes(function):
        assert is_generator(shape) is (kind == "g")
        assert is_coroutine(shape) is (kind == "c")
        assert is_async_generator(shape) is (kind == "a")
        assert is_async(shape) is (kind in ("c", "a") and kind != "")


@pytest.mark.parametrize(
    "value", [int, Owner, len, print, [].append, None, 3, "text", lambda: 1, {}.get, str.upper]
)
def test_anything_else_is_plain(value: Any) -> None:
    assert not is_generator(value)
    assert not is_async(value)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (plain, "plain"),
        (functools.partial(plain, 1), "plain"),
        (functools.partial(functools.partial(plain)), "plain"),
        (Owner().plain, "Owner.plain"),
        (Owner, "Owner"),
        (len, "len"),
        ([].append, "list.append"),
        (callable_object(plain), "Called"),
        (functools.partial(callable_object(plain)), "Called"),
    ],
)
def test_its_name_is_the_one_a_user_knows(function: Any, name: str) -> None:
    assert name_of(function) == name


@pytest.mark.parametrize(
    "function", [plain, lambda *a: a, lambda a, b=1: a, int, max, Owner().plain]
)
def test_no_fault_is_found_with_a_call_that_is_fine_or_that_nobody_can_judge(function: Any) -> None:
    assert not call_fault(function, 1)


def test_a_call_with_other_arguments_says_what_the_function_takes() -> None:
    expected = "plain(record: 'Any') -> 'Any' does not take that: too many positional arguments"
    assert call_fault(plain, 2) == expected
    assert call_fault(plain, 0).endswith("missing a required argument: 'record'")
