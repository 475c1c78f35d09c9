"""The page in a real browser, over the real fronts and a toy model server with a watcher's list."""

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from gateway_kit import Front, start_front
from page_kit import TIMEOUT_MS
from page_models import every_kind
from toy_model_server import ModelServer

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is for developers")
CHROMIUM = shutil.which("chromium")
CAMERA = "--use-fake-device-for-media-stream"
QUIET = ["--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"))


@pytest.fixture(scope="module")
def toy() -> Iterator[ModelServer]:
    """One model of every kind."""
    server = ModelServer(**every_kind()).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def inventory(toy: ModelServer) -> Iterator[str]:
    """The address of a watcher that lists what the toy serves."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            models = [
                {
                    "name": name,
                    "versions": model.versions,
                    "serving": model.versions,
                    "labels": model.labels,
                    "quarantined": [],
                }
                for name, model in toy.models.items()
            ]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"models": models}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where feedback lands."""
    return tmp_path_factory.mktemp("page") / "feedback"


@pytest.fixture(scope="module")
def front(toy: ModelServer, inventory: str, kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    rules = tmp_path_factory.mktemp("rules") / "rules.json"
    rules.write_text('{"unsure-net": {"min_score": 0.95, "then": "mnist-net"}}')
    kind = "nginx" if shutil.which("nginx", path="/usr/sbin:/usr/bin") else "uwsgi"
    running = start_front(
        kind,
        tmp_path_factory.mktemp("page") / "run",
        toy.address,
        TF_SERVER_INVENTORY_URL=inventory,
        TF_SERVER_GRACE_SECONDS="0.3",
        TENSOR_REST_FEEDBACK_DIR=str(kept),
        TENSOR_REST_RULES=str(rules),
        TENSOR_REST_MAX_PIXELS="1000000",
        TENSOR_REST_CONCEPT_WAIT_MS="5000",
        TENSOR_REST_JUPYTER_URL="http://127.0.0.1:8888/",
    )
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-sync", CAMERA, *QUIET]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, front: Front) -> Iterator[Any]:
    """A fresh page on a desktop; fails on a request to another host, and on a violated policy or a script error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.set_default_timeout(TIMEOUT_MS)
    complaints: list[str] = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("console", lambda line: complaints.append(line.text) if _complains(line) else None)
    tab.on("request", lambda request: None if _own(request.url, front) else complaints.append(request.url))
    yield tab
    context.close()
    assert complaints == []


def _complains(line: Any) -> bool:
    """The browser itself notes each refused request as an error; tests look at what the page makes of them."""
    return line.type == "error" and not line.text.startswith("Failed to load resource")


def _own(url: str, front: Front) -> bool:
    return url.startswith((front.url, "data:", "blob:"))
