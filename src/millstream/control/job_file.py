"""Finds the job in a file or a module."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from millstream.api.job import Job
from millstream.core.errors import ConfigError


def load_job(reference: str) -> Job:
    """Return the job that a reference names; importing it runs nothing.

    Args:
        reference: ``job.py``, ``package.module``, either followed by ``:name`` where the module
            has several jobs.

    Raises:
        ConfigError: no such file or module, or no job or several in it. An exception of the job
            file itself passes through.
    """
    target, _, name = reference.partition(":")
    if not target:
        raise ConfigError(f"{reference!r} names no job file; write job.py or package.module:job")
    is_file = target.endswith(".py") or Path(target).exists()
    return _find(reference, _import_file(target) if is_file else _import_module(target), name)


def _import_file(target: str) -> ModuleType:
    path = Path(target).resolve()
    if not path.is_file():
        raise ConfigError(f"no job file {target!r}: looked for {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{target!r} is not a Python file; a job file ends in .py")
    sys.path.insert(0, str(path.parent))  # as `python job.py` does
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _import_module(target: str) -> ModuleType:
    sys.path.insert(0, "")
    try:
        return importlib.import_module(target)
    except ModuleNotFoundError as error:
        if error.name and (target == error.name or target.startswith(f"{error.name}.")):
            raise ConfigError(
                f"no module {target!r}, and no file of that name; a job file ends in .py"
            ) from None
        raise


def _find(reference: str, module: ModuleType, name: str) -> Job:
    if name:
        job = getattr(module, name, None)
        if not isinstance(job, Job):
            raise ConfigError(f"{reference!r}: {name!r} is {_what(job)}, not a Job")
        return job
    jobs = {key: value for key, value in vars(module).items() if isinstance(value, Job)}
    if "job" in jobs:
        return jobs["job"]
    if len({id(job) for job in jobs.values()}) == 1:
        return next(iter(jobs.values()))
    if not jobs:
        raise ConfigError(f"{reference!r} defines no job; write job = millstream.Job('name') …")
    choices = ", ".join(f"{reference}:{key}" for key in jobs)
    raise ConfigError(f"{reference!r} defines several jobs; name one: {choices}")


def _what(value: object) -> str:
    return "not there" if value is None else f"a {type(value).__name__}"
