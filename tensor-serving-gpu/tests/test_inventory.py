"""The watcher's health and readiness, with a disk that hangs and a model server that says what it likes."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from serving_kit import tiny_saved_model, wait_until

from tensor_serving import watch
from tensor_serving.inventory import InventoryServer
from tensor_serving.model_server import ModelServer
from tensor_serving.watch import Watcher

Get = Callable[[str], tuple[int, Any]]


@contextmanager
def inventory(watcher: Watcher) -> Iterator[Get]:
    """Serve the watcher's inventory. Yields what gets one of its paths: status and document."""
    server = InventoryServer("127.0.0.1", 0, watcher)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()

    def get(path: str) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}{path}", timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    try:
        yield get
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    tiny_saved_model(tmp_path / "models" / "net" / "1")
    return tmp_path / "models"


def test_a_disk_that_hangs_leaves_the_inventory_as_it_was_and_is_reported(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, real = Event(), watch.scan

    def hang(*arguments: Any, **named: Any) -> Any:
        hanging.wait(60)
        return real(*arguments, **named)

    watcher = Watcher(models, tmp_path / "config", max_age=0.2)
    with inventory(watcher) as get:
        assert watcher.poll()
        assert get("/healthz") == (200, {"status": "ok"})
        looked = get("/")[1]["looked"]
        monkeypatch.setattr(watch, "scan", hang)
        tiny_saved_model(models / "net" / "2")
        assert not watcher.poll(0.01)
        wait_until(lambda: get("/healthz")[0] == 503)
        assert not watcher.poll(30)  # the look before has not ended, and is not waited for again
        document = get("/")[1]
        assert document["error"].startswith(f"{models} has not been read for ")
        assert get("/healthz") == (503, {"message": get("/healthz")[1]["message"], "code": 503})
        assert (document["looked"], document["models"][0]["versions"]) == (looked, [1])
        hanging.set()
        wait_until(lambda: get("/")[1]["models"][0]["versions"] == [1, 2])
        wait_until(watcher.poll)
        assert get("/healthz")[0] == 200


def test_a_look_that_fails_is_reported_and_not_the_last(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = watch.scan

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("an unexpected error")

    watcher = Watcher(models, tmp_path / "config")
    with inventory(watcher) as get:
        monkeypatch.setattr(watch, "scan", fail)
        assert not watcher.poll()
        assert get("/")[1] == {
            "models": [],
            "ignored": [],
            "looked": None,
            "error": "RuntimeError: an unexpected error",
        }
        monkeypatch.setattr(watch, "scan", real)
        assert watcher.poll()
        assert "error" not in get("/")[1]


@contextmanager
def model_server(states: dict[str, dict[int, str]]) -> Iterator[str]:
    """Answer the status of these models as TensorFlow Serving's REST API does. Yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = states.get(self.path.rpartition("/")[2])
            status = [{"version": str(number), "state": state, "status": {}} for number, state in (found or {}).items()]
            body = json.dumps({"model_version_status": status}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_ready_means_that_every_listed_model_is_available(models: Path, tmp_path: Path) -> None:
    states: dict[str, dict[int, str]] = {}
    with model_server(states) as address:
        watcher = Watcher(models, tmp_path / "config", ModelServer(address))
        with inventory(watcher) as get:
            assert get("/readyz") == (503, {"message": "no model is served", "code": 503})
            watcher.poll()
            tiny_saved_model(models / "other" / "1")
            (models / "broken" / "1").mkdir(parents=True)  # quarantined, and so not listed
            watcher.poll()
            states["net"] = {1: "LOADING"}
            message = "no version of net is available: 1 LOADING; no version of other is available: 1 not loaded"
            assert get("/readyz") == (503, {"message": message, "code": 503})
            states |= {"net": {1: "AVAILABLE"}, "other": {1: "AVAILABLE"}}
            assert get("/readyz") == (200, {"status": "ready"})
            tiny_saved_model(models / "net" / "2")  # while it is loaded, the one before answers
            watcher.poll()
            states["net"] = {1: "AVAILABLE", 2: "LOADING"}
            assert get("/readyz") == (200, {"status": "ready"})
            states["other"] = {1: "END"}
            assert get("/readyz")[1]["message"] == "no version of other is available: 1 END"
    with inventory(watcher) as get:
        assert get("/readyz")[1]["message"] == "the model server does not answer"


def test_the_inventory_names_what_can_be_called_now_if_asked(models: Path, tmp_path: Path) -> None:
    tiny_saved_model(models / "net" / "2")
    tiny_saved_model(models / "other" / "1")
    (models / "broken" / "1").mkdir(parents=True)
    states: dict[str, dict[int, str]] = {"net": {1: "AVAILABLE", 2: "LOADING"}}
    with model_server(states) as address:
        watcher = Watcher(models, tmp_path / "config", ModelServer(address))
        with inventory(watcher) as get:

            def available() -> dict[str, list[int]]:
                return {model["name"]: model["available"] for model in get("/?available")[1]["models"]}

            watcher.poll()
            assert available() == {"broken": [], "net": [1], "other": []}
            assert all("available" not in model for model in get("/")[1]["models"])
            states["net"] = {1: "AVAILABLE", 2: "AVAILABLE"}
            wait_until(lambda: available()["net"] == [1, 2])
    with inventory(watcher) as get:
        wait_until(lambda: get("/?available")[1]["models"][1]["available"] == [])
