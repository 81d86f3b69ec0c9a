"""The tree of errors, as its own picture shows it."""

from __future__ import annotations

import inspect
import re

import pytest

from millstream.core import errors


def drawn() -> dict[str, str]:
    """Return each class of the picture with its parent."""
    parents: dict[str, str] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"((?:│   |    )*(?:[├└]── )?)(\w+Error)\b", line)
        if found:
            depth = len(found[1]) // 4
            above[depth] = found[2]
            if depth:
                parents[found[2]] = above[depth - 1]
    return parents


def test_the_picture_shows_every_error_below_its_parent() -> None:
    classes = {
        name: each.__bases__[0].__name__
        for name, each in vars(errors).items()
        if inspect.isclass(each) and each is not errors.MillstreamError
    }
    assert drawn() == classes


def test_an_error_that_stops_the_job_names_its_operator() -> None:
    assert errors.FatalError("stop").operator_uid is None
    assert errors.SinkError("stop", operator_uid="out").operator_uid == "out"
    error = errors.OperatorError("stop", operator_uid="map", record={"a": 1}, position=5)
    assert (error.operator_uid, error.record, error.position) == ("map", {"a": 1}, 5)


@pytest.mark.parametrize("name", sorted(drawn()))
def test_every_error_is_caught_by_the_root(name: str) -> None:
    assert issubclass(getattr(errors, name), errors.MillstreamError)
    assert (getattr(errors, name).__doc__ or "").strip()
