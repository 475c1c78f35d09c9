"""What the application makes of models: their profiles, the lists of them, the pages and the specification."""

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
from gateway_kit import check_error, image_file, wait_until
from toy_model_server import CARD, Model, ModelServer, signature

from tensor_rest.app import create_app
from tensor_rest.backend.protos import serving_pb2 as pb
from tensor_rest.inference import inventory
from tensor_rest.settings import Settings

Post = Callable[..., Any]


# ---- models and their versions


def test_the_metadata_is_read_once_per_version(post: Post, server: ModelServer) -> None:
    for _ in range(3):
        post("/predictlabel", image_file(60))
    assert server.calls == ["GetModelMetadata", "Predict", "Predict", "Predict", "Predict"]


def test_a_new_version_answers_with_its_own_card(post: Post, server: ModelServer) -> None:
    assert post("/predictlabel", image_file(60)).json["most_probable_label"] == "2"
    server.models["mnist-net"] = Model(versions=[1, 2], card={**CARD, "labels": list("ABCDEFGHIJ")}, shift=1)
    response = post("/predictlabel", image_file(60))
    assert response.json["most_probable_label"] == "D"
    assert response.headers["X-Model-Version"] == "2"
    check_error(post("/tf/mnist/mnist-net", image_file(60)), 409, "'D'", "digits")


def test_a_new_version_may_have_another_signature(post: Post, server: ModelServer) -> None:
    assert post("/predictlabel", image_file(60)).status_code == 200
    small = {"images": (pb.DT_UINT8, [-1, 14, 14, 1])}, {"scores": (pb.DT_FLOAT, [-1, 10])}
    server.models["mnist-net"] = Model(versions=[2], card=None, signatures={"serving_default": signature(*small)})
    response = post("/predictlabel", image_file(60))
    assert (response.status_code, response.headers["X-Model-Version"]) == (200, "2")
    server.models["mnist-net"] = Model(versions=[1])  # rolled back
    assert post("/predictlabel", image_file(60)).headers["X-Model-Version"] == "1"


def test_a_float_model_gets_zero_to_one(post: Post, server: ModelServer) -> None:
    floats = {"images": (pb.DT_FLOAT, [-1, 28, 28])}, {"probabilities": (pb.DT_FLOAT, [-1, 10])}
    model = Model(card=None, signatures={"serving_default": signature(*floats)})
    server.models["float-net"] = model
    seen = []
    server.on_images = seen.append
    response = post("/tf/mnist/float-net", image_file(51))
    check_error(response, 502, "wanted one row of finite scores")  # the kit's float-net answers `scores`
    assert seen[0].dtype == np.float32
    assert seen[0].shape == (1, 28, 28)  # the signature has no channels
    assert np.allclose(seen[0], 0.2)


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [
        ({"text": (pb.DT_STRING, [-1])}, {"scores": (pb.DT_FLOAT, [-1, 10])}, "found text string [-1]"),
        ({}, {}, "found none"),
        ({"images": (pb.DT_UINT8, [-1, -1, -1, 1])}, {"scores": (pb.DT_FLOAT, [-1, 10])}, "unknown size"),
        (
            {"images": (pb.DT_UINT8, [-1, 28, 28, 1])},
            {"boxes": (pb.DT_FLOAT, [-1, 5, 4])},
            "found boxes float [-1, 5, 4]",
        ),
    ],
)
def test_a_model_that_does_not_classify_reports_what_it_does(
    post: Post, server: ModelServer, inputs: Any, outputs: Any, text: str
) -> None:
    server.models["odd-net"] = Model(card=None, signatures={"serving_default": signature(inputs, outputs)})
    check_error(post("/tf/mnist/odd-net", image_file(60)), 409, "'odd-net'", text)


@pytest.mark.parametrize(
    "card", ["not json", "[]", '{"labels": "ab"}', '{"labels": ["a"], "input": {"polarity": "sideways"}}']
)
def test_a_card_that_is_not_valid_is_no_card(post: Post, client: Any, server: ModelServer, card: str) -> None:
    server.models["mnist-net"] = Model(card=card)
    assert post("/predictlabel", image_file(60)).json["most_probable_label"] == "2"  # the index of the score
    found = client.get("/tf/models/mnist-net").json["default"]
    assert found["card"] is None
    assert "not valid" in found["card_problem"]


def test_a_describe_signature_of_another_kind_is_no_card(post: Post, client: Any, server: ModelServer) -> None:
    scores = {"scores": (pb.DT_FLOAT, [-1, 10])}
    signatures = {
        "serving_default": signature({"images": (pb.DT_UINT8, [-1, 28, 28, 1])}, scores),
        "describe": signature({"photo": (pb.DT_FLOAT, [-1, 4])}, {"caption": (pb.DT_STRING, [-1])}),
    }
    server.models["mnist-net"] = Model(signatures=signatures)
    assert post("/predictlabel", image_file(60)).json["most_probable_label"] == "2"
    assert server.calls.count("Predict") == 1  # no card was requested
    found = client.get("/tf/models/mnist-net").json["default"]
    assert (found["card"], found["card_problem"]) == (None, "")


@pytest.mark.parametrize(
    ("code", "status"), [(grpc.StatusCode.INVALID_ARGUMENT, 200), (grpc.StatusCode.UNAVAILABLE, 503)]
)
def test_a_failed_card_is_none_and_a_late_one_is_read_again(
    post: Post, server: ModelServer, code: grpc.StatusCode, status: int
) -> None:
    server.fail_signature = ("describe", code)
    assert post("/tf/models/mnist-net/classify", image_file(60)).status_code == status
    server.fail_signature = None
    answer = post("/tf/models/mnist-net/classify", image_file(60))
    assert answer.json["results"][0]["labels"][0] == {"label": "2", "score": 0.91}


def test_a_card_without_labels_answers_the_indices_of_the_scores(post: Post, server: ModelServer) -> None:
    server.models["mnist-net"] = Model(card={"schema": 1, "input": CARD["input"]})
    assert post("/predictlabel", image_file(60)).json["most_probable_label"] == "2"


def test_labels_that_do_not_fit_the_scores_are_named(post: Post, server: ModelServer) -> None:
    server.models["mnist-net"] = Model(classes=7)
    check_error(post("/predictlabel", image_file(60)), 502, "7 scores for 10 labels")


def test_models_are_listed_with_states_labels_and_quarantine(listed: Any) -> None:
    document = listed.get("/tf/models").json
    assert [model["name"] for model in document["models"]] == ["bare-net", "ill-net", "mnist-net"]
    _, ill, mnist = document["models"]
    assert mnist == {
        "name": "mnist-net",
        "ready": True,
        "versions": [{"version": 1, "state": "AVAILABLE", "error": ""}],
        "default_version": 1,
        "labels": {"stable": 1},
        "independent_rows": None,
        "quarantined": [],
    }
    assert document["ignored"] == []
    assert ill["ready"] is False
    assert ill["quarantined"] == [{"version": 3, "reason": "saved_model.pb is missing"}]
    assert document["serving"] == document["inventory"] == {"ready": True, "message": ""}


def test_models_are_listed_without_model_server(listed: Any, server: ModelServer) -> None:
    server.stop()
    document = listed.get("/tf/models").json
    assert [model["ready"] for model in document["models"]] == [False] * 3
    assert document["serving"]["ready"] is False
    assert "does not answer" in document["serving"]["message"]


def test_without_a_list_the_requested_models_are_listed(post: Post, client: Any) -> None:
    post("/tf/mnist/bare-net", image_file(60))
    document = client.get("/tf/models").json
    assert [model["name"] for model in document["models"]] == ["bare-net", "mnist-net"]
    assert document["inventory"]["ready"] is False


@pytest.mark.parametrize("broken", [{"models": [{"versions": "x"}]}, [], None])
def test_a_list_that_makes_no_sense_is_reported(listed: Any, watcher: Any, broken: Any) -> None:
    watcher.document = broken
    assert "not an inventory" in listed.get("/tf/models").json["inventory"]["message"]


def test_a_watcher_that_hangs_holds_up_one_caller_at_most(
    listed: Any, watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert listed.get("/tf/models").json["inventory"]["ready"]
    now = [time.monotonic() + 2]  # old enough to be read again, young enough to be used meanwhile
    monkeypatch.setattr(inventory, "time", SimpleNamespace(monotonic=lambda: now[0]))
    watcher.hold = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        try:
            held = pool.submit(listed.application.test_client().get, "/tf/models/nope-net")
            wait_until(lambda: watcher.received == 2)
            for _ in range(5):
                check_error(listed.get("/tf/models/nope-net"), 404, "Served now: bare-net, mnist-net")
            assert watcher.received == 2
        finally:
            watcher.hold.set()
        check_error(held.result(), 404, "Served now: bare-net, mnist-net")
    now[0] += 0.5
    check_error(listed.get("/tf/models/nope-net"), 404)
    assert watcher.received == 2


def test_a_list_that_cannot_be_read_is_not_read_again_at_once(listed: Any, watcher: Any) -> None:
    watcher.document = None
    for _ in range(3):
        assert "not an inventory" in listed.get("/tf/models").json["inventory"]["message"]
    assert watcher.received == 1


def test_a_model_is_described_by_signature_and_card(listed: Any) -> None:
    document = listed.get("/tf/models/mnist-net").json
    assert document["labels"] == {"stable": 1}
    default = document["default"]
    assert default["version"] == document["default_version"] == 1
    assert default["signatures"]["serving_default"]["inputs"] == {
        "images": {"dtype": "uint8", "shape": [-1, 28, 28, 1]}
    }
    assert default["signatures"]["describe"]["outputs"] == {"card": {"dtype": "string", "shape": [-1]}}
    assert default["card"]["labels"] == CARD["labels"]
    assert default["card"]["metrics"] == CARD["metrics"]
    assert CARD["input"].items() <= default["card"]["input"].items()
    assert listed.get("/tf/models/bare-net").json["default"]["card"] is None


# ---- documents


def test_the_specification_holds_every_route_and_its_errors(client: Any) -> None:
    specification = client.get("/tf/swagger.json").json
    assert {"/predictlabel", "/tf/mnist/{model}", "/tf/models", "/tf/models/{model}"} < set(specification["paths"])
    post = specification["paths"]["/tf/mnist/{model}"]["post"]
    assert {"name": "image", "in": "formData", "type": "file", "required": True}.items() <= next(
        parameter for parameter in post["parameters"] if parameter["name"] == "image"
    ).items()
    of_the_guard = {"401", "403", "408", "411", "421"}
    of_the_call = {"200", "400", "404", "409", "413", "415", "429", "502", "503", "504"}
    assert set(post["responses"]) == of_the_guard | of_the_call
    assert specification["basePath"] == "/"


def test_pages_load_nothing_from_other_hosts_and_run_no_inline_script(client: Any) -> None:
    for path in ("/", "/tf/"):
        response = client.get(path)
        assert response.status_code == 200
        assert "script-src 'self';" in response.headers["Content-Security-Policy"]
        links = re.findall(r'(?:src|href)="([^"]+)"', response.text)
        assert links
        for link in links:
            assert link.startswith("/") or link == "swagger.json"
            assert client.get(link if link.startswith("/") else f"/tf/{link}", buffered=True).status_code == 200
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", response.text)


def test_the_page_links_to_the_configured_tools(client: Any, settings: Settings) -> None:
    assert "TensorBoard" not in client.get("/").text
    urls = {"board_url": "http://127.0.0.1:6006/", "jupyter_url": "http://127.0.0.1:8888/?a=1&b=2"}
    page = create_app(Settings(**{**settings.model_dump(), **urls})).test_client().get("/").text
    assert '<a href="http://127.0.0.1:6006/">TensorBoard</a>' in page
    assert '<a href="http://127.0.0.1:8888/?a=1&amp;b=2">JupyterLab</a>' in page


def test_every_answer_has_the_headers_of_safety(client: Any) -> None:
    for path in ("/", "/tf/", "/tf/models", "/nowhere", "/static/page.js"):
        headers = client.get(path, buffered=True).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_a_card_is_read_once_per_version(post: Post, client: Any, server: ModelServer) -> None:
    server.models["mnist-net"].labels = {"stable": 1}
    for path in ("/tf/mnist/mnist-net", "/tf/models/mnist-net/versions/1/classify"):
        assert post(path, image_file(60)).status_code == 200
    assert post("/tf/models/mnist-net/labels/stable/classify", image_file(60)).status_code == 200
    assert client.get("/tf/models/mnist-net").status_code == 200
    predicted = server.calls.count("Predict")
    assert predicted == 3 + 1  # the card once
