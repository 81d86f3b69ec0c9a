"""What every test runs under: the hypothesis profile, and markers set by folder."""

from pathlib import Path

import pytest
from hypothesis import settings

# Without hypothesis' time limit per example: on a busy machine it fails tests that are right.
# pytest's own timeout still ends one that hangs. What CI turns on by itself is kept. 50 examples
# keep the unit tests short; the suites were written with thousands.
settings.register_profile("millstream", settings.default, deadline=None, max_examples=50)
settings.load_profile("millstream")

FOLDERS_WITH_MARKER = ("integration", "acceptance")
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of a folder by its name, so that none can be forgotten."""
    for item in items:
        for folder in FOLDERS_WITH_MARKER:
            if item.path.is_relative_to(HERE / folder):
                item.add_marker(folder)
