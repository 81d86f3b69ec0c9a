"""What holds for every connector."""

import importlib
import pkgutil
from pathlib import Path

import pytest

from millstream import connectors
from millstream.core.connector import Connector

NAMES = ["blackhole", "collection", "console", "csv", "datagen", "jsonl", "sequence", "sqlite"]


@pytest.mark.parametrize("name", NAMES)
def test_a_module_offers_its_connector_under_its_own_name(name: str) -> None:
    module = importlib.import_module(f"millstream.connectors.{name}")
    assert isinstance(module.CONNECTOR, Connector)
    assert module.CONNECTOR.name == name
    assert module.CONNECTOR.source is getattr(module, "source", None)
    assert module.CONNECTOR.sink is getattr(module, "sink", None)


def test_no_connector_is_forgotten_here() -> None:
    modules = [module.name for module in pkgutil.iter_modules(connectors.__path__)]
    with_connector = [
        name
        for name in modules
        if "\nCONNECTOR = " in (Path(connectors.__path__[0]) / f"{name}.py").read_text()
    ]
    assert with_connector == NAMES
