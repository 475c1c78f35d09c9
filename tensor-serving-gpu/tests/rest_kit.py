"""A plain HTTP client for the REST API."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON; NaN and Infinity are numbers in it."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of a refusal, which is all there is in it."""
        assert list(self.document) == ["error"], self.body
        return str(self.document["error"])


def send(
    address: str, path: str, body: bytes | str | None = None, method: str = "", headers: dict[str, str] | None = None
) -> Answer:
    """Send one request on a connection of its own; with a body it is a POST."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    try:
        data = body.encode() if isinstance(body, str) else body
        connection.request(method or ("GET" if body is None else "POST"), path, data, headers or {})
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def send_raw(address: str, data: bytes, close: bool = False) -> bytes:
    """Send bytes as they are and return what comes back until the other side closes; `close` ends our side first."""
    host, _, port = address.rpartition(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        try:
            connection.sendall(data)
            if close:
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                received += piece
        except ConnectionError:
            pass  # closed before it had read all
    return received


def peak_memory(pid: int) -> int:
    """Return the most memory a process has had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
