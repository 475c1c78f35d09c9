"""The connections to the model server: calls run in the caller's thread, round-robin over all addresses of its name.

A call takes an idle connection or opens one. Nothing connects before the first call, and no threads are started: so
uWSGI can fork, and a call blocks only its own greenlet.
"""

import socket
import ssl
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from tensor_rest.backend import frames
from tensor_rest.backend.addresses import Address, Addresses, is_ip
from tensor_rest.backend.http2 import Connection, LostError
from tensor_rest.backend.status import Code, RpcError

_CONNECT_SECONDS = 1.0  # what one attempt to connect may take
_MAX_IDLE = 64  # connections of one address
_MAX_FIELDS = frames.FRAME  # bytes of a call's header block
_PEER_SECONDS = 5  # without any packet from the peer, after which the connection counts as lost

_TCP_OPTIONS = (
    (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 20),  # seconds
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", _PEER_SECONDS),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 1),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 1000 * _PEER_SECONDS),
)


class UnreachableError(RpcError):
    """UNAVAILABLE: no address could be connected to, so that nothing was sent."""

    def __init__(self, details: str) -> None:
        super().__init__(Code.UNAVAILABLE, details)


class Channel:
    """Unary calls to the server at these addresses, with messages of at most `max_message_bytes`.

    With `tls` calls use TLS. The server's certificate must be valid for the target's host name, or, if it has none, for
    the server's address.
    """

    def __init__(self, addresses: str | Addresses, max_message_bytes: int, tls: ssl.SSLContext | None = None) -> None:
        self._addresses = addresses if isinstance(addresses, Addresses) else Addresses(addresses)
        self.address = self._addresses.target
        self._most = max_message_bytes
        self._tls = tls
        self._idle: defaultdict[Address, list[Connection]] = defaultdict(list)
        self._begins: dict[str, bytes] = {}  # the beginnings of header blocks, by path

    def call(
        self,
        path: str,
        message: bytes,
        timeout: float,
        metadata: Sequence[tuple[str, str]] = (),
        fresh: bool = False,
        among: Collection[Address] | None = None,
    ) -> bytes:
        """Return the response to `message` at `path`, within `timeout` seconds. Raises RpcError.

        If a kept connection is lost before the server can have begun the call, the call is repeated on a new one; with
        `fresh` no kept connection is used. Addresses that are not in `among` are used only if none of these can be
        reached.
        """
        if len(message) > self._most:
            raise RpcError(Code.RESOURCE_EXHAUSTED, f"Sent message larger than max ({len(message)} vs. {self._most})")
        deadline = time.monotonic() + timeout
        address, connection, kept = self._connection(deadline, fresh, among)
        try:
            return self._once(address, connection, path, message, deadline, metadata)
        except LostError as error:
            if error.begun or not kept:
                raise
        address, connection, _ = self._connection(deadline, fresh=True, among=among)
        return self._once(address, connection, path, message, deadline, metadata)

    def reach(self) -> None:
        """Connect, and keep the connection for the next call. Raises RpcError."""
        address, connection, _ = self._any(time.monotonic() + _CONNECT_SECONDS, fresh=True)
        self._idle[address].append(connection)

    def close(self) -> None:
        """Close the idle connections."""
        for kept in self._idle.values():
            while kept:
                kept.pop().close()

    def _close_removed(self, removed: Iterable[Address]) -> None:
        """Close the idle connections to addresses that the name no longer has."""
        for address in removed:
            for connection in self._idle.pop(address, ()):
                connection.close()

    def _once(
        self,
        address: Address,
        connection: Connection,
        path: str,
        message: bytes,
        deadline: float,
        metadata: Sequence[tuple[str, str]],
    ) -> bytes:
        try:
            return connection.call(self._fields(path, deadline, metadata), message, deadline)
        except RpcError as error:
            if error.code is Code.UNAVAILABLE:  # lost, or shutting down: try other addresses first
                self._addresses.failed(address)
            raise
        finally:
            kept = self._idle[address]
            if connection.idle and len(kept) < _MAX_IDLE:
                kept.append(connection)
            else:
                connection.close()

    def _fields(self, path: str, deadline: float, metadata: Sequence[tuple[str, str]]) -> bytes:
        begin = self._begins.get(path)
        if begin is None:
            begin = self._begins[path] = frames.request_fields(self._addresses.authority, path)
        block = begin + frames.field(b"grpc-timeout", _timeout(deadline - time.monotonic()))
        for name, value in metadata:
            block += frames.field(name.encode(), value.encode())
        if len(block) > _MAX_FIELDS:
            raise RpcError(Code.RESOURCE_EXHAUSTED, f"metadata of {len(block)} bytes, at most {_MAX_FIELDS} are sent")
        return block

    def _connection(
        self, deadline: float, fresh: bool, among: Collection[Address] | None
    ) -> tuple[Address, Connection, bool]:
        """Return an address, a connection to it, and whether that was kept from an earlier call."""
        try:
            return self._any(deadline, fresh, among)
        except RpcError as error:
            if time.monotonic() >= deadline:
                raise RpcError(Code.DEADLINE_EXCEEDED, f"no connection in time: {error.details}") from error
            raise

    def _any(
        self, deadline: float, fresh: bool, among: Collection[Address] | None = None
    ) -> tuple[Address, Connection, bool]:
        errors = []
        try:
            turn = self._addresses.turn(among)
        except RpcError as error:
            raise UnreachableError(error.details) from error
        if len(self._idle) > len(turn):
            self._close_removed(self._idle.keys() - set(turn))
        for address in turn:
            kept = self._idle[address]
            while kept and not fresh:
                try:
                    connection = kept.pop()
                except IndexError:
                    break  # another caller was quicker
                if connection.ready():
                    return address, connection, True
                connection.close()
                self._addresses.failed(address)
            try:
                connection = self._connect(address, deadline)
            except RpcError as error:
                self._addresses.failed(address)
                errors.append(f"{_text(address)}: {error.details}")
            else:
                self._addresses.reached(address)
                return address, connection, False
        raise UnreachableError("; ".join(errors))

    def _host(self, address: Address) -> str:
        """Return the host name for which the certificate must be valid."""
        host = self._addresses.authority.rpartition(":")[0]
        if host and not is_ip(host.strip("[]")):
            return host
        return str(address.where[0]) if isinstance(address.where, tuple) else "localhost"

    def _connect(self, address: Address, deadline: float) -> Connection:
        deadline = min(deadline, time.monotonic() + _CONNECT_SECONDS)
        connected = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            connected.settimeout(max(0.001, deadline - time.monotonic()))
            connected.connect(address.where)
            if address.family != socket.AF_UNIX:
                for level, name, value in _TCP_OPTIONS:
                    if hasattr(socket, name):  # not all systems have all
                        connected.setsockopt(level, getattr(socket, name), value)
            if self._tls:
                connected = self._tls.wrap_socket(connected, server_hostname=self._host(address))
                if connected.selected_alpn_protocol() != "h2":
                    raise ConnectionError("the server supports TLS, but not HTTP/2 (ALPN h2)")
            connection = Connection(connected, self._most)
            connection.start(deadline)
        except OSError as error:
            connected.close()
            raise RpcError(Code.UNAVAILABLE, str(error)) from error
        except BaseException:
            connected.close()
            raise
        return connection


def _timeout(seconds: float) -> bytes:
    """grpc-timeout: at most eight digits and a unit, rounded up, so that the server's deadline is not earlier."""
    microseconds = max(1, int(seconds * 1e6) + 1)
    if microseconds < 10**8:
        return b"%du" % microseconds
    return b"%dm" % min(microseconds // 1000 + 1, 10**8 - 1)


def _text(address: Address) -> str:
    if isinstance(address.where, str):
        return f"unix:{address.where}".replace("\0", "@")
    host, port = address.where[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
