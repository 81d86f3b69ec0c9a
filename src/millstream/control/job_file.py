"""Finds the job in a file or a module."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType

from millstream.api.job import Job
from millstream.core.errors import ConfigError

_PACKAGE = __name__.partition(".")[0]
_loading: ContextVar[str] = ContextVar("loading", default="")  # the job file that is being imported


def load_job(reference: str) -> Job:
    """Return the job that a reference names; importing it runs nothing.

    Args:
        reference: ``job.py``, ``package.module``, either followed by ``:name`` where the module
            has several jobs.

    Raises:
        ConfigError: no such file or module, no job or several in it, or it runs one while it is
            imported. An exception of the job file itself passes through.
    """
    drive, rest = os.path.splitdrive(reference)  # on Windows it has a colon as well
    target, _, name = rest.partition(":")
    target = drive + target
    if not target:
        raise ConfigError(f"{reference!r} names no job file; write job.py or package.module:job")
    token = _loading.set(target)
    try:
        is_file = target.endswith(".py") or Path(target).is_file()
        module = _import_file(target) if is_file else _import_module(target)
    except Exception as error:
        if not isinstance(error, ConfigError):
            error.add_note(f"{target!r} failed while it was being loaded; no job was started")
        raise
    finally:
        _loading.reset(token)
    return _find(reference, module, name)


def refuse_while_loading() -> None:
    """Refuse to run what a job file that is only being looked at would run.

    Raises:
        ConfigError: a job file is being loaded in this thread.
    """
    file = _loading.get()
    if file:
        raise ConfigError(
            f"{file!r} runs its job while it is being loaded; put the call of millstream.main, run "
            'or start under  if __name__ == "__main__":'
        )


def _import_file(target: str) -> ModuleType:
    path = Path(target).resolve()
    if not path.is_file():
        raise ConfigError(f"no job file {target!r}: looked for {path}")
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{target!r} is not a Python file; a job file ends in .py")
    if name in sys.stdlib_module_names or name == _PACKAGE:
        raise ConfigError(
            f"the job file {target!r} would hide the module {name!r} from everything that imports "
            "it; give the file another name"
        )
    _search_first(str(path.parent))  # as `python job.py` does
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # half of a module is nobody's
        if before is not None:
            sys.modules[name] = before
        raise
    return module


def _import_module(target: str) -> ModuleType:
    missing = f"no module {target!r}, and no file of that name; a job file ends in .py"
    folder = Path(target)
    if folder.is_dir() and not (folder / "__init__.py").is_file():
        raise ConfigError(f"{target!r} is a folder; name a job file in it: {folder / 'job.py'}")
    if not all(part.isidentifier() for part in target.split(".")):
        raise ConfigError(missing)
    _search_first("")
    try:
        return importlib.import_module(target)
    except ModuleNotFoundError as error:
        if error.name and (target == error.name or target.startswith(f"{error.name}.")):
            raise ConfigError(missing) from None
        raise


def _search_first(folder: str) -> None:
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)


def _find(reference: str, module: ModuleType, name: str) -> Job:
    jobs = {key: value for key, value in vars(module).items() if isinstance(value, Job)}
    if name:
        job = getattr(module, name, None)
        if isinstance(job, Job):
            return job
        there = f"; jobs in it: {', '.join(jobs)}" if jobs else ""
        raise ConfigError(f"{reference!r}: {name!r} is {_what(job)}{there}")
    if "job" in jobs:
        return jobs["job"]
    if len({id(job) for job in jobs.values()}) == 1:
        return next(iter(jobs.values()))
    if not jobs:
        raise ConfigError(f"{reference!r} defines no job; write job = millstream.Job('name') …")
    choices = ", ".join(f"{reference}:{key}" for key in jobs)
    raise ConfigError(f"{reference!r} defines several jobs; name one: {choices}")


def _what(value: object) -> str:
    return "not there" if value is None else f"a {type(value).__name__}, not a Job"
