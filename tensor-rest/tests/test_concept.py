"""Where `<model>-concept` is served, classify answers how foreign an image is, and never waits long for that."""

import threading
from typing import Any

import numpy as np
import pytest
from api_kit import client_of, files
from gateway_kit import image_file, wait_until
from toy_model_server import CARD, Model, ModelServer, signature

from tensor_rest.backend.protos import serving_pb2 as pb

CLASSIFY = "/tf/models/mnist-net/classify"
TWO, FOUR = image_file(60), image_file(120)  # both dark enough to be taken as light on dark


def mean_level(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """score = the mean level, from 0 to 1."""
    return {"score": given["images"].reshape(len(given["images"]), -1).mean(axis=1).astype(np.float32) / 255}


def companion(**changes: Any) -> Model:
    """A concept model that finds images lighter than 100 foreign."""
    signatures = {
        "serving_default": signature({"images": (pb.DT_UINT8, [-1, 28, 28, 1])}, {"score": (pb.DT_FLOAT, [-1])}),
        "describe": signature({"index": (pb.DT_INT32, [-1])}, {"card": (pb.DT_STRING, [-1])}),
    }
    card = {**CARD, "name": "mnist-net-concept", "threshold": 100 / 255}
    return Model(**{"card": card, "signatures": signatures, "compute": mean_level, **changes})


@pytest.fixture
def scored(server: ModelServer, watcher: Any, tmp_path: Any) -> Any:
    """A client of a gateway whose inventory lists the companion."""
    server.models["mnist-net-concept"] = companion()
    watcher.document["models"][0]["serving"] = [1]
    server.models["mnist-net"].labels = {"stable": 1}
    watcher.document["models"].append({"name": "mnist-net-concept", "versions": [1], "serving": [1]})
    url = f"http://127.0.0.1:{watcher.server_port}/"
    return client_of(server, tmp_path, inventory_url=url, concept_wait_ms=10_000, grace_seconds=0)


def concepts(answer: Any) -> list[Any]:
    assert answer.status_code == 200, answer.text
    return [result.get("concept") for result in answer.json["results"]]


def test_each_image_gets_its_score_threshold_and_decision(scored: Any) -> None:
    answer = scored.post(CLASSIFY, data=files(("a.png", TWO), ("b.png", b"no image"), ("c.png", FOUR)))
    low, none, high = concepts(answer)
    assert low == {"score": round(60 / 255, 6), "threshold": 100 / 255, "in_distribution": True}
    assert none is None
    assert high == {"score": round(120 / 255, 6), "threshold": 100 / 255, "in_distribution": False}
    assert [result["labels"][0]["label"] for result in answer.json["results"] if "labels" in result] == ["2", "4"]


def test_many_images_in_several_calls_are_scored_in_their_order(scored: Any) -> None:
    levels = [10, 120] * 50
    answer = scored.post(CLASSIFY, data=files(*((f"{n}.png", image_file(level)) for n, level in enumerate(levels))))
    assert [found["in_distribution"] for found in concepts(answer)] == [True, False] * 50


def test_a_requested_version_or_label_is_scored_as_well(scored: Any) -> None:
    (found,) = concepts(scored.post("/tf/models/mnist-net/versions/1/classify", data=files(("a.png", TWO))))
    assert found["in_distribution"]


def test_the_tutorial_s_routes_keep_their_form(scored: Any, server: ModelServer) -> None:
    scored.post(CLASSIFY, data=files(("a.png", TWO)))
    server.calls.clear()
    assert set(scored.post("/tf/mnist/mnist-net", data=files(("a.png", TWO))).json) == {"classification_result"}
    assert server.calls == ["Predict"]


def test_a_model_without_companion_is_called_alone(scored: Any, server: ModelServer) -> None:
    scored.post("/tf/models/bare-net/classify", data=files(("a.png", TWO)))
    server.calls.clear()
    assert concepts(scored.post("/tf/models/bare-net/classify", data=files(("a.png", TWO)))) == [None]
    assert server.calls == ["Predict"]


@pytest.mark.parametrize(
    "model",
    [
        companion(card=None, signatures={"serving_default": companion().signatures["serving_default"]}),
        companion(card={**CARD, "threshold": "high"}),
        companion(compute=lambda given: {"score": np.full(len(given["images"]), np.nan, np.float32)}),
        companion(card={**CARD, "threshold": 10**400}),
        companion(compute=lambda _: {"score": np.zeros(7, np.float32)}),
        companion(compute=lambda given: {"score": np.array([b"high"] * len(given["images"]), object)}),
        companion(versions=[2]),
        companion(
            signatures={
                **(companion().signatures or {}),
                "serving_default": signature({"images": (pb.DT_UINT8, [-1, 8, 8, 1])}, {"score": (pb.DT_FLOAT, [-1])}),
            }
        ),
    ],
    ids=["no card", "threshold", "nan", "huge threshold", "rows", "texts", "gone", "size"],
)
def test_a_companion_that_is_wrong_takes_nothing_from_the_answer(
    scored: Any, server: ModelServer, model: Model
) -> None:
    server.models["mnist-net-concept"] = model
    answer = scored.post(CLASSIFY, data=files(("a.png", TWO)))
    assert answer.json["results"][0]["labels"][0]["label"] == "2"
    if model.versions == [1]:
        assert concepts(answer) == [None]


def test_an_answer_does_not_wait_for_a_companion_that_hangs(server: ModelServer, watcher: Any, tmp_path: Any) -> None:
    released, entered = threading.Event(), threading.Event()

    def hangs(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        entered.set()
        released.wait(30)
        return mean_level(given)

    server.models["mnist-net-concept"] = companion(compute=hangs)
    watcher.document["models"].append({"name": "mnist-net-concept", "versions": [1], "serving": [1]})
    server.models["mnist-net"].labels = {"stable": 1}
    client = client_of(server, tmp_path, inventory_url=f"http://127.0.0.1:{watcher.server_port}/", concept_wait_ms=1)
    try:
        assert concepts(client.post(CLASSIFY, data=files(("a.png", TWO)))) == [None]
        wait_until(entered.is_set)
    finally:
        released.set()


def test_scores_are_counted_by_model(scored: Any) -> None:
    scored.post(CLASSIFY, data=files(("a.png", FOUR)))
    text = scored.get("/metrics").text
    assert 'tensor_rest_concept_score_count{model="mnist-net"}' in text
