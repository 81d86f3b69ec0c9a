"""The user's line: where an operator was written."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import millstream
from millstream.api.definition_site import definition_site
from tests.unit.api.jobs import begun


def test_it_is_the_line_of_the_call() -> None:
    job, numbers = begun()
    frame = inspect.currentframe()
    assert frame is not None
    numbers.map(str, uid="mapped")
    line = frame.f_lineno - 1
    assert job.stream_graph.node("mapped").defined_at == f"test_definition_site.py:{line}"


def test_every_operator_has_one() -> None:
    job, numbers = begun()
    numbers.map(str).filter(bool).key_by("a").aggregate(millstream.count(), uid="n").sink(
        "blackhole", uid="out"
    )
    sites = {node.id: node.defined_at for node in job.stream_graph.nodes()}
    assert sites.pop("in").startswith("jobs.py:")
    assert len(sites) == 5
    assert all(site.startswith("test_definition_site.py:") for site in sites.values())


def test_a_file_beside_the_package_is_not_part_of_it() -> None:
    """A user's folder may well be called ``millstream_jobs``, beside the package."""
    folder = str(Path(millstream.__file__).parent) + "_jobs"
    space: dict[str, Any] = {"definition_site": definition_site}
    code = compile("\n\nsite = definition_site()\n", f"{folder}/orders.py", "exec")
    exec(code, space)  # noqa: S102  # our own text
    assert space["site"] == "orders.py:3"


def test_a_line_of_the_package_itself_is_passed_over() -> None:
    space: dict[str, Any] = {"definition_site": definition_site}
    inside = str(Path(millstream.__file__).parent / "api" / "stream.py")
    exec(compile("def call():\n    return definition_site()\n", inside, "exec"), space)  # noqa: S102
    assert space["call"]().startswith("test_definition_site.py:")
