"""The ports, and what their connections share: the handlers, and the bounds on calls and memory."""

import asyncio
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.transport.call import Call
from tensor_serving.embedded.transport.connection import Connection

_MOST_CONNECTIONS = 1024
_MOST_HELD = 8  # of the largest message, in all calls together
_BACKLOG = 1024


class _Details(NamedTuple):
    """What a grpc.GenericRpcHandler is asked with."""

    method: str
    invocation_metadata: tuple[()] = ()


class Server:
    """Serves on the running loop, at most `most_calls` at the same time, messages of at most `largest` bytes.

    `listen` first, then `add_handlers`, then `start`: clients that connect earlier wait.
    """

    def __init__(self, most_calls: int, largest: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.largest = largest
        self._most_calls = most_calls
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._known: dict[str, Any] = {}
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._calls, self._held = 0, 0

    def listen(self, host: str, port: int) -> int:
        """Take a TCP port, 0 for any, and return its number. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._sockets.append(socket.create_server((host, port), family=family, backlog=_BACKLOG))
        return int(self._sockets[-1].getsockname()[1])

    def listen_at(self, path: Path) -> None:
        """Take a Unix socket; one that an earlier server left behind is replaced. Raises OSError."""
        listening = socket.socket(socket.AF_UNIX)
        try:
            _remove_deserted(path)
            listening.bind(os.fspath(path))
            listening.listen(_BACKLOG)
        except OSError:
            listening.close()
            raise
        self._sockets.append(listening)

    def add_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Serve these; methods that none of them has are UNIMPLEMENTED. They take and answer bytes."""
        self._handlers += handlers

    async def start(self) -> None:
        """Take connections."""
        for listening in self._sockets:
            local = listening.family == socket.AF_UNIX
            serve = self.loop.create_unix_server if local else self.loop.create_server
            self._servers.append(await serve(lambda: Connection(self), sock=listening))

    async def drain(self, seconds: float) -> None:
        """Return when every answer is sent, or when the time is over."""
        deadline = self.loop.time() + seconds
        while self.busy and self.loop.time() < deadline:
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Take no more connections, and end those there are."""
        for server in self._servers:
            server.close()
        for listening in self._sockets:
            listening.close()  # also where it was never started
        for connection in list(self._connections):
            connection.abort()

    @property
    def busy(self) -> bool:
        """Whether a call is under way, or an answer not sent."""
        return self._calls > 0 or self._held > 0 or any(connection.busy for connection in self._connections)

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._connections)

    # ---- for connections

    def join(self, connection: Connection) -> bool:
        """Whether there is room for one more."""
        if len(self._connections) >= _MOST_CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        """It is gone."""
        self._connections.discard(connection)

    def handler(self, path: str) -> Any:
        """Return what answers a method. Raises ServingError UNIMPLEMENTED."""
        found = self._known.get(path)
        if found is None:
            details = _Details(path)
            found = next((known for h in self._handlers if (known := h.service(details))), None)
            if found is None:
                raise ServingError(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
            self._known[path] = found
        return found

    def admit(self) -> None:
        """Count a new call, until it is released. Raises ServingError when there are too many."""
        self._calls += 1
        if self._calls > self._most_calls:
            raise ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")

    def hold(self, call: Call, size: int, bounded: bool = True) -> None:
        """Count bytes that are kept for a call. Raises ServingError when that is too much."""
        if bounded and self._held + size > _MOST_HELD * self.largest:
            raise ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many large messages at the same time")
        call.held += size
        self._held += size

    def release(self, call: Call) -> None:
        """A call is over."""
        self._calls -= 1
        self._held -= call.held
        call.held = 0


def _remove_deserted(path: Path) -> None:
    """Remove a socket nobody listens on; anything else that is there stays, and binding fails."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
