"""The gateway in front of the lab's model server with the shipped model: a real SavedModel, the real wire.

TensorFlow Serving's REST API is answered by both; the same requests get the same documents.
"""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from api_kit import files
from gateway_kit import HTTP, PROJECT, free_port, unused_address, wait_until
from PIL import Image

from tensor_rest.app import create_app
from tensor_rest.settings import Settings

SERVING = PROJECT.parent / "tensor-serving-gpu"
DIGITS = sorted((PROJECT / "data" / "mnist").glob("mnist_*.jpg"))

pytestmark = pytest.mark.skipif(
    not (SERVING / "serving" / "mnist-net").is_dir(), reason="the model server is in another folder, which is not here"
)


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """gRPC and REST port of a model server that serves mnist-net."""
    grpc_port, rest_port = free_port(), free_port()
    command = [
        *(sys.executable, "-m", "tensor_serving", "serve", "--model_name=mnist-net"),
        f"--model_base_path={SERVING / 'serving' / 'mnist-net'}",
        *(f"--port={grpc_port}", f"--rest_api_port={rest_port}"),
    ]
    log = tmp_path_factory.mktemp("serving") / "log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            command, cwd=SERVING, env={**os.environ, "PYTHONPATH": str(SERVING)}, stdout=file, stderr=file
        )
    try:
        wait_until(lambda: server.poll() is not None or _ready(rest_port))
        assert server.poll() is None, log.read_text()
        yield grpc_port, rest_port
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


@pytest.fixture
def gateway(ports: tuple[int, int], tmp_path: Path) -> Any:
    settings = Settings(run_dir=tmp_path, server=f"127.0.0.1:{ports[0]}", inventory_url=unused_address())
    return create_app(settings).test_client()


def _ready(port: int) -> bool:
    try:
        return "AVAILABLE" in HTTP.get(f"http://127.0.0.1:{port}/v1/models/mnist-net").text
    except httpx.HTTPError:
        return False


def _batch(paths: list[Path]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path).convert("L")) for path in paths])[..., np.newaxis]


def test_every_shipped_digit_in_one_request(gateway: Any) -> None:
    images = files(*((path.name, path.read_bytes()) for path in DIGITS))
    results = gateway.post("/tf/models/mnist-net/classify?limit=1", data=images).json["results"]
    right = [result["labels"][0]["label"] == result["name"].split("_")[1] for result in results]
    assert len(right) == len(DIGITS) == 100
    assert sum(right) >= 90


def test_arrays_and_json_get_the_same_scores(gateway: Any) -> None:
    batch = _batch(DIGITS[:5])
    file = io.BytesIO()
    np.save(file, batch)
    kind = "application/x-npy"
    answer = gateway.post(
        "/tf/models/mnist-net/predict", data=file.getvalue(), content_type=kind, headers={"Accept": kind}
    )
    by_json = gateway.post("/tf/models/mnist-net/predict", json={"instances": batch.tolist()}).json["predictions"]
    assert np.allclose(np.load(io.BytesIO(answer.data)), by_json, atol=1e-5)
    assert np.allclose(np.sum(by_json, axis=1), 1, atol=1e-3)


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("", None),
        ("/versions/1", None),
        ("/metadata", None),
        ("/versions/1/metadata", None),
        (":predict", {"instances": "batch"}),
        (":predict", {"inputs": {"images": "batch"}}),
        ("/versions/1:predict", {"signature_name": "describe", "instances": [0, 1]}),
        (":classify", {"examples": [{"x": 1.0}]}),
    ],
)
def test_both_answer_alike_to_tensorflow_serving_s_clients(
    gateway: Any, ports: tuple[int, int], path: str, document: Any
) -> None:
    body = json.dumps(document).replace('"batch"', json.dumps(_batch(DIGITS[:2]).tolist())) if document else None
    method = "POST" if document else "GET"
    ours = gateway.open(f"/v1/models/mnist-net{path}", method=method, data=body)
    theirs = HTTP.request(method, f"http://127.0.0.1:{ports[1]}/v1/models/mnist-net{path}", content=body)
    assert ours.status_code == theirs.status_code
    if path == ":predict":  # the last digits depend on who else was in the batch
        assert _scores(ours.json) == pytest.approx(_scores(theirs.json()), abs=1e-5)
    else:
        assert ours.json == theirs.json()


def _scores(document: dict[str, Any]) -> list[float]:
    (rows,) = document.values()
    return [score for row in rows for score in row]
