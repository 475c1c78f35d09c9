"""Models whose rows depend on each other: every answer is the one that TensorFlow's own loader gives to that request.

Alone, large, and from 8 clients at once, over gRPC and REST. 800 requests; with LAB_LONG_TESTS=1 there are 20,000.
"""

import http.client
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import case_server
import dependent_models
import numpy as np
import pytest
import tensorflow as tf
from serving_kit import Client

from tensor_serving.server_process import EMBEDDED_FLAGS

CLIENTS = 8
REQUESTS = 20_000 if os.environ.get("LAB_LONG_TESTS") else 800
SIZES = (1, 1, 2, 3, 5, 8, 23, 24, 25, 48, 100)
SIGNATURES = [name for name in dependent_models.Dependent.names() if name != "counter"]

Inputs = dict[str, Any]
Outputs = dict[str, np.ndarray]


class BothApis:
    """Two ways to one server, for one client."""

    def __init__(self, server: case_server.CaseServer) -> None:
        assert server.grpc
        assert server.rest
        self._grpc = Client(int(server.grpc.rpartition(":")[2]))
        self._rest = http.client.HTTPConnection(server.rest, timeout=60)

    def __enter__(self) -> "BothApis":
        return self

    def __exit__(self, *_error: object) -> None:
        self._grpc.channel.close()
        self._rest.close()

    def grpc(self, signature: str, inputs: Inputs) -> Outputs:
        response = self._grpc.send(self._grpc.request("dependent", signature, **inputs))
        return {alias: tf.make_ndarray(proto) for alias, proto in response.outputs.items()}

    def rest(self, signature: str, inputs: Inputs) -> Outputs:
        columns = {
            alias: value.tolist() if isinstance(value, np.ndarray) else [text.decode() for text in value]
            for alias, value in inputs.items()
        }
        self._rest.request(
            "POST",
            "/v1/models/dependent:predict",
            json.dumps({"signature_name": signature, "inputs": columns}),
        )
        response = self._rest.getresponse()
        document = json.loads(response.read())
        assert response.status == 200, document
        outputs = document["outputs"]
        if not isinstance(outputs, dict):  # the only output comes without its name
            outputs = {"": outputs}
        return {alias: np.array(value) for alias, value in outputs.items()}


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dependent") / "dependent" / "1"
    return dependent_models.export(folder)


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[case_server.CaseServer]:
    """The embedded server with the flags the lab gives it."""
    where = tmp_path_factory.mktemp("server")
    entry = f'config {{ name: "dependent" base_path: "{folder.parent}" model_platform: "tensorflow" }}'
    (where / "models.config").write_text(f"model_config_list {{ {entry} }}")
    with case_server.started(where, where / "models.config", *EMBEDDED_FLAGS) as server:
        yield server


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Any:
    """The same folder in TensorFlow's own loader."""
    return tf.saved_model.load(str(folder))


@pytest.fixture
def both(server: case_server.CaseServer) -> Iterator[BothApis]:
    with BothApis(server) as both:
        yield both


def inputs_of(signature: str, rows: int, rng: np.random.Generator) -> Inputs:
    """Return inputs of so many rows; numbers are multiples of 1/8, so that sums of them are exact."""

    def numbers(*shape: int) -> np.ndarray:
        return np.asarray(rng.integers(-64, 64, shape) / 8, np.float32)

    if signature in ("padded", "ragged"):
        return {"text": [b" ".join([b"w"] * rng.integers(0, 9)) for _ in range(rows)]}
    if signature == "pairs":
        return {"a": numbers(rows, 2), "b": numbers(int(rng.integers(1, 30)), 2)}
    if signature in ("softmax", "norm_in_training"):
        return {"x": numbers(rows, 2)}
    if signature == "any_rank":
        return {"x": numbers(*(rows, 2, 3)[: rng.integers(0, 4)])}
    return {"x": numbers(rows)}


def wanted(loaded: Any, signature: str, inputs: Inputs) -> Outputs:
    """Return what TensorFlow's own loader answers."""
    tensors = {alias: tf.constant(value) for alias, value in inputs.items()}
    return {alias: value.numpy() for alias, value in loaded.signatures[signature](**tensors).items()}


def differs(answer: Outputs, right: Outputs) -> bool:
    """Return whether an answer is another than the right one; JSON has one kind of number and no shape of nothing."""
    if list(answer) == [""]:
        answer = {next(iter(right)): answer[""]}
    if answer.keys() != right.keys():
        return True
    for alias, value in right.items():
        found = answer[alias]
        same = found.size == value.size and (not value.size or found.shape == value.shape)
        if same and value.dtype == object:
            same = [_text(one) for one in found.ravel()] == [_text(one) for one in value.ravel()]
        elif same:
            same = np.allclose(found, value.reshape(found.shape), 1e-5, 1e-5)
        if not same:
            return True
    return False


@pytest.mark.parametrize("api", ["grpc", "rest"])
@pytest.mark.parametrize("signature", SIGNATURES)
def test_one_request_of_any_size_is_answered_as_the_graph_does(
    both: BothApis, loaded: Any, signature: str, api: str
) -> None:
    rng = np.random.default_rng(len(signature))
    for rows in (1, 2, 23, 24, 25, 5000):
        inputs = inputs_of(signature, rows, rng)
        answer = getattr(both, api)(signature, inputs)
        assert not differs(answer, wanted(loaded, signature, inputs)), (rows, inputs, answer)


def test_requests_of_many_clients_never_meet(server: case_server.CaseServer, loaded: Any) -> None:
    def client(number: int) -> list[str]:
        rng, wrong = np.random.default_rng(number), []
        with BothApis(server) as both:
            for step in range(REQUESTS // CLIENTS):
                signature = SIGNATURES[rng.integers(len(SIGNATURES))]
                inputs = inputs_of(signature, SIZES[rng.integers(len(SIZES))], rng)
                answer = (both.rest if step % 2 else both.grpc)(signature, inputs)
                if differs(answer, wanted(loaded, signature, inputs)):
                    wrong.append(f"{signature} {inputs}: {answer}")
        return wrong

    with ThreadPoolExecutor(CLIENTS) as pool:
        wrong = [line for lines in pool.map(client, range(CLIENTS)) for line in lines]
    assert not wrong, f"{len(wrong)} of {REQUESTS}, e.g. {wrong[:3]}"


def test_a_counter_counts_every_request_once(server: case_server.CaseServer) -> None:
    """Two runs at once may both read what the second has counted: what they add up to is certain."""
    requests = REQUESTS // 8 // CLIENTS

    def count(both: BothApis, rows: int, step: int) -> int:
        (values,) = (both.rest if step % 2 else both.grpc)("counter", {"x": np.zeros(rows, np.float32)}).values()
        assert len(values) == rows
        assert len({*values.tolist()}) == 1
        return int(values[0])

    def client(number: int) -> None:
        with BothApis(server) as both:
            counts = [count(both, SIZES[(number + step) % len(SIZES)], step) for step in range(requests)]
        assert counts == sorted(set(counts))

    with BothApis(server) as both, ThreadPoolExecutor(CLIENTS) as pool:
        before = count(both, 1, 0)
        list(pool.map(client, range(CLIENTS)))
        assert count(both, 1, 0) == before + requests * CLIENTS + 1
