"""A lab on loopback for the doctor to look at: one server in place of all services, with staged faults."""

import contextlib
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tensor_jupyter.cli import app
from tensor_jupyter.doctor import examine, listening
from tensor_jupyter.settings import Settings

TOKEN = "d0c70r-mu57-n07-73ll"

INVENTORY = {"name": "b", "versions": [1, 2], "serving": [2], "labels": {}, "quarantined": [], "problems": []}


class Patient(http.server.ThreadingHTTPServer):
    """Every service at one port. answers: status and document by path; a path that is not in it is a 404."""

    def __init__(self, logs: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.key = ""  # what /tf/models wants to be sent, if anything
        self.answers: dict[str, tuple[int, object]] = {
            "/healthz": (200, {"status": "ok"}),
            "/readyz": (200, {"status": "ready"}),
            "/tf/models": (200, {"models": [], "rules": {"models": {}, "message": ""}}),
            "/": (200, {"models": [dict(INVENTORY)]}),
            "/data/environment": (200, {"data_location": str(logs)}),
            "/data/runs": (200, {}),
            "/api": (200, {"version": "2"}),
            "/api/status": (403, {"message": "Forbidden"}),
        }

    @property
    def model(self) -> dict[str, object]:
        """The inventory's one entry."""
        return self.answers["/"][1]["models"][0]  # type: ignore[index, return-value]

    def environment(self) -> dict[str, str]:
        """What the local engine passes to a command, for this lab."""
        port = str(self.server_port)
        return {
            "LAB_REST_URL": self.url,
            "LAB_BOARD_URL": f"{self.url}/",
            "LAB_JUPYTER_PORT": port,
            "LAB_SERVING_REST_PORT": port,
            "TF_SERVER_HOST_PORT": f"127.0.0.1:{port}",
            "TF_SERVER_INVENTORY_URL": f"{self.url}/",
        }

    def start(self) -> None:
        """Answer until `stop`."""
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Answer no more; the port is free again."""
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Patient

    def do_GET(self) -> None:
        status, document = self.server.answers.get(self.path, (404, {}))
        if self.path == "/tf/models" and self.server.key not in self.headers.get("Authorization", ""):
            status, document = 401, {"message": "An API key is wanted.", "code": 401}
        body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Silent."""


@contextlib.contextmanager
def healthy(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Patient]:
    """A healthy lab: services that answer, folders, a served version and a token."""
    for name in [name for name in os.environ if name.startswith(("TF_SERVER_", "TENSOR_", "JUPYTER_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    for folder in (home, settings.models / "b" / "2", settings.logs, settings.data, settings.feedback):
        folder.mkdir(parents=True)
    home.chmod(0o700)
    token = home / "jupyter.token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    server = Patient(settings.logs)
    lab_of = listening._lab  # this process is not started by a lab's manager, and stands for its services
    monkeypatch.setattr(listening, "_lab", lambda of: str(home) if of.name == str(os.getpid()) else lab_of(of))
    folders = {f"LAB_{name.upper()}": str(getattr(settings, name)) for name in ("models", "logs", "data", "feedback")}
    own = {"LAB_HOME": str(home), "JUPYTER_TOKEN_FILE": str(token)}
    for name, value in {**folders, **own, **server.environment()}.items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        yield server
    finally:
        if server.fileno() >= 0:
            server.stop()


def found(check=None, but=("disk", "memory", "GPU", "Python", "packages")):
    """What is not ok; of one check, all of it. The machine that runs the tests may be short of space."""
    findings = examine(Settings.read())
    if check:
        return [finding for finding in findings if finding.check == check]
    return [finding for finding in findings if finding.level != "ok" and finding.check not in but]


def only(check=None):
    """The one finding there is."""
    findings = found(check)
    assert len(findings) == 1, findings
    return findings[0]


def lab(*words):
    return CliRunner().invoke(app, ["doctor", *words])
