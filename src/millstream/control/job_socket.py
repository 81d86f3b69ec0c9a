"""How a running job is reached: a Unix socket in its folder, a line of JSON each way.

The server only carries lines: what is asked and what is answered is ``job_control``'s. It reads and
writes without waiting for anybody, so a client that is slow, silent or mad costs the job nothing.
"""

from __future__ import annotations

import json
import os
import queue
import selectors
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from millstream.core.errors import ConfigError, FatalError
from millstream.core.log import warning
from millstream.core.ports import Joinable, Spawner
from millstream.core.wording import said

NAME = "control.sock"
MAX_REQUEST_BYTES = 1 << 16  # a request has a few short fields
MAX_CLIENTS = 32  # connected at once; the job needs its file descriptors itself
_LONGEST_PATH = 100  # bytes; the system's limit is 104 to 108
_FDS = Path("/proc/self/fd")
_PAUSE_S = 1.0  # before it accepts again where the process has no file descriptor left

Reply = dict[str, Any]  # JSON
Answer = Callable[[Reply], None]
"""Takes the reply to a request, once; from any thread, and also too late."""
Handler = Callable[[bytes, Answer], None]
"""Takes a request, on the server's thread; answers at once or later."""


class _Client:
    """One connection: whether its request is there, and whether that is answered."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received = bytearray()
        self.asked = self.answered = False


class JobSocket:
    """Serves a folder's socket on a thread of its own. A connection carries one request.

    Args:
        folder: the job's; whoever makes this holds its lock, so a socket that is there is stale.
        handler: gets each request.

    Raises:
        OSError: there can be no socket there.
    """

    def __init__(self, folder: Path, handler: Handler) -> None:
        self._folder = folder
        self._handler = handler
        self._clients: dict[_Client, None] = {}  # in the order in which they came
        self._replies: queue.SimpleQueue[tuple[_Client, Reply]] = queue.SimpleQueue()
        self._thread: Joinable | None = None
        self._closing = False
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        try:
            self._listener = _listen(folder)
        except BaseException:
            self._release()
            raise

    def start(self, spawner: Spawner) -> None:
        """Begin to serve."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = spawner.spawn("millstream-control", self._run)

    def close(self, last_words: Callable[[], None]) -> None:
        """Serve no more, and remove the socket.

        Args:
            last_words: answers those who wait for the end; others are told that the job has ended.
                All of them stay connected until ``hang_up``.
        """
        self._closing = True
        self._wake()
        if self._thread is not None:
            self._thread.join()
        last_words()
        self._reply()
        for client in [each for each in self._clients if not each.answered]:
            self._send(client, refusal("the job ended before it had answered"))
        with suppress(OSError):  # the folder may be gone
            (self._folder / NAME).unlink(missing_ok=True)
        self._listener.close()
        self._release()

    def hang_up(self) -> None:
        """Let those go who wait for the folder to be free."""
        for client in self._clients:
            client.connection.close()
        self._clients.clear()

    # -- any thread -----------------------------------------------------------------------------

    def _answer(self, client: _Client, reply: Reply) -> None:
        self._replies.put((client, reply))
        self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # full: it wakes anyway; closed: nobody serves any more
            self._waker.send(b"!")

    # -- the server's thread --------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001  # nobody may wait for what has ended
            warning("control.failed", folder=str(self._folder), error=said(error))
            failed = f"the thread that answers has failed: {said(error)}"
            self._give_up(f"{failed}; the job's own log says how it goes on")

    def _give_up(self, reason: str) -> None:
        """Tell everybody, and let nobody connect any more; the job goes on."""
        with suppress(OSError):  # the folder may be gone
            (self._folder / NAME).unlink(missing_ok=True)
        self._listener.close()
        for client in self._clients:
            self._send(client, refusal(reason))
        self.hang_up()

    def _serve(self) -> None:
        paused = False
        while not self._closing:
            ready = self._selector.select(_PAUSE_S if paused else None)
            if paused:
                self._selector.register(self._listener, selectors.EVENT_READ)
                paused = False
            for key, _ in ready:
                if key.fileobj is self._listener:
                    paused = not self._accept()
                elif key.fileobj is self._woken:
                    self._woken.recv(4096)
                elif key.data in self._clients:
                    self._read(key.data)
            self._reply()
        for client in [each for each in self._clients if not each.asked]:
            self._drop(client)

    def _accept(self) -> bool:
        """Take a connection; return False if nobody can connect for now."""
        try:
            connection, _ = self._listener.accept()
        except ConnectionError:
            return True  # it has gone again
        except OSError as error:
            warning("control.not_accepted", folder=str(self._folder), error=said(error))
            self._selector.unregister(self._listener)
            return False
        connection.setblocking(False)
        client = _Client(connection)
        if len(self._clients) >= MAX_CLIENTS:
            silent = next((each for each in self._clients if not each.asked), None)
            if silent is None:
                self._send(client, refusal(f"{MAX_CLIENTS} others wait for answers; try later"))
                connection.close()
                return True
            self._drop(silent)
        self._clients[client] = None
        self._selector.register(connection, selectors.EVENT_READ, client)
        return True

    def _read(self, client: _Client) -> None:
        try:
            data = client.connection.recv(MAX_REQUEST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        client.received += data
        line, found, _ = client.received.partition(b"\n")
        if found:
            client.asked = True
            self._selector.unregister(client.connection)  # whatever follows is not read
            self._handler(bytes(line), lambda reply: self._answer(client, reply))
        elif not data:
            self._drop(client)
        elif len(client.received) > MAX_REQUEST_BYTES:
            self._send(client, refusal(f"a request has at most {MAX_REQUEST_BYTES:,} bytes"))
            self._drop(client)

    def _reply(self) -> None:
        while not self._replies.empty():
            client, reply = self._replies.get()
            if client not in self._clients or client.answered:
                continue
            client.answered = True
            if not self._send(client, reply) or not self._closing:
                self._drop(client)

    def _send(self, client: _Client, reply: Reply) -> bool:
        """Send a reply, and return whether it went; it fits into the connection's buffer."""
        try:
            client.connection.sendall(_line(reply))
        except OSError:
            return False
        return True

    def _drop(self, client: _Client) -> None:
        if not client.asked:
            self._selector.unregister(client.connection)
        self._clients.pop(client, None)
        client.connection.close()

    def _release(self) -> None:
        self._selector.close()
        self._woken.close()
        self._waker.close()


def refusal(reason: str) -> Reply:
    """Return the reply to what was not done."""
    return {"ok": False, "error": reason}


def _line(message: dict[str, Any]) -> bytes:
    """Return a message as a line; in ASCII, as a path may have bytes that are no text."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def _listen(folder: Path) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this system has no Unix sockets")
    new = f"{NAME}.new"  # until it answers; the next run replaces what a kill has left of either
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        (folder / new).unlink(missing_ok=True)
        with _address(folder, new) as address:
            listener.bind(address)
        (folder / new).chmod(0o600)  # nobody can connect before it listens
        listener.listen(MAX_CLIENTS)
        listener.setblocking(False)
        (folder / new).replace(folder / NAME)
    except BaseException:
        listener.close()
        raise
    return listener


@contextmanager
def _address(folder: Path, name: str = NAME) -> Iterator[str]:
    """Yield a path of the socket that the system takes, however deep the folder is."""
    path = os.fspath(folder / name)
    if len(os.fsencode(path)) <= _LONGEST_PATH or not _FDS.is_dir():
        yield path
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield f"{_FDS}/{descriptor}/{name}"
    finally:
        os.close(descriptor)


class JobGoneError(FatalError):
    """The job's process ended, or was stuck, before it had answered."""


class RefusedError(FatalError):
    """The job did not do what it was asked for; the message says why."""


def ask(
    folder: Path, job: str, request: dict[str, Any], *, timeout_s: float | None = None
) -> Reply:
    """Ask a running job for something, and return its answer.

    What ends the job is answered when it has ended; this returns when its folder is free.

    Args:
        folder: the job's.
        job: its name, for errors.
        request: with its ``command``.
        timeout_s: how long to wait; None: for ever.

    Raises:
        ConfigError: the job is not running.
        RefusedError: it said no, or it failed.
        JobGoneError: there was no answer.
    """
    with _connected(folder, job) as connection:
        connection.settimeout(timeout_s)
        line = b""
        try:
            with suppress(ConnectionError):  # it may have been refused unread: the reply says why
                connection.sendall(_line(request))
            with suppress(ConnectionError), connection.makefile("rb") as file:
                line = file.readline()
                if line.endswith(b"\n"):
                    file.read()  # until the job lets go of us
        except TimeoutError:
            raise JobGoneError(
                f"job {job!r} did not answer within {timeout_s:g} s: a callback may block its "
                "engine; its log names one that does"
            ) from None
    if not line.endswith(b"\n"):
        raise JobGoneError(
            f"the process of job {job!r} ended before it had answered; its own output says why, "
            f"and `millstream savepoint list` what it has completed"
        )
    reply: Reply = json.loads(line)
    if not reply.get("ok"):
        raise RefusedError(f"job {job!r}: {reply.get('error')}")
    return reply


@contextmanager
def _connected(folder: Path, job: str) -> Iterator[socket.socket]:
    if not folder.is_dir():
        raise ConfigError(
            f"there is no folder {folder} of job {job!r}; go to where it runs, or say where its "
            "folder is (--folder)"
        )
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError("this system has no Unix sockets, by which a running job is reached")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            with _address(folder) as address:
                connection.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            raise ConfigError(
                f"job {job!r} is not running in {folder}: nothing answers there; start it with "
                "`millstream run`"
            ) from None
        except OSError as error:
            raise ConfigError(
                f"job {job!r} cannot be reached in {folder}: {said(error)}; its socket is for the "
                "user that runs the job"
            ) from error
        yield connection
