"""The inventory over HTTP: one JSON document at `GET /`, and nothing else."""

import json
import socketserver
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class InventoryServer(ThreadingHTTPServer):
    """Serves the document that `source` returns at the time of each request. Raises OSError when the port is taken."""

    daemon_threads = True

    def __init__(self, host: str, port: int, source: Callable[[], bytes]) -> None:
        self.source = source
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # The parent would look its own address up in DNS, which can hang for seconds on a machine without network.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]  # type: ignore[assignment]


class _Handler(BaseHTTPRequestHandler):
    server: InventoryServer
    server_version = "tensor-serving"
    sys_version = ""
    timeout = 10  # seconds a silent client may hold its thread

    def do_GET(self) -> None:
        if self.path.split("?")[0] == "/":
            self._answer(200, self.server.source())
        else:
            self.send_error(404, "there is only GET /")

    def _refuse(self) -> None:
        self.send_error(405, "there is only GET /")

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer an error as JSON; the parent's way is an HTML page."""
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
        """Requests are not logged: the gateway asks all the time."""
