"""What ``import millstream`` offers, and what it costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import millstream as ms

PACKAGE = Path(ms.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
EXPORTED_NAMES = """
    AggregateFunction AggregatingState AggregatingStateDescriptor AsyncBatchSource AsyncSink
    BatchSource Boundedness CheckpointSettings Connector Decoder EngineSettings Execution
    Guarantee Job JobMode JobResult JobStatus KeyedProcessFunction KeyedStream ListState
    ListStateDescriptor MapState MapStateDescriptor OperatorStateDescriptor OverflowStrategy
    ProcessContext ReducingState ReducingStateDescriptor Retry Sink SinkContext Source
    SourceContext StateTtlConfig StatefulSink Stream TimerService TransactionId
    TwoPhaseCommitSink ValueState ValueStateDescriptor blackhole col collection console count
    csv datagen errors explain it json jsonl lit main max mean min run sequence sqlite start sum
    text when
"""

HEAVY_NAMES = """
    aiohttp alembic asyncio confluent_kafka fastapi hypothesis logging msgspec pandas polars psycopg
    pyarrow rich sqlalchemy structlog tenacity typer
"""
EXPORTED, HEAVY = EXPORTED_NAMES.split(), HEAVY_NAMES.split()


def test_all_lists_every_name_sorted_and_once() -> None:
    assert ms.__all__ == sorted(set(ms.__all__)) == EXPORTED


def test_dir_lists_the_same_names() -> None:
    assert dir(ms) == ms.__all__


def test_every_name_can_be_imported_and_stays_what_it_is() -> None:
    for name in ms.__all__:
        value = getattr(ms, name)
        assert getattr(ms, name) is value
        assert vars(ms)[name] is value
        space: dict[str, Any] = {}
        exec(f"from millstream import {name}", space)  # noqa: S102  # as a user writes it
        assert space[name] is value


def test_every_name_has_a_docstring() -> None:
    for name in set(ms.__all__) - {"it"}:  # an object, which its module describes
        assert (getattr(ms, name).__doc__ or "").strip(), name


@pytest.mark.parametrize("name", ["jbo", "kafka", "__path", ""])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'millstream' has no attribute '{name}'"):
        getattr(ms, name)


def type_checking_names() -> dict[str, str]:
    """Return what type checkers are told: each name, and the module it comes from."""
    tree = parsed(PACKAGE / "__init__.py")
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    names: dict[str, str] = {}
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom)
        for alias in statement.names:
            assert alias.asname == alias.name  # or it would not be exported
            names[alias.name] = str(statement.module)
    return names


def test_type_checkers_are_told_what_is_there_at_run_time() -> None:
    told = type_checking_names()
    assert sorted(told) == ms.__all__
    for name, module in told.items():
        value = getattr(ms, name)
        home = sys.modules[module]
        assert getattr(home, name, None) is value or sys.modules[f"{module}.{name}"] is value


def loaded_by(program: str) -> dict[str, list[str]]:
    """Return which of the modules that were looked for a program loads, line by line."""
    script = (
        "import json, sys\n"
        "found = {}\n"
        f"for line in {program.splitlines()!r}:\n"
        "    exec(line)\n"
        "    found[line] = sorted(sys.modules)\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_a_bare_import_loads_nothing_else_of_ours_and_nothing_heavy() -> None:
    loaded = loaded_by("import millstream as ms\nms.Job\nms.run")
    bare = set(loaded["import millstream as ms"])
    assert {name for name in bare if name.startswith("millstream")} == {"millstream"}
    assert bare.isdisjoint(HEAVY)
    # Neither building a job nor running one needs the command line or what it prints with.
    assert set(loaded["ms.Job"]).isdisjoint({"asyncio", "typer", "rich", "polars", "structlog"})
    assert set(loaded["ms.run"]).isdisjoint({"typer", "rich", "polars", "structlog", "tenacity"})


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


@cache
def imports(file: Path) -> set[str]:
    """Return every module that a file imports, for type checkers as well."""
    found: set[str] = set()
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found.add(str(node.module))
    return found


def test_nothing_in_the_package_imports_the_package_itself() -> None:
    guilty = [
        str(file.relative_to(PACKAGE))
        for file in FILES
        if "millstream" in imports(file) and file.name != "__init__.py"
    ]
    assert guilty == []
    assert len(FILES) > 80


def test_packages_only_describe_themselves() -> None:
    """Whoever imports a module of ours must not load its neighbours."""
    for file in FILES:
        if file.name == "__init__.py" and file.parent != PACKAGE:
            inside = {name for name in imports(file) if name.startswith("millstream")}
            here = ".".join(("millstream", *file.parent.relative_to(PACKAGE).parts))
            assert all(name.startswith(here) for name in inside), file


def test_every_file_opens_with_a_sentence() -> None:
    for file in FILES:
        docstring = ast.get_docstring(parsed(file))
        assert docstring, file
        assert docstring.splitlines()[0].rstrip().endswith((".", "…")), file
