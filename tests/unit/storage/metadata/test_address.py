"""The address of the metadata store, taken apart and shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from millstream.core.errors import ConfigError
from millstream.storage.metadata.address import parse_address, shown, without_secrets

SECRET = "canary"  # noqa: S105  # what must not be shown


@pytest.mark.parametrize(
    ("target", "driver", "address"),
    [
        (
            Path("/jobs/a?b%20c/metadata.db"),
            "sqlite+pysqlite",
            "sqlite:////jobs/a?b%20c/metadata.db",
        ),
        ("sqlite:///metadata.db", "sqlite+pysqlite", "sqlite:///metadata.db"),
        ("postgres://host/jobs", "postgresql+psycopg", "postgresql://host/jobs"),
        ("postgresql:///jobs", "postgresql+psycopg", "postgresql://localhost/jobs"),
        (
            f"postgresql+psycopg://user:{SECRET}@host:5433/jobs?sslpassword={SECRET}",
            "postgresql+psycopg",
            "postgresql://host:5433/jobs",
        ),
    ],
    ids=str,
)
def test_an_address_gets_its_driver_and_is_shown_without_secrets(
    target: str | Path, driver: str, address: str
) -> None:
    url = parse_address(target)
    assert url.drivername == driver
    assert shown(url) == address


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("metadata.db", "cannot be read; it should look like sqlite:///folder/metadata.db"),
        (f"postgresql://user:{SECRET}@host:port/jobs", "cannot be read"),
        (f"postgresql://user:pass@{SECRET}@host/jobs", "more than one '@'; one in a password"),
        (f"mysql://user:{SECRET}@host/jobs", "does not know 'mysql' databases"),
        (f"postgresql+asyncpg://user:{SECRET}@host/jobs", "does not know 'postgresql+asyncpg'"),
        ("sqlite://", "needs an SQLite file"),
        ("sqlite:///:memory:", "needs an SQLite file"),
    ],
    ids=str,
)
def test_an_address_that_cannot_be_one_is_refused_without_showing_it(
    target: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as raised:
        parse_address(target)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is raised.value.__context__ is None


def test_a_password_in_a_text_of_the_driver_is_blotted_out() -> None:
    url = parse_address("postgresql://user:p%40ss@host/jobs?sslpassword=other")
    assert without_secrets("bad p@ss, bad other", url) == "bad ***, bad ***"
