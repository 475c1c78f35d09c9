"""The watcher's HTTP server: the inventory at `GET /` and `GET /?available`, health, readiness, and nothing else.

`/healthz` is 200 while the inventory is up to date, `/readyz` while every model listed can be called; else they are 503
with the reasons. Requests that a foreign web page may have sent are refused (hosts.py).
"""

import json
import socket
import socketserver
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tensor_serving.hosts import Hosts
from tensor_serving.watch import Watcher


class InventoryServer(ThreadingHTTPServer):
    """Serves the watcher's current state. Raises OSError when the port is taken."""

    daemon_threads = True

    def __init__(self, host: str, port: int, watcher: Watcher) -> None:
        self.watcher, self.hosts = watcher, Hosts.from_environment(host)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # The base class would look its own address up in DNS, which can hang for seconds on a machine without network.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]  # type: ignore[assignment]


_ONLY = "only GET of /, /healthz and /readyz is supported"


class _Handler(BaseHTTPRequestHandler):
    server: InventoryServer
    server_version = "tensor-serving"
    sys_version = ""
    timeout = 10  # seconds a silent client may hold its thread

    def do_GET(self) -> None:
        fields = [self.headers.get(name, "") for name in ("Host", "Origin", "Sec-Fetch-Site")]
        (path, _, query), watcher = self.path.partition("?"), self.server.watcher
        if refusal := self.server.hosts.refusal(*fields):
            self.send_error(*refusal)
        elif path == "/":
            self._answer(200, watcher.inventory(available=query == "available"))
        elif path == "/healthz":
            self._answer_state("ok", [watcher.stale()])
        elif path == "/readyz":
            self._answer_state("ready", watcher.not_ready())
        else:
            self.send_error(404, _ONLY)

    def _refuse(self) -> None:
        self.send_error(405, _ONLY)

    def _answer_state(self, good: str, reasons: list[str]) -> None:
        if any(reasons):
            self.send_error(503, "; ".join(reasons))
        else:
            self._answer(200, json.dumps({"status": good}).encode())

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send an error as JSON; the base class sends an HTML page."""
        self.close_connection = True
        self._answer(code, json.dumps({"message": message or explain or "", "code": int(code)}).encode())

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        if code == 405:
            self.send_header("Allow", "GET")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the gateway polls all the time."""
