"""Writes the generated parts of docs/reference: what the code says of itself, as Markdown.

    .venv/bin/python scripts/make_reference.py

A document has places such as ``<!-- generated: api -->`` … ``<!-- end -->``; what stands between
them is written anew, the rest is written by hand. A test fails where they are out of date.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
import typing
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any
from unittest.mock import patch

import typer

import millstream
import millstream.connectors
from millstream.cli import app as command_line
from millstream.cli import exit_codes as codes
from millstream.core import errors
from millstream.core.accounting import Account, EdgeCounts, OperatorCounts, TaskTimes
from millstream.core.aggregate import Aggregate
from millstream.core.connector import Connector
from millstream.core.element import Position
from millstream.core.expression import Expr, TextFunctions, Then, TimeFunctions, When
from millstream.core.state_descriptor import StateDescriptor

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
COMMAND = ".venv/bin/python scripts/make_reference.py"
PLACE = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
COLUMNS = 88  # of a signature

# The public names by what a reader looks for; a name that is missing here is an error.
GROUPS = {
    "Jobs": ["Job", "run", "start", "explain", "main", "Execution", "JobResult", "JobStatus"],
    "Settings": ["EngineSettings", "CheckpointSettings", "Guarantee", "JobMode", "Retry"],
    "Streams": ["Stream", "KeyedStream"],
    "Sources": [
        "BatchSource",
        "AsyncBatchSource",
        "Source",
        "SourceContext",
        "Boundedness",
        "OverflowStrategy",
    ],
    "Sinks": [
        "Sink",
        "AsyncSink",
        "StatefulSink",
        "TwoPhaseCommitSink",
        "TransactionId",
        "SinkContext",
    ],
    "State": [
        "KeyedProcessFunction",
        "ProcessContext",
        "TimerService",
        "ValueStateDescriptor",
        "ValueState",
        "ListStateDescriptor",
        "ListState",
        "MapStateDescriptor",
        "MapState",
        "ReducingStateDescriptor",
        "ReducingState",
        "AggregatingStateDescriptor",
        "AggregatingState",
        "AggregateFunction",
        "OperatorStateDescriptor",
        "StateTtlConfig",
    ],
    "Aggregates": ["count", "sum", "mean", "min", "max"],
    "Expressions": ["col", "it", "lit", "when"],
    "Decoders": ["json", "text", "Decoder"],
    "Connectors": ["Connector"],
    "Modules": [
        "blackhole",
        "collection",
        "console",
        "csv",
        "datagen",
        "jsonl",
        "sequence",
        "sqlite",
        "errors",
    ],
}
# What those give or take, without a name of its own in ``millstream``.
BEHIND = [
    Account,
    OperatorCounts,
    EdgeCounts,
    TaskTimes,
    Position,
    Aggregate,
    StateDescriptor,
]
# Bases of several classes, which are shown once, under a title of their own.
SHARED = {
    "_AnySource": "Every source",
    "_BlockingSource": "Source and BatchSource",
    "_AnySink": "Every sink",
}
CONSTRUCTED = {
    "Job",
    "EngineSettings",
    "CheckpointSettings",
    "Retry",
    "Connector",
    "AggregatingStateDescriptor",
    "ListStateDescriptor",
    "MapStateDescriptor",
    "OperatorStateDescriptor",
    "ReducingStateDescriptor",
    "StateDescriptor",
    "StateTtlConfig",
    "ValueStateDescriptor",
}


def main() -> None:
    """Write every document whose generated parts have changed."""
    for path, text in documents().items():
        if path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(f"wrote {path.name}")


def documents() -> dict[Path, str]:
    """Return the text that every document with a generated part must have."""
    found = {path: path.read_text("utf-8") for path in sorted(REFERENCE.glob("*.md"))}
    return {path: _renewed(text) for path, text in found.items() if PLACE.search(text)}


def _renewed(text: str) -> str:
    return PLACE.sub(lambda place: f"{place[1]}\n{PARTS[place[2]]().strip()}\n\n{place[3]}", text)


# -- the parts ----------------------------------------------------------------------------------


def api() -> str:
    """Return every public name with its signature and its docstring."""
    named = [name for names in GROUPS.values() for name in names]
    if sorted(named) != sorted(millstream.__all__):
        difference = set(named) ^ set(millstream.__all__)
        raise SystemExit(f"GROUPS and millstream.__all__ differ: {difference}")
    sections = []
    for title, names in GROUPS.items():
        sections.append(f"## {title}")
        sections += [_entry(name, getattr(millstream, name)) for name in names]
        shared = {
            base
            for name in names
            for base in getattr(getattr(millstream, name), "__mro__", ())
            if base.__name__ in SHARED
        }
        for base in sorted(shared, key=lambda each: list(SHARED).index(each.__name__)):
            name = SHARED[base.__name__]
            sections += [f"### {name}", *_class(name.removeprefix("Every "), base)]
    sections.append("## What those give and take")
    sections.append("These have no name in `millstream`; you meet them as values.")
    sections += [_entry(each.__name__, each) for each in BEHIND]
    return "\n\n".join(sections)


def connectors() -> str:
    """Return the options of every connector's source and sink."""
    return "\n\n".join(
        section
        for module in _modules(millstream.connectors)
        if isinstance(getattr(module, "CONNECTOR", None), Connector)
        for section in _connector(module)
    )


def expression_methods() -> str:
    """Return the methods of an expression and what they mean."""
    kinds = [(Expr, ""), (TextFunctions, "str."), (TimeFunctions, "dt."), (When, ""), (Then, "")]
    rows = [
        (f"`{_owner(kind)}{prefix}{_call(name, method)}`", _summary(method))
        for kind, prefix in kinds
        for name, method in _methods(kind)
        if inspect.isfunction(method)
    ]
    return _table(("method", "meaning"), rows)


def command_list() -> str:
    """Return the commands with their arguments and options."""
    sections = []
    for title, start in (
        ("millstream", command_line.command),
        ("python job.py", lambda: command_line.main(millstream.Job("job"))),
    ):
        with patch.object(typer.Typer, "__call__", autospec=True) as called:
            start()
        app, rows = called.call_args.args[0], []
        commands = [(title, each) for each in app.registered_commands]
        for group in app.registered_groups:
            inner = group.typer_instance.registered_commands
            commands += [(f"{title} {group.name}", each) for each in inner]
        for before, registered in commands:
            callback = registered.callback
            _, space, arguments = _usage(callback).partition(" ")
            name = registered.name or callback.__name__
            rows.append((f"`{before} {name}{space}{arguments}`", _summary(callback)))
            rows += [(f"`{name}`", meaning) for name, meaning in _options_of(callback)]
        sections.append(_table(("command", "what it does"), rows))
    return "\n\n".join(sections)


def engine_settings() -> str:
    """Return the fields of EngineSettings."""
    return _options(millstream.EngineSettings, millstream.EngineSettings.__doc__)


def checkpoint_settings() -> str:
    """Return the fields of CheckpointSettings."""
    return _options(millstream.CheckpointSettings, millstream.CheckpointSettings.__doc__)


def job_options() -> str:
    """Return the options of a job."""
    return _options(millstream.Job, millstream.Job.__doc__)


def exit_codes() -> str:
    """Return the exit codes of the commands."""
    meanings = {
        "EXIT_FAILED": "The job failed: a callback, a source or a sink raised an error, or "
        "something did not end within its grace time. Or a running job did not do what it was "
        "asked for. The error is on standard error.",
        "EXIT_CONFIG": "Nothing was started: the job file, the graph, an option or the command "
        "line itself is wrong. Or the job that a command is for is not running.",
        "EXIT_INCONSISTENT": "The counts of the run do not add up, so no sink was finished. This "
        "is a bug in Millstream, or a source that changed a list after it had given it away.",
        "EXIT_INTERRUPTED": "The run was cancelled by Ctrl-C (SIGINT), by SIGTERM or by "
        "`millstream stop`, with a savepoint or without. Or Ctrl-C ended the wait for a job, which "
        "goes on.",
        "EXIT_BROKEN_PIPE": "Nobody reads standard output any more, as behind `| head`.",
    }
    found = {name: value for name, value in vars(codes).items() if name.startswith("EXIT_")}
    if found.keys() != meanings.keys():
        raise SystemExit(f"exit codes without a meaning here: {found.keys() ^ meanings.keys()}")
    rows = [("0", "The job completed, or the command did what was asked for.")]
    rows += [(str(value), meanings[name]) for name, value in found.items()]
    return _table(("code", "meaning"), rows)


def error_tree() -> str:
    """Return the tree as it is drawn at the top of the errors' module."""
    drawing = (errors.__doc__ or "").partition("\n\n")[2].strip()
    return f"```text\n{drawing}\n```"


def error_list() -> str:
    """Return every error with its base, its home and its meaning."""
    for _ in _modules(millstream):
        pass  # an error class exists once its module is imported
    rows = [
        (
            f"`{kind.__name__}`",
            "" if kind is errors.MillstreamError else f"`{kind.__bases__[0].__name__}`",
            f"`{kind.__module__.replace('millstream.core.errors', 'millstream.errors')}`",
            _cell((inspect.getdoc(kind) or "").partition("\n\nAttributes:")[0]),
        )
        for kind in _tree(errors.MillstreamError)
    ]
    return _table(("error", "is a", "in", "raised when"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "api": api,
    "connectors": connectors,
    "expression-methods": expression_methods,
    "commands": command_list,
    "engine-settings": engine_settings,
    "checkpoint-settings": checkpoint_settings,
    "job-options": job_options,
    "exit-codes": exit_codes,
    "error-tree": error_tree,
    "errors": error_list,
}


# -- names ------------------------------------------------------------------------------------


def _entry(name: str, value: Any) -> str:
    parts = [f"### {name}"]
    if inspect.ismodule(value):
        page = "errors.md" if name == "errors" else f"connectors.md#{name}"
        parts.append(f"A module: {_summary(value)} See [{page.partition('#')[0]}]({page}).")
    elif isinstance(value, type) and issubclass(value, Enum):
        values = ", ".join(f"`{each.name}` = `{each.value!r}`" for each in value)
        parts += [_markdown(value.__doc__), f"Values: {values}."]
    elif isinstance(value, type):
        parts += _class(name, value)
    elif callable(value):
        parts += [_signatures(name, value), _markdown(value.__doc__)]
    else:
        parts.append("The record itself, as an expression: `it * 2`, `it.is_in([1, 2])`.")
    return "\n\n".join(part for part in parts if part)


def _class(name: str, kind: type) -> Iterator[str]:
    if name in CONSTRUCTED:
        yield _fenced([_signature(name, kind)])
    yield _markdown(inspect.getdoc(kind))
    attributes = list(_attributes(kind))
    if attributes:
        yield _table(("attribute", "default", "meaning"), attributes)
    for method_name, method in _methods(kind):
        yield f"#### {name}.{method_name}"
        yield _signatures(method_name, method)
        yield _markdown(inspect.getdoc(method))
    taken_over = [base for base in kind.__mro__[1:] if base.__name__ in SHARED]
    for base in taken_over:
        names = ", ".join(f"`{method_name}`" for method_name, _ in _methods(base))
        yield f"And {names}: see [{SHARED[base.__name__]}](#{_anchor(SHARED[base.__name__])})."


def _methods(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties; of a property, what computes it."""
    for name, member in vars(kind).items():
        method = getattr(member, "__func__", member)
        if not name.startswith("_") and (
            isinstance(method, property) or inspect.isfunction(method)
        ):
            yield name, method


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _attributes(kind: type) -> Iterator[tuple[str, str, str]]:
    """Yield class attributes that are written with a docstring below them, or plainly typed."""
    if hasattr(kind, "_fields") or "Attributes:" in (kind.__doc__ or ""):
        return
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = typing.cast("ast.ClassDef", tree.body[0]).body
    following: list[ast.stmt | None] = [*body[1:], None]
    for line, below in zip(body, following, strict=True):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            said = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            text = str(below.value.value) if said else ""  # type: ignore[union-attr]
            default = ast.unparse(line.value) if line.value else ""
            yield f"`{line.target.id}`", f"`{default}`" if default else "", _cell(text)


def _modules(package: Any) -> Iterator[Any]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def _tree(kind: type) -> Iterator[type]:
    subclasses: list[type] = kind.__subclasses__()
    yield kind
    for below in sorted(subclasses, key=lambda each: each.__name__):
        yield from _tree(below)


# -- connectors and commands --------------------------------------------------------------------


def _connector(module: Any) -> Iterator[str]:
    name = module.CONNECTOR.name
    yield f"## {name}"
    yield str(module.__doc__)
    for side in ("source", "sink"):
        factory = getattr(module.CONNECTOR, side)
        if factory is None:
            continue
        yield f"### {name}.{side}"
        before, _, after = str(inspect.getdoc(factory)).partition("Args:\n")
        yield _markdown(before)
        yield _options(factory, "Args:\n" + after)
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                position = re.search(r"[Ii]ts position is [^.]*\.(?: [^.]*)?", _flat(kind.__doc__))
                if side == "source" and position:
                    yield _ticks(position[0][0].upper() + position[0][1:])


def _options(factory: Any, doc: str | None) -> str:
    meanings = dict(_items(inspect.cleandoc(doc or "")))
    rows = []
    for parameter in inspect.signature(factory).parameters.values():
        default = "required" if parameter.default is parameter.empty else _value(parameter.default)
        default = default if default == "required" else f"`{default}`"
        meaning = _cell(meanings.get(parameter.name, ""))
        if not meaning:
            raise SystemExit(f"{factory}: the docstring says nothing of {parameter.name}")
        rows.append((f"`{parameter.name}`", f"`{_type(parameter.annotation)}`", default, meaning))
    return _table(("option", "type", "default", "meaning"), rows) if rows else "It has no options."


def _usage(callback: Any) -> str:
    hints = typing.get_type_hints(callback, include_extras=True)
    words = [callback.__name__]
    for name, parameter in inspect.signature(callback).parameters.items():
        (about,) = hints[name].__metadata__
        value = "" if parameter.default is False else f" {about.metavar or name.upper()}"
        option = f"[{about.default}{value}]"  # typer's name for what is given first
        words.append(option if _is_option(about) else str(about.metavar))
    return " ".join(words)


def _is_option(about: Any) -> bool:
    return isinstance(about, typer.models.OptionInfo)


def _options_of(callback: Any) -> Iterator[tuple[str, str]]:
    hints = typing.get_type_hints(callback, include_extras=True)
    for name, parameter in inspect.signature(callback).parameters.items():
        (about,) = hints[name].__metadata__
        declared = [about.default, *about.param_decls] if _is_option(about) else [about.metavar]
        shown = about.show_default if isinstance(about.show_default, str) else parameter.default
        default = "" if shown in (parameter.empty, None, False) else f" Default: `{shown}`."
        yield ", ".join(word for word in declared if isinstance(word, str)), about.help + default


# -- signatures ---------------------------------------------------------------------------------


def _signatures(name: str, function: Any) -> str:
    if isinstance(function, property):
        result = inspect.signature(function.fget).return_annotation  # type: ignore[arg-type]
        return _fenced([f"{name}: {_type(result)}"])
    forms = typing.get_overloads(function) or [function]
    return _fenced([_signature(name, form) for form in forms])


def _signature(name: str, function: Any) -> str:
    signature = inspect.signature(function)
    parameters, star = [], False
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            star = True
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            parameters.append("*")
            star = True
        parameters.append(_parameter(parameter))
    result = signature.return_annotation
    arrow = "" if result is signature.empty or name[0].isupper() else f" -> {_type(result)}"
    asynchronous = "async " if inspect.iscoroutinefunction(function) else ""
    line = f"{asynchronous}{name}({', '.join(parameters)}){arrow}"
    if len(line) <= COLUMNS:
        return line
    return "\n".join(
        [f"{asynchronous}{name}(", *(f"    {each}," for each in parameters), f"){arrow}"]
    )


def _parameter(parameter: inspect.Parameter) -> str:
    star = "*" * (parameter.kind is parameter.VAR_POSITIONAL)
    text = star + "**" * (parameter.kind is parameter.VAR_KEYWORD) + parameter.name
    if parameter.annotation is not parameter.empty:
        text += f": {_type(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        text += f" = {_value(parameter.default)}"
    return text


def _call(name: str, method: Any) -> str:
    names = [each for each in inspect.signature(method).parameters if each != "self"]
    return f"{name}({', '.join(names)})"


def _owner(kind: type) -> str:
    return {When: "when(…).", Then: "when(…).then(…)."}.get(kind, "x.")


def _type(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else _value(annotation)
    return " ".join(text.split())


def _value(value: Any) -> str:
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_value, value)) + ("," if len(value) == 1 else "") + ")"
    return repr(value).replace("typing.", "")


def _fenced(lines: list[str]) -> str:
    return "\n".join(["```py", *lines, "```"])


# -- docstrings as Markdown ---------------------------------------------------------------------

_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Example):$", re.MULTILINE)


def _markdown(doc: str | None) -> str:
    """Return a docstring as Markdown: its sections as lists, its doctests as code."""
    text = inspect.cleandoc(doc or "")
    before, *sections = _SECTION.split(text)
    parts = [_ticks(before.strip())]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        indented, rest = _body(body)
        if ">>>" in indented:
            parts.append(f"```pycon\n{indented}\n```")
        elif title in ("Returns", "Example"):
            parts.append(f"{title}: {_ticks(_flat(indented))}")
        else:
            items = [
                f"- `{name}`: {_ticks(_flat(said))}" for name, said in _items(f"Args:\n{body}")
            ]
            parts.append("\n".join([f"{title}:", "", *items]))
        parts.append(_ticks(rest))
    return "\n\n".join(part for part in parts if part)


def _body(text: str) -> tuple[str, str]:
    """Return what is indented below a section's title, and what follows it."""
    lines = text.strip("\n").split("\n")
    count = next((at for at, line in enumerate(lines) if line and line[0] != " "), len(lines))
    return textwrap.dedent("\n".join(lines[:count])).strip(), "\n".join(lines[count:]).strip()


def _items(doc: str) -> Iterator[tuple[str, str]]:
    """Yield the names and meanings of the first Args or Attributes section."""
    parts = _SECTION.split(doc)
    if len(parts) < 3:
        return
    body = _body(parts[2])[0]
    for item in re.split(r"\n(?=\S)", body):
        name, _, said = item.partition(":")
        yield name.strip(), said.strip()


def _summary(value: Any) -> str:
    return _ticks(_flat((inspect.getdoc(value) or "").partition("\n\n")[0]))


def _flat(text: str | None) -> str:
    return " ".join((text or "").split())


def _ticks(text: str) -> str:
    return text.replace("``", "`")


def _cell(text: str) -> str:
    return _ticks(_flat(text))


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_escaped(row)) + " |" for row in lines)


def _escaped(row: tuple[str, ...]) -> list[str]:
    return [cell.replace("|", "\\|") for cell in row]


if __name__ == "__main__":
    main()
