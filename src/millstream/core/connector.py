"""Connectors by name: found by entry point, so that a third party can add one."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from millstream.core.errors import ConfigError
from millstream.core.source import AnySource
from millstream.core.two_phase import AnySinkForm

ENTRY_POINT_GROUP = "millstream.connectors"


@dataclass(frozen=True, slots=True)
class Connector:
    """One outside system: how a source and a sink on it are made from options.

    Attributes:
        name: what users write, ``job.source("jsonl", path=…)``.
        source: makes a source from keyword options, or None if there is none.
        sink: makes a sink from keyword options, or None if there is none.
    """

    name: str
    source: Callable[..., AnySource] | None = None
    sink: Callable[..., AnySinkForm] | None = None

    def make_source(self, options: dict[str, Any]) -> AnySource:
        """Make a source.

        Raises:
            ConfigError: an option is unknown, missing or of the wrong type.
        """
        if self.source is None:
            raise ConfigError(f"connector {self.name!r} has no source, only a sink")
        made: AnySource = _make(self.source, f"source {self.name!r}", options)
        return made

    def make_sink(self, options: dict[str, Any]) -> AnySinkForm:
        """Make a sink.

        Raises:
            ConfigError: an option is unknown, missing or of the wrong type.
        """
        if self.sink is None:
            raise ConfigError(f"connector {self.name!r} has no sink, only a source")
        made: AnySinkForm = _make(self.sink, f"sink {self.name!r}", options)
        return made


def _make(factory: Callable[..., Any], what: str, options: dict[str, Any]) -> Any:
    signature = inspect.signature(factory)
    try:
        signature.bind(**options)
    except TypeError as error:
        accepted = ", ".join(
            name if parameter.default is parameter.empty else f"{name}={parameter.default!r}"
            for name, parameter in signature.parameters.items()
        )
        raise ConfigError(f"{what}: {error}; its options are: {accepted}") from None
    return factory(**options)


def find_connector(name: str) -> Connector:
    """Return the connector of that name.

    Raises:
        ConfigError: there is none (with the nearest name), it cannot be imported, or two
            packages bring one of that name.
    """
    found = _entry_points()
    matches = found.get(name, [])
    if not matches:
        near = difflib.get_close_matches(name, found, n=1)
        guess = f"; did you mean {near[0]!r}" if near else ""
        raise ConfigError(
            f"there is no connector {name!r}{guess}. Installed: {', '.join(sorted(found))}"
        )
    if len({entry.value for entry in matches}) > 1:
        raise ConfigError(
            f"two packages bring a connector {name!r}: "
            + " and ".join(entry.value for entry in matches)
            + "; uninstall one"
        )
    try:
        connector = matches[0].load()
    except (ImportError, AttributeError) as error:  # no such module, no such name in it
        raise ConfigError(f"connector {name!r} cannot be imported: {error}") from error
    if not isinstance(connector, Connector):
        raise ConfigError(
            f"connector {name!r}: {matches[0].value} must be a millstream Connector; "
            f"got {connector!r}"
        )
    return connector


def _entry_points() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        found.setdefault(entry.name, []).append(entry)
    return found
