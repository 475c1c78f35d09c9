"""A real model server that computes something obvious, and the application on it. `gateway_kit` has the helpers."""

import io
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside the tests; importlib mode leaves them out

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # before grpc is loaded; it reports every restart of the toy server

from api_kit import client_of, everything
from gateway_kit import HTTP, unused_address
from toy_model_server import Model, ModelServer

from tensor_rest.app import create_app
from tensor_rest.runtime import request_context
from tensor_rest.settings import Settings


@pytest.fixture(scope="session", autouse=True)
def _close_client() -> Iterator[None]:
    yield
    HTTP.close()


@pytest.fixture(autouse=True)
def _nobodys_request() -> None:
    """The deadline of the last request this thread worked for would hold for the next test's calls."""
    request_context.begin("", None)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """Serves mnist-net (with a card) and bare-net (without one, answers in tensor_content)."""
    toy = ModelServer(mnist_net=Model(), bare_net=Model(card=None, as_floats=False)).start()
    yield toy
    toy.stop()


@pytest.fixture
def settings(server: ModelServer, tmp_path: Path) -> Settings:
    return Settings(
        run_dir=tmp_path, server=server.address, inventory_url=unused_address(), timeout_seconds=30, grace_seconds=0
    )


@pytest.fixture
def client(settings: Settings) -> Any:
    return create_app(settings).test_client()


@pytest.fixture
def serves() -> Iterator[ModelServer]:
    """Serves every kind of model of api_kit."""
    toy = ModelServer(**everything()).start()
    yield toy
    toy.stop()


@pytest.fixture
def api(serves: ModelServer, tmp_path: Path) -> Any:
    """A client of the application in front of them."""
    return client_of(serves, tmp_path)


@pytest.fixture
def post(client: Any) -> Callable[..., Any]:
    """POST bytes as the field `image`."""

    def send(path: str, data: bytes, name: str = "image") -> Any:
        return client.post(path, data={name: (io.BytesIO(data), "digit.png")})

    return send


@pytest.fixture
def watcher() -> Iterator[Any]:
    """A watcher's HTTP server; `document` is its answer, `hold` what it waits for, `received` counts requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.received += 1
            if server.hold:
                server.hold.wait(10)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(server.document).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.received, server.hold = 0, None
    server.document = {
        "models": [
            {"name": "mnist-net", "versions": [1], "labels": {"stable": 1}, "quarantined": []},
            {"name": "bare-net", "versions": [1], "labels": {}, "quarantined": []},
            {"name": "ill-net", "versions": [], "quarantined": [{"version": 3, "reason": "saved_model.pb is missing"}]},
        ]
    }
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))  # seconds between looks for `shutdown`
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def listed(settings: Settings, watcher: Any) -> Any:
    """A client of an application that knows the watcher."""
    url = f"http://127.0.0.1:{watcher.server_port}/"
    return create_app(Settings(**{**settings.model_dump(), "inventory_url": url})).test_client()
