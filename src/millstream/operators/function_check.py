"""Refuses, when a job is built, functions that an operator could not call."""

from __future__ import annotations

from typing import Any

from millstream.core.errors import GraphError
from millstream.core.expression import Expr
from millstream.core.function_kind import call_fault, is_async, is_generator, name_of


def check_function(
    where: str, function: Any, *, arguments: int = 1, generator: str = "", asynchronous: str = ""
) -> None:
    """Refuse what is no plain function of so many arguments.

    Args:
        where: the method and uid, for the error.
        function: what the user passed.
        arguments: how many positional arguments it is called with.
        generator: what to use instead of a generator function; empty if one is fine.
        asynchronous: what to use instead of an ``async def``; empty if one is fine.

    Raises:
        GraphError: with the alternative.
    """
    if isinstance(function, Expr):
        raise GraphError(f"{where} takes a function, not an expression; got {function!r}")
    if not callable(function):
        guess = " (did you call it, instead of passing it?)" if function is None else ""
        raise GraphError(f"{where}: expected a function; got {function!r}{guess}")
    if is_async(function):
        if asynchronous:
            raise GraphError(f"{where}: {name_of(function)} is 'async def'; {asynchronous}")
    elif generator and is_generator(function):
        raise GraphError(f"{where}: {name_of(function)} yields, so it is a generator; {generator}")
    if fault := call_fault(function, arguments):
        plural = "argument" if arguments == 1 else "arguments"
        raise GraphError(f"{where} calls its function with {arguments} {plural}, but {fault}")
