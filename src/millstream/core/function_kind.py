"""Tells what calling a user's function gives: a value, a generator, or something to await."""

from __future__ import annotations

import inspect
from typing import Any


def is_coroutine(function: Any) -> bool:
    """Return whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(_call_of(function))


def is_generator(function: Any) -> bool:
    """Return whether calling it gives a generator."""
    return inspect.isgeneratorfunction(_call_of(function))


def is_async_generator(function: Any) -> bool:
    """Return whether calling it gives an async generator."""
    return inspect.isasyncgenfunction(_call_of(function))


def is_async(function: Any) -> bool:
    """Return whether it is an ``async def`` of either kind."""
    return is_coroutine(function) or is_async_generator(function)


def call_fault(function: Any, arguments: int) -> str:
    """Return why it cannot be called with so many arguments; empty if it can, or none can tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have none; the first call will tell
        return ""
    try:
        signature.bind(*[None] * arguments)
    except TypeError as error:
        return f"{name_of(function)}{signature} does not take that: {error}"
    return ""


def name_of(function: Any) -> str:
    """Return a function's name as a user knows it; that of its class if it is an object."""
    while _is_partial(function):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return str(named.__qualname__)


def _call_of(function: Any) -> Any:
    """Return what has the code: the function, what a partial wraps, or an object's __call__."""
    while _is_partial(function):
        function = function.func
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    return type(function).__call__ if callable(function) else function


def _is_partial(function: Any) -> bool:
    return hasattr(function, "func") and hasattr(function, "keywords")
