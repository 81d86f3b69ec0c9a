"""Connectors by name: how they are found, and how their options are checked."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from millstream.connectors import sequence
from millstream.core import connector as connectors
from millstream.core.connector import Connector, find_connector
from millstream.core.errors import ConfigError

BUILT_IN = "blackhole, collection, console, csv, datagen, jsonl, sequence"


def install(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Let the installed packages have these entry points and no others."""
    group = connectors.ENTRY_POINT_GROUP
    entries = [EntryPoint(name.rstrip("_"), value, group) for name, value in values.items()]
    monkeypatch.setattr(connectors, "entry_points", lambda *, group: entries)


def test_the_connectors_that_come_with_the_package_are_found() -> None:
    for name in BUILT_IN.split(", "):
        assert find_connector(name).name == name
    assert find_connector("sequence") is sequence.CONNECTOR


@pytest.mark.parametrize(("name", "guess"), [("sequense", "sequence"), ("jsonlines", "jsonl")])
def test_an_unknown_name_suggests_the_nearest_and_lists_all(name: str, guess: str) -> None:
    message = f"there is no connector '{name}'; did you mean '{guess}'. Installed: {BUILT_IN}"
    with pytest.raises(ConfigError, match=message):
        find_connector(name)


@pytest.mark.parametrize("name", ["", "zzz", "SEQUENCE"])
def test_a_name_that_is_like_no_other_is_only_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no connector '{name}'. Installed: {BUILT_IN}"):
        find_connector(name)


def test_two_packages_that_bring_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, queue="one.queue:CONNECTOR", queue_="two.queue:CONNECTOR")
    message = "two packages bring a connector 'queue': one.queue:CONNECTOR and two.queue:CONNECTOR"
    with pytest.raises(ConfigError, match=message):
        find_connector("queue")


def test_one_package_that_is_found_twice_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    place = "millstream.connectors.sequence:CONNECTOR"
    install(monkeypatch, sequence=place, sequence_=place)
    assert find_connector("sequence") is sequence.CONNECTOR


@pytest.mark.parametrize("value", ["not_installed.at_all:CONNECTOR", "json:CONNECTOR"])
def test_a_connector_that_cannot_be_imported_says_why(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    install(monkeypatch, queue=value)
    with pytest.raises(ConfigError, match="connector 'queue' cannot be imported: ") as refused:
        find_connector("queue")
    assert isinstance(refused.value.__cause__, ImportError | AttributeError)


def test_what_is_no_connector_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, queue="json:dumps")
    with pytest.raises(
        ConfigError, match="'queue': json:dumps must be a millstream Connector; got"
    ):
        find_connector("queue")


def test_a_side_that_a_connector_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match="connector 'console' has no source, only a sink"):
        find_connector("console").make_source({})
    with pytest.raises(ConfigError, match="connector 'sequence' has no sink, only a source"):
        find_connector("sequence").make_sink({})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "missing a required argument: 'stop'"),
        ({"stop": 1, "stpe": 2}, "got an unexpected keyword argument 'stpe'"),
        ({"stop": 1, "": 2}, "got an unexpected keyword argument ''"),
    ],
)
def test_wrong_options_list_those_that_are_accepted(options: Any, problem: str) -> None:
    accepted = "its options are: stop, start=0, step=1, rate=None"
    with pytest.raises(ConfigError, match=f"source 'sequence': {problem}; {accepted}"):
        find_connector("sequence").make_source(options)


def test_an_option_of_a_wrong_type_is_refused_by_the_connector_itself() -> None:
    with pytest.raises(ConfigError, match="sequence source: stop= takes an integer; got '3'"):
        find_connector("sequence").make_source({"stop": "3"})


def test_an_error_of_the_users_own_connector_passes_through() -> None:
    def broken(size: int) -> Any:
        raise LookupError(size)

    with pytest.raises(LookupError):
        Connector("broken", source=broken).make_source({"size": 1})
