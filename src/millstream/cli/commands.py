"""What the commands do: call, print, and end with an exit code that tells the cause."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import NoReturn

from millstream.api.job import Job
from millstream.control.wiring import explain, start
from millstream.core.errors import ConfigError, FatalError, InconsistentError, MillstreamError

EXIT_FAILED = 1
EXIT_CONFIG = 2
EXIT_INCONSISTENT = 3
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def run_job(load: Callable[[], Job]) -> None:
    """Run a job; its report goes to standard error, so that sinks may have standard output."""
    try:
        result = start(load()).wait()
    except KeyboardInterrupt:
        _leave("cancelled", EXIT_INTERRUPTED)
    except MillstreamError as error:
        _leave_with(error)
    print(result.report(), file=sys.stderr)
    if result.error is not None:
        _leave_with(result.error)


def explain_job(load: Callable[[], Job], format: str) -> None:
    """Print what would run."""
    try:
        print(explain(load(), format))
    except ConfigError as error:
        _leave_with(error)


def version_text() -> str:
    """Return the version as shown."""
    return f"millstream {version('millstream')}"


def _leave_with(error: BaseException) -> NoReturn:
    if isinstance(error, ConfigError):
        _leave(f"error: {error}", EXIT_CONFIG)
    if isinstance(error, InconsistentError):
        _leave(f"error: {error}", EXIT_INCONSISTENT)
    if error.__cause__ is not None and isinstance(error, FatalError):
        # The user's own traceback first: it is what they can mend.
        traceback.print_exception(error.__cause__)
        _leave(f"\nerror: {error}", EXIT_FAILED)
    _leave(f"error: {error}", EXIT_FAILED)


def _leave(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr, flush=True)
    sys.stdout.flush()
    sys.exit(code)
