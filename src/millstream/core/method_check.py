"""Refuses, when a job is built, methods of a user's class that the engine would call in vain."""

from __future__ import annotations

import inspect

from millstream.core.errors import ConfigError
from millstream.core.function_kind import call_fault, is_async_generator, is_generator


def check_method(
    owner: object, form: type, name: str, instead: str = "take the yield out of it"
) -> None:
    """Refuse a method that yields where nothing would iterate, or takes other arguments.

    Args:
        owner: the user's object.
        form: the class of ours that declares the method, and how it is called.
        name: the method's.
        instead: what to do in place of a ``yield``; empty where the method may yield.

    Raises:
        ConfigError: with what to do.
    """
    method = getattr(owner, name)
    where = f"{type(owner).__name__}.{name}"
    if instead and (is_generator(method) or is_async_generator(method)):
        raise ConfigError(f"{where} yields, so calling it would do nothing; {instead}")
    names = list(inspect.signature(getattr(form, name)).parameters)[1:]  # without self
    if fault := call_fault(method, len(names)):
        raise ConfigError(f"{where} is called as {name}({', '.join(names)}), but {fault}")
