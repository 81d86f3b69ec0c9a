"""Names a user's function and hashes its code, so that a graph can describe it."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Iterator
from types import CodeType
from typing import Any

from millstream.core.job_graph import FunctionRef


def function_ref(function: Any) -> FunctionRef:
    """Return the name and code hash of a function, a method, a class or any callable.

    The hash covers the bytecode with its constants, names and plain default values, not line
    numbers or comments, so moving a function changes nothing and a bug fix does. What it closes
    over, calls or inherits is not covered.
    """
    target = function
    while isinstance(target, functools.partial):
        target = target.func
    target = inspect.unwrap(target) if callable(target) else target
    named = target if hasattr(target, "__qualname__") else type(target)
    name = f"{getattr(named, '__module__', None) or 'builtins'}:{named.__qualname__}"
    shapes = [_function_shape(each) for each in _functions(target)]
    # The repr of nested tuples keeps apart what stands side by side: 1, 23 and 12, 3.
    digest = hashlib.sha256(repr((name, shapes)).encode("utf-8", "surrogatepass"))
    return FunctionRef(name, digest.hexdigest()[:16])


def _functions(target: Any) -> Iterator[Any]:
    """Yield the functions written in it: itself, or those of its class."""
    if hasattr(target, "__code__"):
        yield target
        return
    owner = target if isinstance(target, type) else type(target)
    for _, member in sorted(vars(owner).items()):
        # A static or class method and a property have theirs inside.
        inner = [getattr(member, name, None) for name in ("__func__", "fget", "fset", "fdel")]
        yield from (each for each in (member, *inner) if hasattr(each, "__code__"))


def _function_shape(function: Any) -> tuple[Any, ...]:
    by_keyword = getattr(function, "__kwdefaults__", None) or {}
    defaults = [*(getattr(function, "__defaults__", None) or ()), *by_keyword.values()]
    return (_shape(function.__code__), *map(_default, defaults))


def _shape(code: CodeType) -> tuple[Any, ...]:
    """Return all of a code object that decides what it does, equal in every process."""
    return (
        code.co_code,
        code.co_exceptiontable,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS),
        (code.co_names, code.co_varnames, code.co_freevars),
        tuple(map(_constant, code.co_consts)),
    )


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _shape(value)
    if isinstance(value, tuple):
        return tuple(map(_constant, value))
    if isinstance(value, frozenset):
        return ("frozenset", *sorted(map(repr, value)))  # its own order differs by process
    return value


def _default(value: Any) -> Any:
    """Return a plain default; of any other only its type, as its repr may have an address."""
    plain = value is None or isinstance(value, bool | int | float | complex | str | bytes)
    return value if plain else type(value).__qualname__
