"""The ports, and what their connections share: the handlers, and the bounds on calls and memory."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.transport import limits
from tensor_serving.embedded.transport.call import Call
from tensor_serving.embedded.transport.connection import Connection
from tensor_serving.embedded.transport.limits import Pool

_BACKLOG = 1024
_KEEPALIVE = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", limits.KEEPALIVE_IDLE_S),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", limits.KEEPALIVE_INTERVAL_S),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", limits.KEEPALIVE_PROBES),
)


class _Details(NamedTuple):
    """What a grpc.GenericRpcHandler is called with."""

    method: str
    invocation_metadata: tuple[()] = ()


class Server:
    """Serves on the running loop, at most `max_calls` at the same time, messages of at most `largest` bytes.

    Call `listen`, then `add_handlers`, then `start`: clients that connect earlier wait. The memory for messages is
    shared with the server `beside`, if there is one. `admit_call` raises ServingError for a call that is to be refused
    because of its headers, before its message is received.
    """

    def __init__(
        self,
        max_calls: int,
        largest: int,
        beside: "Server | None" = None,
        admit_call: Callable[[Call], None] = lambda _: None,
    ) -> None:
        self.admit_call = admit_call
        self.loop = asyncio.get_running_loop()
        self.largest = largest
        self.now = self.loop.time()  # as of the last check
        self.requests: Pool = beside.requests if beside else Pool(limits.REQUEST_MESSAGES * largest)
        self.answers: Pool = beside.answers if beside else Pool(limits.ANSWER_MESSAGES * largest)
        self._calls = Pool(max_calls)
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._known: dict[str, Any] = {}
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._connections: dict[Connection, None] = {}  # the oldest first
        self._turns: deque[Connection] = deque()  # those with more frames than a turn may take
        self._turn: asyncio.Handle | None = None
        self._checks: asyncio.Handle | None = None

    def listen(self, host: str, port: int) -> int:
        """Listen on a TCP port, 0 for any free one, and return its number. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        for level, name, value in _KEEPALIVE:  # connections inherit them
            if hasattr(socket, name):  # not all systems have all
                listening.setsockopt(level, getattr(socket, name), value)
        self._sockets.append(listening)
        return int(listening.getsockname()[1])

    def listen_at(self, path: Path) -> None:
        """Listen on a Unix socket; one that an earlier server left behind is replaced. Raises OSError."""
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
        """Add handlers, which take and return bytes; methods that none of them has are UNIMPLEMENTED."""
        self._handlers += handlers

    async def start(self) -> None:
        """Accept connections."""
        for listening in self._sockets:
            local = listening.family == socket.AF_UNIX
            serve = self.loop.create_unix_server if local else self.loop.create_server
            self._servers.append(await serve(lambda: Connection(self), sock=listening))
        self._check()

    async def drain(self, seconds: float) -> None:
        """Return when every answer is sent, or when the time is over."""
        deadline = self.loop.time() + seconds
        while self.busy and self.loop.time() < deadline:
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Accept no further connections, and end the existing ones."""
        if self._checks:
            self._checks.cancel()
        for server in self._servers:
            server.close()
        for listening in self._sockets:
            listening.close()  # also where it was never started
        for connection in list(self._connections):
            connection.abort()

    @property
    def busy(self) -> bool:
        """Whether a call is in flight, or an answer not sent."""
        return self._calls.used > 0 or any(connection.busy for connection in self._connections)

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    # ---- for connections

    def register(self, connection: Connection) -> bool:
        """Register a connection; return False if there are too many and none is idle.

        If there are too many, the idle connection that was unused for the longest time is closed.
        """
        if len(self._connections) >= limits.MAX_CONNECTIONS:
            idle = [other for other in self._connections if other.idle]
            if not idle:
                return False
            unused = min(idle, key=lambda other: other.last_use)
            self.unregister(unused)
            unused.close()
        self._connections[connection] = None
        return True

    def unregister(self, connection: Connection) -> None:
        """Remove a closed connection."""
        self._connections.pop(connection, None)

    def wait_for_turn(self, connection: Connection) -> None:
        """Let it read on after the connections queued before it; between two turns all other connections are read."""
        if connection not in self._turns:
            self._turns.append(connection)
        if self._turn is None:
            self._turn = self.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._turn = None
        self._turns.popleft().read_on()
        if self._turns and self._turn is None:
            self._turn = self.loop.call_soon(self._next_turn)

    def _check(self) -> None:
        """Check all connections, every CHECK_INTERVAL_S."""
        self.now = self.loop.time()
        for connection in list(self._connections):
            connection.check(self.now)
        self._checks = self.loop.call_later(limits.CHECK_INTERVAL_S, self._check)

    def handler(self, path: str) -> Any:
        """Return the handler of a method. Raises ServingError UNIMPLEMENTED."""
        found = self._known.get(path)
        if found is None:
            details = _Details(path)
            found = next((known for h in self._handlers if (known := h.service(details))), None)
            if found is None:
                raise ServingError(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
            self._known[path] = found
        return found

    def count_call(self, own: int) -> None:
        """Count a new call of a connection that now has `own`, until `release`. Raises ServingError for too many."""
        fits = self._calls.fits(own - 1, 1)
        self._calls.used += 1
        if not fits:
            raise ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")

    def release(self, call: Call) -> None:
        """Return a finished call's share to the pools."""
        self._calls.used -= 1
        self.requests.used -= call.held
        call.held = 0


def _remove_deserted(path: Path) -> None:
    """Remove a socket without a listener; anything else stays, and binding fails."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
