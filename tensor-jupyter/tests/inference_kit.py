"""A gateway on loopback for the workbench's tests: it classifies images by their mean level, and fails as configured.

The real one is tested by tests/lab, from the repository's root.
"""

import email.parser
import email.policy
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

PACKAGE_ROOT = Path(__file__).parents[1]
CARD = {
    "labels": ["dark", "light"],
    "input": {"height": 8, "width": 8, "channels": 1},
    "created": "2026-01-02T00:00:00Z",
}


class Gateway(http.server.ThreadingHTTPServer):
    """Models by name with their cards; `refusals`: statuses of the next answers; `key`: wanted where it is not ""."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models = {"shades": CARD}
        self.others: dict[str, dict] = {}  # cards of versions that are not the default, by "shades/versions/2"
        self.refusals: list[int] = []
        self.key = ""
        self.lab = ""  # the id that /healthz answers, if any
        self.keys: list[str | None] = []  # what each request was sent as its key
        self.requests: list[tuple[str, str]] = []  # method and path of every request
        self.sent: list[int] = []  # images in each classify
        self.connections = 0
        self.closes = False  # a connection after each answer, without a word
        self.seconds = 0.0  # that each classify takes
        self.begun = threading.Event()  # set by the first classify
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gateway

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.server.keys.append(self.headers.get("Authorization"))
            self.health()
            return
        name = self.path.partition("/tf/models")[2].strip("/")
        if "/client?" in name:
            self.answer(200, {"text": "a call"})
        elif not name:
            self.answer(200, {"models": [{"name": name, "ready": True} for name in self.server.models]})
        elif name.endswith("/metadata"):
            self.metadata(name.removesuffix("/metadata"))
        elif name in self.server.models:
            self.answer(200, {"name": name, "default": {"version": 3, "card": self.server.models[name]}})
        else:
            self.answer(404, {"message": f"Model {name!r} is not served."})

    def metadata(self, name: str) -> None:
        card = {**self.server.models, **self.server.others}.get(name)
        if card is None:
            self.answer(404, {"message": f"Model {name!r} is not served."})
        else:
            self.answer(200, {"version": 3, "signatures": {}, "card": card})

    def health(self) -> None:
        """Without a key, as the real one's."""
        key, self.server.key = self.server.key, ""
        self.answer(200, {"status": "ok"} | ({"lab": self.server.lab} if self.server.lab else {}))
        self.server.key = key

    def do_POST(self) -> None:
        images = self.images()
        self.server.sent.append(len(images))
        self.server.begun.set()
        time.sleep(self.server.seconds)
        results = [read(image, int(self.path.partition("?limit=")[2])) for image in images]
        model = self.path.split("/")[3]
        if model not in self.server.models:
            self.answer(404, {"message": f"Model {model!r} is not served."})
        elif all("error" in result for result in results):
            self.answer(415, {"message": results[0]["error"]})
        else:
            self.answer(200, {"model": model, "version": 3, "results": results})

    def images(self) -> list[bytes]:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Type"] == "image/png":
            return [body]
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body).iter_parts()
        return [part.get_payload(decode=True) for part in parts]

    def answer(self, status: int, document: dict) -> None:
        self.server.requests.append((self.command, self.path))
        if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            status, document = 401, {"message": "no key"}
        elif self.server.refusals and (refusal := self.server.refusals.pop(0)):
            status, document = refusal, {"message": f"refused with {refusal}"}
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Model-Version", "3")
        self.end_headers()
        self.wfile.write(content)
        self.close_connection |= self.server.closes

    def log_message(self, *words: object) -> None:
        """Silent."""


def read(image: bytes, limit: int) -> dict:
    """What the gateway's model says of an image file."""
    try:
        level = float(np.asarray(Image.open(io.BytesIO(image)).convert("L")).mean()) / 255
    except OSError:
        return {"error": f"unreadable: {image[:20]!r}"}
    best = sorted(
        [{"label": "light", "score": level}, {"label": "dark", "score": 1 - level}], key=lambda s: -s["score"]
    )
    return {"labels": best[:limit]}


def png(side: int, level: int | tuple[int, int, int]) -> bytes:
    """An image of one grey or colour."""
    buffer = io.BytesIO()
    Image.new("L" if isinstance(level, int) else "RGB", (side, side), level).save(buffer, "PNG")
    return buffer.getvalue()


def serving(gateway: Gateway) -> Gateway:
    threading.Thread(target=gateway.serve_forever, args=(0.01,), daemon=True).start()
    return gateway


def environment(folder: Path, **more: str) -> dict[str, str]:
    """What the command `lab` sees: folders of its own below `folder`."""
    folders = {f"LAB_{name.upper()}": str(folder / name) for name in ("models", "logs", "data", "feedback")}
    fixed = {"LAB_OFFLINE": "1", "PYTHONPATH": str(PACKAGE_ROOT), "COLUMNS": "120"}
    return {**os.environ, **folders, **fixed, **more}


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "tensor_jupyter", *map(str, words)]


def run(folder: Path, *words: object, stdin: bytes = b"", **more: str) -> subprocess.CompletedProcess[bytes]:
    """The command, run in `folder` to its end."""
    return subprocess.run(
        command(*words), cwd=folder, env=environment(folder, **more), input=stdin, capture_output=True, timeout=120
    )
