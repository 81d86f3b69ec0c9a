"""The check of a function before it is ever called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from millstream.core.errors import GraphError
from millstream.core.expression import it
from millstream.operators.function_check import check_function


def one(record: Any) -> Any:
    return record


def yields(record: Any) -> Iterator[Any]:
    yield record


async def waits(record: Any) -> Any:
    return record


class Taking:
    def __init__(self, first: Any, second: Any) -> None:
        pass


@pytest.mark.parametrize(
    "function", [one, yields, waits, str, len, print, dict.fromkeys, [].append]
)
def test_a_function_of_one_argument_is_fine(function: Any) -> None:
    check_function("map", function)


@pytest.mark.parametrize("function", [max, lambda *records: records, lambda a, b=1, *c: a, Taking])
def test_a_function_of_two_arguments_is_fine_where_it_gets_two(function: Any) -> None:
    check_function("reduce", function, arguments=2)


@pytest.mark.parametrize(
    ("function", "arguments", "text"),
    [
        (one, 2, "2 arguments, but one(record: 'Any') -> 'Any' does not take that"),
        (lambda: 1, 1, "1 argument, but test_function_check.<lambda>() does not take"),
        (Taking, 1, "1 argument, but Taking(first: 'Any', second: 'Any') -> 'None' does not"),
        (lambda *, key: key, 1, "<lambda>(*, key) does not take that"),
    ],
)
def test_another_number_of_arguments_is_refused_with_the_signature(
    function: Any, arguments: int, text: str
) -> None:
    with pytest.raises(GraphError) as refused:
        check_function("reduce 'r' at job.py:3", function, arguments=arguments)
    message = str(refused.value)
    assert message.startswith("reduce 'r' at job.py:3 calls its function with ")
    assert text.replace("test_function_check.", "") in message


def test_a_generator_is_refused_only_where_there_is_an_alternative() -> None:
    check_function("flat_map", yields)
    with pytest.raises(GraphError, match="map: yields yields, so it is a generator; use flat_map"):
        check_function("map", yields, generator="use flat_map")


def test_an_async_def_is_refused_only_where_there_is_an_alternative() -> None:
    check_function("map", waits)
    with pytest.raises(GraphError, match="reduce: waits is 'async def'; use map_async"):
        check_function("reduce", waits, asynchronous="use map_async")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (it + 1, r"map takes a function, not an expression; got it \+ 1"),
        (None, r"map: expected a function; got None \(did you call it, instead of passing it\?\)"),
        ("name", "map: expected a function; got 'name'$"),
    ],
)
def test_what_is_no_function_is_refused(value: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        check_function("map", value)
