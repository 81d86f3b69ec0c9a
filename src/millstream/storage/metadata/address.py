"""Where the metadata is: a URL or a path taken apart, and shown without its secrets."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from millstream.core.errors import ConfigError

DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
FORMS = "sqlite:///folder/metadata.db or postgresql://user:password@host:5432/database"


def parse_address(target: str | Path) -> URL:
    """Return where the database is; a path is an SQLite file.

    Raises:
        ConfigError: the URL is not one of a metadata store. The message leaves out all of it that
            could be a part of a password.
    """
    if isinstance(target, Path):
        return URL.create(DRIVERS["sqlite"], database=str(target))
    try:
        url = make_url(target)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        url = None
    if url is None:  # not in the handler: the cause may show the URL
        raise ConfigError(
            f"the URL of the metadata store cannot be read; it should look like {FORMS}, with "
            "@ : / in a password written as %40 %3A %2F"
        )
    if url.drivername not in DRIVERS:
        raise ConfigError(
            f"the metadata store does not know {url.drivername!r} databases; it takes {FORMS}"
        )
    if "@" in (url.host or ""):
        raise ConfigError(
            "the URL of the metadata store has more than one '@'; one in a password is "
            "written as %40"
        )
    url = url.set(drivername=DRIVERS[url.drivername])
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigError(
            "the metadata store needs an SQLite file, as memory is lost with the process: "
            "sqlite:///folder/metadata.db"
        )
    return url


def shown(url: URL) -> str:
    """Return it for messages: without user, password and options."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{url.host or 'localhost'}{port}/{url.database or ''}"


def without_secrets(text: str, url: URL) -> str:
    """Return a text of the driver without the password, should it be in it."""
    secrets = [url.password, *(url.query.get(name) for name in ("password", "sslpassword"))]
    for secret in secrets:
        if secret:
            text = text.replace(str(secret), "***")
    return text
