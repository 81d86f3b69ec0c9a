"""A run loads what it uses, and needs no network to start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.process import program

JOB = """
import millstream as ms

job = ms.Job("small")
stream = job.source(ms.sequence.source(1000), uid="in").map(ms.it * 2).filter(lambda n: n % 3)
stream.key_by(ms.it % 5).aggregate(ms.count(), uid="n").sink(ms.jsonl.sink("out.jsonl"), uid="out")

if __name__ == "__main__":
    ms.main(job)
"""
ASYNC_JOB = """
import millstream as ms

async def same(n):
    return n

job = ms.Job("small")
job.source(ms.sequence.source(1000), uid="in").map(same, uid="async").sink(same, uid="out")

if __name__ == "__main__":
    ms.main(job)
"""
HEAVY = ("structlog", "tenacity", "polars", "pyarrow", "numpy", "typer", "rich", "sqlalchemy")
PART_OF_THE_COMMAND_LINE = ("typer", "rich")


def modules(text: str, folder: Path, *arguments: str) -> set[str]:
    (folder / "job.py").write_text(text)
    with program("modules", folder, str(folder / "job.py"), *arguments) as running:
        assert running.wait() == 0, running.stderr
        return set(running.stdout.split())


@pytest.mark.parametrize("text", [JOB, ASYNC_JOB], ids=["simple", "async"])
def test_a_run_that_logs_nothing_loads_no_logging_and_no_other_heavy_library(
    text: str, tmp_path: Path
) -> None:
    loaded = modules(text, tmp_path)
    assert "millstream.engine.run" in loaded
    assert not loaded.intersection(HEAVY)
    assert ("asyncio" in loaded) or text == JOB


@pytest.mark.parametrize("text", [JOB, ASYNC_JOB], ids=["simple", "async"])
def test_nor_does_the_command_line_beyond_its_own(text: str, tmp_path: Path) -> None:
    loaded = modules(text, tmp_path, "command line")
    assert "typer" in loaded
    loaded.discard("sqlalchemy")  # the metadata of the run; `millstream run` keeps its history
    assert not loaded.intersection(set(HEAVY) - set(PART_OF_THE_COMMAND_LINE))
