"""A connector of a third party: installed beside Millstream, found by its entry point."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import ConfigError

MODULE = '''
"""Counts down, and shouts what it is given."""

import millstream as ms


class Countdown(ms.BatchSource[int]):
    def __init__(self, start: int) -> None:
        self.start = start

    def read(self, position):
        yield list(range(self.start, 0, -1)), 0


class Shout(ms.Sink[object]):
    def invoke(self, value, ctx):
        print(f"{value}!", flush=True)


CONNECTOR = ms.Connector("countdown", source=lambda start=3: Countdown(start), sink=Shout)
NO_CONNECTOR = "countdown"
USELESS = ms.Connector("useless", source=lambda: 5)
'''
ENTRY_POINTS = """
[millstream.connectors]
countdown = countdown_for_millstream:CONNECTOR
broken = countdown_for_millstream:MISSING
mistaken = countdown_for_millstream:NO_CONNECTOR
useless = countdown_for_millstream:USELESS
"""
METADATA = "Metadata-Version: 2.1\nName: countdown-for-millstream\nVersion: 1.0\n"

JOB = """
import millstream as ms

job = ms.Job("counting")
job.source("countdown", uid="in", start=4).map(ms.it * 10).sink("countdown", uid="out")
ms.run(job)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as ``pip install --target`` leaves it."""
    folder = tmp_path_factory.mktemp("site-packages")
    (folder / "countdown_for_millstream.py").write_text(MODULE)
    info = folder / "countdown_for_millstream-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "job.py").write_text(JOB)
    return folder


def test_a_job_in_another_process_uses_its_source_and_its_sink_by_name(installed: Path) -> None:
    done = subprocess.run(
        [sys.executable, "job.py"],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "40!\n30!\n20!\n10!\n"), done.stderr


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "countdwon",
            {},
            "did you mean 'countdown'. Installed: blackhole, broken, collection, con",
        ),
        ("countdown", {"end": 1}, "unexpected keyword argument 'end'; its options are: start=3"),
        ("broken", {}, "connector 'broken' cannot be imported: module 'countdown_for_millstream'"),
        ("mistaken", {}, "countdown_for_millstream:NO_CONNECTOR must be a millstream Connector"),
        ("useless", {}, "a source is a generator function of .*; got 5"),
    ],
)
def test_what_is_wrong_with_it_is_told_with_the_users_line(
    installed: Path,
    name: str,
    options: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(installed)
    where = r"^source 'in' at test_connector_entry_point\.py:\d+ \(job 'counting'\): .*"
    with pytest.raises(ConfigError, match=where + message):
        ms.Job("counting").source(name, uid="in", **options)
