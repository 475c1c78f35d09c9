"""What nginx passes on to a workbench that must not reach the model server: calls that change nothing, the list."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from gateway_kit import HTTP, free_port, needs_nginx, start_front
from pydantic import ValidationError
from toy_model_server import Model, ModelServer

from tensor_rest.settings import Settings

pytestmark = needs_nginx
SERVICE = "/tensorflow.serving."
LIST = {"models": [], "ignored": []}


class _Inventory(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(LIST).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ports of a gateway before a model server and a watcher."""
    toy = ModelServer(mnist_net=Model()).start()
    watcher = ThreadingHTTPServer(("127.0.0.1", 0), _Inventory)
    threading.Thread(target=watcher.serve_forever, daemon=True).start()
    made = {"grpc": free_port(), "inventory": free_port()}
    front = start_front(
        "nginx",
        tmp_path_factory.mktemp("front") / "run",
        toy.address,
        TENSOR_REST_GRPC_PORT=str(made["grpc"]),
        TENSOR_REST_INVENTORY_PORT=str(made["inventory"]),
        TF_SERVER_INVENTORY_URL=f"http://127.0.0.1:{watcher.server_port}/",
    )
    yield made
    front.stop()
    toy.stop()
    watcher.shutdown()
    watcher.server_close()


@pytest.fixture
def channel(ports: dict[str, int]) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{ports['grpc']}") as opened:
        yield opened


def call(channel: grpc.Channel, method: str, request: bytes = b"") -> bytes:
    answer = channel.unary_unary(f"{SERVICE}{method}")(request, timeout=20)
    assert isinstance(answer, bytes)
    return answer


def test_what_changes_nothing_is_passed_on(channel: grpc.Channel) -> None:
    metadata = b"\x0a\x0b\x0a\x09mnist-net\x12\x0dsignature_def"  # GetModelMetadataRequest
    assert b"serving_default" in call(channel, "PredictionService/GetModelMetadata", metadata)


def test_a_call_that_would_load_other_models_is_refused(channel: grpc.Channel) -> None:
    for method in ("ModelService/HandleReloadConfigRequest", "SessionService/SessionRun", "ModelService/"):
        with pytest.raises(grpc.RpcError) as refusal:
            call(channel, method)
        assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "nothing else" in refusal.value.details()


def test_the_list_can_be_read_and_not_posted_to(ports: dict[str, int]) -> None:
    address = f"http://127.0.0.1:{ports['inventory']}/"
    assert HTTP.get(address).json() == LIST
    assert HTTP.post(address).status_code == 403


def test_a_stopped_model_server_is_unavailable(tmp_path: Path) -> None:
    port = free_port()
    front = start_front("nginx", tmp_path / "run", f"127.0.0.1:{free_port()}", TENSOR_REST_GRPC_PORT=str(port))
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as refusal:
            call(channel, "PredictionService/Predict")
        assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        front.stop()


def test_only_one_server_can_be_passed_on_to() -> None:
    with pytest.raises(ValidationError, match="it needs host:port in TF_SERVER_HOST_PORT"):
        Settings(server="ipv4:10.0.0.1:9000,10.0.0.2:9000", grpc_port=9000)
