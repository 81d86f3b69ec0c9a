"""Calls a user's check of the outside world, before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any  # a position is of the source's own type

from millstream.core.errors import ConfigError, MillstreamError
from millstream.core.function_kind import name_of
from millstream.core.wording import said


def validate(what: str, check: Callable[..., None], *arguments: Any) -> None:
    """Let it check; whatever it raises means that the job cannot run.

    Args:
        what: whose check it is, for the error: ``source 'orders'``.
        check: a method of the user's.
        *arguments: what it is given.

    Raises:
        ConfigError: it raised something of its own.
        MillstreamError: it raised that.
    """
    try:
        check(*arguments)
    except MillstreamError:
        raise
    except Exception as error:  # the user may raise anything
        here = error.__traceback__
        trace = here.tb_next if here and here.tb_next else here  # its own line, not ours
        at = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
        raise ConfigError(
            f"{what} cannot run: {name_of(check)} failed at {at}: {said(error)}"
        ) from error
