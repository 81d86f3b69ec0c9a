"""The check of a method of a user's class before the engine ever calls it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from millstream.core.errors import ConfigError
from millstream.core.method_check import check_method


class Form:
    def take(self, value: int, ctx: object) -> None:
        pass


def owner(method: Any) -> object:
    return type("Mine", (Form,), {"take": method})()


def yields(self: Any, value: Any, ctx: Any) -> Any:
    yield value


async def yields_later(self: Any, value: Any, ctx: Any) -> Any:
    yield value


def wrapped(method: Callable[..., Any]) -> Any:
    @functools.wraps(method)
    def call(*arguments: Any) -> Any:
        return method(*arguments)

    return call


FINE: list[Any] = [
    Form.take,
    lambda self, value, ctx, more=3: None,
    lambda self, *arguments, **options: None,
    lambda *arguments: None,
    wrapped(Form.take),
    staticmethod(lambda value, ctx: None),
    classmethod(lambda cls, value, ctx: None),
    staticmethod(functools.partial(lambda more, value, ctx: None, 1)),
    dict.fromkeys,
    print,
    type("Called", (), {"__call__": lambda self, value, ctx: None})(),
]


@pytest.mark.parametrize("method", FINE)
def test_a_method_that_takes_what_its_form_is_given_is_fine(method: Any) -> None:
    check_method(owner(method), Form, "take")


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (lambda self, value: None, "too many positional arguments"),
        (lambda self: None, "too many positional arguments"),
        (lambda self, value, ctx, more: None, "missing a required argument: 'more'"),
        (lambda self, value, *, ctx: None, "too many positional arguments"),
        (wrapped(lambda self, value: None), "too many positional arguments"),
    ],
)
def test_other_arguments_are_refused_with_those_it_is_given(method: Any, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_method(owner(method), Form, "take")
    message = str(refused.value)
    assert message.startswith("Mine.take is called as take(value, ctx), but ")
    assert message.endswith(said)


@pytest.mark.parametrize("method", [yields, yields_later])
def test_a_method_that_yields_is_refused_unless_it_may(method: Any) -> None:
    check_method(owner(method), Form, "take", "")
    with pytest.raises(
        ConfigError, match=r"^Mine\.take yields, so calling it would do nothing; take the yield out"
    ):
        check_method(owner(method), Form, "take")
    with pytest.raises(ConfigError, match="nothing; call emit"):
        check_method(owner(method), Form, "take", "call emit")
