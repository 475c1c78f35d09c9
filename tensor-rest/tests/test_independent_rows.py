"""Rows that depend on each other never share a call: every answer is what the model gives for that request alone."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_kit import client_of, files
from gateway_kit import image_file, wait_until
from toy_model_server import CARD, LABELS, Model, ModelServer, signature

from tensor_rest.backend.batching import SignatureRef
from tensor_rest.backend.protos import serving_pb2 as pb
from tensor_rest.errors import NotFoundError
from tensor_rest.inference.metadata import Target

CLIENTS, REQUESTS = 8, 12

Row = np.ndarray[Any, Any]

DEPENDENT: dict[str, Callable[[Row], Row]] = {
    "sum": np.cumsum,
    "sort": np.sort,
    "share": lambda x: x / x.sum(),
    "centre": lambda x: x - x.mean(),
    "difference": lambda x: np.diff(x, prepend=x[:1]),
    "count": lambda x: np.full_like(x, len(x)),
}


def model_of(function: Callable[[Row], Row], **options: Any) -> Model:
    tensors = signature({"x": (pb.DT_FLOAT, [-1])}, {"y": (pb.DT_FLOAT, [-1])})
    signatures = {"serving_default": tensors}
    compute = lambda given: {"y": function(given["x"]).astype(np.float32)}  # noqa: E731
    return Model(**{"card": None, "signatures": signatures, "compute": compute, **options})


def shifted(given: dict[str, Row]) -> dict[str, Row]:
    """The digit of each image, plus how many other images came in the same call."""
    images = given["images"]
    digits = (images.reshape(len(images), -1).mean(axis=1) // 25).astype(int) + len(images) - 1
    return {"scores": np.eye(10, dtype=np.float32)[digits % 10]}


@pytest.fixture
def toy() -> Any:
    models = {name: model_of(function) for name, function in DEPENDENT.items()}
    server = ModelServer(**models, images=Model(card={"labels": LABELS}, compute=shifted)).start()
    yield server
    server.stop()


def at_once(client: Any, work: Callable[[Any, int], list[Any]]) -> list[Any]:
    """What was wrong in the work of 8 clients, started together."""
    together = threading.Barrier(CLIENTS)

    def run(number: int) -> list[Any]:
        own = client.application.test_client()
        together.wait(60)
        return work(own, number)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return [wrong for found in pool.map(run, range(CLIENTS)) for wrong in found]


@pytest.mark.parametrize("name", DEPENDENT)
@pytest.mark.parametrize("path", ["/v1/models/{}:predict", "/tf/models/{}/predict"])
def test_dependent_rows_of_8_clients_are_answered_as_alone(
    toy: ModelServer, tmp_path: Path, name: str, path: str
) -> None:
    client = client_of(toy, tmp_path, timeout_seconds=60)

    def work(own: Any, number: int) -> list[Any]:
        wrong = []
        for turn in range(REQUESTS):
            x = (np.arange(1 + (number * 5 + turn * 7) % 30) * (number + 1) % 11 + 1).astype(np.float32)
            answer = own.post(path.format(name), json={"instances": x.tolist()})
            found = answer.json.get("predictions", answer.json)
            if found != DEPENDENT[name](x).astype(np.float32).tolist() and not np.allclose(found, DEPENDENT[name](x)):
                wrong.append((x.tolist(), found))
        return wrong

    assert at_once(client, work) == []


def test_images_whose_scores_depend_on_others_are_classified_as_alone(toy: ModelServer, tmp_path: Path) -> None:
    client = client_of(toy, tmp_path, timeout_seconds=60)

    def work(own: Any, number: int) -> list[Any]:
        wrong = []
        for turn in range(REQUESTS):
            digit = (number + turn) % 10
            answer = own.post("/tf/models/images/classify", data=files(("a.png", image_file(25 * digit + 12))))
            label = answer.json["results"][0]["labels"][0]["label"]
            if label != str(digit):
                wrong.append((digit, label))
        return wrong

    assert at_once(client, work) == []
    many = client.post("/tf/models/images/classify?limit=1", data=files(*(("a.png", image_file(12)),) * 40))
    assert {result["labels"][0]["label"] for result in many.json["results"]} == {"9"}  # 0 + 39 others: one call


@pytest.mark.parametrize(
    ("declared", "setting", "shared"),
    [(True, None, True), (False, None, False), (None, None, False), (None, True, True), (True, False, False)],
    ids=["card", "card says no", "nothing", "setting", "setting overrules card"],
)
def test_rows_share_calls_only_by_card_or_setting(
    server: ModelServer, watcher: Any, tmp_path: Path, declared: bool | None, setting: bool | None, shared: bool
) -> None:
    card = None if declared is None else {**CARD, "independent_rows": declared}
    server.models["mnist-net"] = Model(card=card)
    watcher.document = {"models": [{"name": "mnist-net", "versions": [1], "independent_rows": setting}]}
    url = f"http://127.0.0.1:{watcher.server_port}/"
    client = client_of(server, tmp_path, timeout_seconds=60, inventory_url=url)
    sizes: list[int] = []
    server.on_images = lambda images: sizes.append(len(images))

    def classify() -> int:
        own = client.application.test_client()
        return int(own.post("/tf/models/mnist-net/classify", data=files(("a.png", image_file(60)))).status_code)

    assert classify() == 200
    sizes.clear()
    server.calls.clear()
    hold = server.hold = threading.Event()
    batcher = client.application.extensions["gateway"].server._batcher
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(classify) for _ in range(6)]
        wait_until(lambda: len(server.calls) + sum(len(queue.pending) for queue in batcher._queues.values()) == 6)
        hold.set()
        assert {answer.result(60) for answer in answers} == {200}
    assert sum(sizes) == 6
    assert (max(sizes) > 1) is shared


def test_a_version_that_is_replaced_loses_its_declaration(server: ModelServer, tmp_path: Path) -> None:
    # The same number and the same signatures, but a card that declares nothing.
    server.models["mnist-net"] = Model(card={**CARD, "independent_rows": True})
    client = client_of(server, tmp_path, timeout_seconds=60)
    gateway = client.application.extensions["gateway"]
    target, images = Target("mnist-net"), {"images": np.zeros((4, 28, 28, 1), np.uint8)}
    signature = SignatureRef("mnist-net", 1, None, "serving_default", ())
    gateway.metadata(target)
    assert gateway.server._rows.count(signature, images) == 4
    removed = server.models.pop("mnist-net")
    with pytest.raises(NotFoundError):
        gateway.metadata(target)
    server.models["mnist-net"] = replace(removed, card={**CARD, "independent_rows": False})
    gateway.metadata(target)
    assert gateway.server._rows.count(signature, images) == 0


def test_an_answer_of_a_version_with_dependent_rows_is_not_shared(toy: ModelServer, tmp_path: Path) -> None:
    # Version 1 has independent rows; while calls wait for it, version 2 takes over, whose rows are not.
    model = toy.models["sum"] = model_of(lambda x: x * 2, card={**CARD, "independent_rows": True})
    signatures = dict(model.signatures or {})
    describe = signature({"index": (pb.DT_INT32, [-1])}, {"card": (pb.DT_STRING, [-1])})
    model.signatures = {**signatures, "describe": describe}
    client = client_of(toy, tmp_path, timeout_seconds=60)

    def predict(value: float) -> Any:
        own = client.application.test_client()
        return own.post("/tf/models/sum/predict", json={"instances": [value, value]}).json

    assert predict(1)["predictions"] == [2.0, 2.0]
    toy.calls.clear()
    hold = toy.hold = threading.Event()
    batcher = client.application.extensions["gateway"].server._batcher
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(predict, value) for value in range(6)]
        wait_until(lambda: len(toy.calls) + sum(len(queue.pending) for queue in batcher._queues.values()) == 6)
        toy.models["sum"] = model_of(np.cumsum, versions=[2])
        hold.set()
        for value, answer in enumerate(answers):
            found = answer.result(60)
            wanted = {1: [2.0 * value] * 2, 2: [1.0 * value, 2.0 * value]}
            assert found["predictions"] == wanted[found["version"]]
