"""Whether the source still has what follows a saved position is seen before anything runs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import ConfigError, FatalError


class DiesError(Exception):
    """Stands for a kill."""


def last_checkpoint(folder: Path) -> int:
    return max((int(each.name[4:]) for each in folder.glob("checkpoints/*/chk-*")), default=0)


def run(source: Any, folder: Path, *, dies: bool = False) -> list[Any]:
    """Run a job to its end, or until a checkpoint is behind the source's first batch."""
    out: list[Any] = []
    checkpoints = 0

    def slow(value: Any) -> None:
        nonlocal checkpoints
        out.append(value)
        time.sleep(0.0001)
        if len(out) == 2000:
            checkpoints = last_checkpoint(folder)
        elif len(out) > 2000 and last_checkpoint(folder) > checkpoints + 1:
            raise DiesError

    job = ms.Job("job", checkpoint_interval="5ms")
    job.source(source, uid="in").sink(slow if dies else out.append, uid="out")
    if dies:
        with pytest.raises(FatalError) as caught:
            ms.run(job, folder=folder)
        assert isinstance(caught.value.__cause__, DiesError)
    else:
        ms.run(job, folder=folder)
    return out


def lines_of(path: Path, kind: str) -> Any:
    return ms.jsonl.source(path) if kind == "jsonl" else ms.csv.source(path)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_file_that_was_cut_is_refused_and_nothing_runs(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text("1\n" * 20_000)
    run(lines_of(path, kind), tmp_path / "job", dies=True)
    path.write_text("1\n")
    message = "has 2 bytes, but the saved position is .*: the file was cut or replaced"
    with pytest.raises(ConfigError, match=message):
        run(lines_of(path, kind), tmp_path / "job")
    path.unlink()
    with pytest.raises(ConfigError, match="there is no file"):
        run(lines_of(path, kind), tmp_path / "job")
    path.write_text("1\n" * 20_000)
    assert run(lines_of(path, kind), tmp_path / "job")


OTHERS = {
    "collection": (ms.collection.source(range(20_000)), ms.collection.source([])),
    "sequence": (
        ms.sequence.source(20_000, rate=1e5),
        ms.sequence.source(2_000_000, start=1_000_000),
    ),
}


@pytest.mark.parametrize(("before", "after"), OTHERS.values(), ids=OTHERS)
def test_other_options_are_refused(before: Any, after: Any, tmp_path: Path) -> None:
    run(before, tmp_path, dies=True)
    with pytest.raises(ConfigError, match=r"the saved position \d+ is not in the"):
        run(after, tmp_path)


class Broker(ms.BatchSource[int]):
    """A source of the user's own that has forgotten what is old."""

    oldest = 0

    def validate_position(self, position: Any) -> None:
        if position < self.oldest:
            raise LookupError(f"{position} is gone, the oldest is {self.oldest}")

    def read(self, position: Any) -> Iterator[tuple[list[int], int]]:
        for number in range(position or 0, 20_000):
            yield [number], number + 1


def test_a_users_own_source_is_asked_and_its_error_is_shown(tmp_path: Path) -> None:
    run(Broker(), tmp_path, dies=True)
    forgetful = Broker()
    forgetful.oldest = 1_000_000
    message = r"source 'in' cannot run: Broker\.validate_position failed at "
    with pytest.raises(ConfigError, match=message + r".*: LookupError: \d+ is gone, the oldest"):
        run(forgetful, tmp_path)


def test_a_source_that_ends_before_it_is_back_where_it_was_fails_the_run(tmp_path: Path) -> None:
    def giving(records: int) -> Any:
        def read(position: Any) -> Iterator[tuple[range, int]]:
            yield range(records), records  # one batch: the cut is within it

        return read

    run(giving(20_000), tmp_path, dies=True)
    message = r"source 'in' ended [\d,]+ records before the saved position .* it no longer has what"
    with pytest.raises(FatalError, match=message):
        run(giving(1000), tmp_path)


class Collecting(ms.Source[int]):
    """The class form: it is asked with its own state, before it is given it."""

    asked: list[Any] = []  # noqa: RUF012  # of the test, shared by all copies

    def run(self, ctx: ms.SourceContext[int]) -> None:
        for number in range(20_000):
            ctx.collect(number)

    def snapshot_state(self) -> Any:
        return "here"

    def validate_position(self, position: Any) -> None:
        self.asked.append(position)

    def restore_state(self, state: Any) -> None:
        self.asked.append(("restored", state))


def test_a_source_with_its_own_state_is_asked_with_it(tmp_path: Path) -> None:
    Collecting.asked.clear()
    run(Collecting(), tmp_path, dies=True)
    assert Collecting.asked == []
    run(Collecting(), tmp_path)
    assert Collecting.asked == ["here", ("restored", "here")]


def test_a_check_that_would_never_be_awaited_is_refused() -> None:
    class Wrong(Broker):
        async def validate_position(self, position: Any) -> None: ...  # type: ignore[override]

    with pytest.raises(ConfigError, match=re.escape("Wrong.validate_position is 'async def'")):
        ms.Job("job").source(Wrong(), uid="in")
