"""A gateway in front of several model servers: all are used, and during a roll-out nothing flaps."""

import io
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from api_kit import half_plus_two
from gateway_kit import check_error, image_file, unused_address, wait_until
from toy_model_server import Model, ModelServer

from tensor_rest.app import create_app
from tensor_rest.settings import Settings

ROWS = json.dumps({"instances": [1]})


class Replica:
    """A model server with a watcher: what is in `server.models` can be called; `listed` overrides what is listed."""

    def __init__(self, host: str = "127.0.0.1", watcher_port: int = 0, **models: Model) -> None:
        self.server = ModelServer(**models).start()
        self.listed: dict[str, list[int]] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(outer.document(self.path.endswith("?available"))).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.watcher = ThreadingHTTPServer((host, watcher_port), Handler)
        self.thread = threading.Thread(target=self.watcher.serve_forever, args=(0.02,))
        self.thread.start()

    def document(self, available: bool) -> dict[str, Any]:
        models = [
            {
                "name": name,
                "versions": listed,
                "serving": listed,
                "labels": model.labels,
                **({"available": model.versions} if available else {}),
            }
            for name, model in self.server.models.items()
            if (listed := self.listed.get(name, model.versions))
        ]
        return {"models": models}

    def serve(self, *versions: int, listed: tuple[int, ...] = (), **labels: int) -> None:
        """Serve these versions of half-net."""
        self.listed["half-net"] = [*(listed or versions)]
        model = self.server.models["half-net"]
        model.versions, model.labels = [*versions], labels

    @property
    def line(self) -> str:
        return f"{self.server.address} 127.0.0.1:{self.watcher.server_port}\n"

    @property
    def predictions(self) -> int:
        return self.server.calls.count("Predict")

    def stop_watcher(self) -> None:
        self.watcher.shutdown()
        self.watcher.server_close()
        self.thread.join()

    def stop(self) -> None:
        self.server.stop()
        if self.thread.is_alive():
            self.stop_watcher()


@pytest.fixture
def replicas() -> Iterator[list[Replica]]:
    """Two of them, both with half-net 1 and mnist-net 1."""
    made = [Replica(half_net=half_plus_two(), mnist_net=Model()) for _ in range(2)]
    yield made
    for replica in made:
        replica.stop()


@pytest.fixture
def servers(replicas: list[Replica], tmp_path: Path) -> Path:
    """The file that lists them."""
    file = tmp_path / "model-servers"
    file.write_text("".join(replica.line for replica in replicas))
    return file


@pytest.fixture
def client(servers: Path, tmp_path: Path) -> Any:
    return gateway(tmp_path, server=f"file:{servers}")


def gateway(run_dir: Path, **settings: Any) -> Any:
    """A client of an application with these settings."""
    defaults = {"inventory_url": unused_address(), "timeout_seconds": 30}
    return create_app(Settings(run_dir=run_dir, **{**defaults, **settings})).test_client()


def version(client: Any, which: str = "") -> str:
    answer = client.post(f"/tf/models/half-net{which}/predict", data=ROWS)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["X-Model-Version"])


def listed(client: Any) -> dict[str, Any]:
    """half-net as GET /tf/models has it: default version, labels, states."""
    (found,) = [model for model in client.get("/tf/models").json["models"] if model["name"] == "half-net"]
    states = {state["version"]: state["state"] for state in found["versions"]}
    return {"default": found["default_version"], "labels": found["labels"], "states": states}


def shares(client: Any, replicas: list[Replica], calls: int = 20) -> list[int]:
    before = [replica.predictions for replica in replicas]
    for _ in range(calls):
        version(client)
    return [replica.predictions - count for replica, count in zip(replicas, before, strict=True)]


# ---- who is called


def test_all_replicas_are_used_and_one_that_is_added_within_two_seconds(
    client: Any, replicas: list[Replica], servers: Path
) -> None:
    assert shares(client, replicas) == [10, 10]
    replicas.append(Replica(half_net=half_plus_two()))
    with servers.open("a") as file:
        file.write(replicas[2].line)
    wait_until(lambda: shares(client, replicas, 30) == [10, 10, 10], 2)
    servers.write_text(replicas[2].line)
    wait_until(lambda: shares(client, replicas) == [0, 0, 20], 2)


def test_a_replica_that_is_added_gets_no_call_for_what_it_has_not_loaded(
    client: Any, replicas: list[Replica], servers: Path
) -> None:
    version(client)
    replicas.append(Replica(half_net=half_plus_two(), mnist_net=Model()))
    replicas[2].serve(listed=(1,))
    with servers.open("a") as file:
        file.write(replicas[2].line)

    def classified() -> bool:
        client.post("/tf/models/mnist-net/classify", data={"image": (io.BytesIO(image_file(60)), "a.png")})
        return replicas[2].predictions > 0

    wait_until(classified, 3)
    assert shares(client, replicas) == [10, 10, 0]
    assert listed(client) == {"default": 1, "labels": {}, "states": {1: "AVAILABLE"}}
    replicas[2].serve(1)
    wait_until(lambda: shares(client, replicas, 30) == [10, 10, 10], 2)


def test_one_that_ends_loses_no_request(client: Any, replicas: list[Replica]) -> None:
    version(client)
    replicas[0].stop()
    assert shares(client, replicas) == [0, 20]
    assert client.get("/tf/models").json["inventory"]["ready"]


def test_one_whose_list_cannot_be_read_is_called_for_what_it_is_known_to_have(
    client: Any, replicas: list[Replica]
) -> None:
    version(client)
    replicas[0].stop_watcher()
    assert shares(client, replicas) == [10, 10]
    replicas[1].serve(1, 2)
    wait_until(lambda: version(client) == "2", 3)
    assert shares(client, replicas) == [0, 20]
    before = replicas[0].predictions
    assert {version(client, "/versions/1") for _ in range(10)} == {"1"}
    assert replicas[0].predictions == before + 5


def test_without_any_list_the_newest_answers(replicas: list[Replica], servers: Path, tmp_path: Path) -> None:
    for replica in replicas:
        replica.stop_watcher()
    client = gateway(tmp_path, server=f"file:{servers}")
    assert shares(client, replicas) == [10, 10]
    assert not client.get("/tf/models").json["inventory"]["ready"]


# ---- a roll-out


def test_a_roll_out_changes_the_answers_once(client: Any, replicas: list[Replica]) -> None:
    one, two = replicas
    assert version(client) == "1"
    seen: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            seen.append(version(client))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        one.serve(1, listed=(1, 2))
        one.serve(1, 2)
        wait_until(lambda: listed(client)["states"] == {1: "AVAILABLE", 2: "LOADING"}, 3)
        one.serve(2)  # it lets the old one go, and the other has not loaded the new one yet
        two.serve(1, listed=(1, 2))
        wait_until(lambda: {*seen[-3:]} == {"1"} and len(seen) > 100, 5)
        assert listed(client) == {"default": 1, "labels": {}, "states": {1: "AVAILABLE", 2: "LOADING"}}
        assert version(client, "/versions/2") == "2"
        assert version(client, "/versions/1") == "1"
        two.serve(1, 2)
        wait_until(lambda: seen[-1] == "2", 3)
        two.serve(2)
        wait_until(lambda: listed(client)["states"] == {2: "AVAILABLE"}, 3)
    finally:
        over.set()
        thread.join()
    assert seen == sorted(seen)
    assert Counter(seen).keys() == {"1", "2"}


def test_a_version_that_only_one_has_is_called_there_alone(client: Any, replicas: list[Replica]) -> None:
    replicas[0].serve(1, 2)
    wait_until(lambda: listed(client)["states"] == {1: "AVAILABLE", 2: "LOADING"}, 3)
    assert {version(client, "/versions/2") for _ in range(20)} == {"2"}
    assert "2" in {entry["version"] for entry in client.get("/v1/models/half-net").json["model_version_status"]}
    check_error(client.post("/tf/models/half-net/versions/7/predict", data=ROWS), 404, "version 7 is not served")


def test_a_label_moves_once_all_have_moved_it(client: Any, replicas: list[Replica]) -> None:
    for replica in replicas:
        replica.serve(1, 2, stable=1)
    wait_until(lambda: version(client) == "1", 3)
    replicas[0].serve(1, 2, stable=2, canary=2)
    wait_until(lambda: "canary" in listed(client)["labels"], 3)
    assert listed(client)["labels"] == {"canary": 2, "stable": 1}
    assert {version(client) for _ in range(20)} == {version(client, "/labels/stable")} == {"1"}
    replicas[1].serve(1, 2, stable=2)
    wait_until(lambda: version(client, "/labels/stable") == version(client) == "2", 3)
    check_error(client.post("/tf/models/half-net/labels/none/predict", data=ROWS), 404, "canary (2), stable (2)")


def test_requests_that_come_too_late_for_a_version_get_the_next(
    servers: Path, replicas: list[Replica], tmp_path: Path
) -> None:
    """In each of many roll-outs, for longer than the grace of one."""
    client = gateway(tmp_path, server=f"file:{servers}", grace_seconds=3)
    started, number = time.monotonic(), 1
    while time.monotonic() < started + 4.5:
        number += 1
        for replica in replicas:
            replica.serve(number)  # at once, and the gateway's list is a second old
        assert version(client) == str(number)


# ---- by name


def test_replicas_behind_a_name_are_found_with_their_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Replica(half_net=half_plus_two())
    port, watcher_port = one.server.port, one.watcher.server_port
    two = Replica("127.0.0.2", watcher_port, half_net=half_plus_two())
    hosts = ["127.0.0.1"]

    def look_up(host: str, *_: Any, **__: Any) -> Any:
        named = hosts if host == "serving.test" else [host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, _[0])) for each in named]

    try:
        two.server.stop()
        two.server.host, two.server.port = "127.0.0.2", port
        two.server.start()
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        url = f"http://serving.test:{watcher_port}/"
        client = gateway(tmp_path, server=f"serving.test:{port}", inventory_url=url)
        assert shares(client, [one, two]) == [20, 0]
        hosts.append("127.0.0.2")
        wait_until(lambda: shares(client, [one, two]) == [10, 10], 2)
        one.serve(1, 2)
        wait_until(lambda: listed(client)["states"] == {1: "AVAILABLE", 2: "LOADING"}, 3)
        assert {version(client) for _ in range(10)} == {"1"}
        hosts.remove("127.0.0.1")
        wait_until(lambda: shares(client, [one, two]) == [0, 20], 2)
    finally:
        one.stop()
        two.stop()
