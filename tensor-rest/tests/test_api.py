"""The application on a real model server over a real channel, without a front."""

import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from conftest import free_port, nobody, picture, wait_until
from toy_model_server import CARD, LABELS, Model, ModelServer, signature

from tensor_rest.app import create_app
from tensor_rest.settings import Settings
from tensor_rest.wire import serving_pb2 as pb

Post = Callable[..., Any]


@pytest.fixture
def watcher() -> Iterator[Any]:
    """A watcher's HTTP door; set `document` to what it answers."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(door.document).encode())

        def log_message(self, *_: Any) -> None:
            pass

    door: Any = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    door.document = {
        "models": [
            {"name": "mnist-net", "versions": [1], "labels": {"stable": 1}, "quarantined": []},
            {"name": "bare-net", "versions": [1], "labels": {}, "quarantined": []},
            {"name": "ill-net", "versions": [], "quarantined": [{"version": 3, "reason": "saved_model.pb is missing"}]},
        ]
    }
    thread = threading.Thread(target=door.serve_forever)
    thread.start()
    yield door
    door.shutdown()
    door.server_close()
    thread.join()


@pytest.fixture
def listed(settings: Settings, watcher: Any) -> Any:
    """A client of an application that knows the watcher."""
    url = f"http://127.0.0.1:{watcher.server_port}/"
    return create_app(Settings(**{**settings.model_dump(), "inventory_url": url})).test_client()


def check_error(response: Any, status: int, *texts: str) -> None:
    """The one shape of errors, and each text in the message."""
    assert response.status_code == status, response.text
    assert set(response.json) == {"message", "code", "request_id"}
    assert response.json["code"] == status
    assert response.json["request_id"] == response.headers["X-Request-Id"]
    for text in texts:
        assert text in response.json["message"]
    assert "Traceback" not in response.text


# ---- answers


@pytest.mark.parametrize("model", ["mnist-net", "bare-net"])
def test_a_digit_is_answered_in_the_tutorials_shape(post: Post, model: str) -> None:
    response = post(f"/tf/mnist/{model}", picture(60))
    assert response.status_code == 200
    assert response.json == {
        "classification_result": [
            {"digit": 2, "probability": 0.91},
            {"digit": 0, "probability": 0.01},
            {"digit": 1, "probability": 0.01},
        ]
    }
    assert response.headers["X-Model-Name"] == model
    assert response.headers["X-Model-Version"] == "1"


def test_the_limit_is_one_to_all(post: Post) -> None:
    assert len(post("/tf/mnist/mnist-net?limit=1", picture(60)).json["classification_result"]) == 1
    assert len(post("/tf/mnist/mnist-net?limit=10", picture(60)).json["classification_result"]) == 10
    for wrong in ("0", "-1", "11", "x", "1.5", "", "９", "9" * 5000):
        check_error(post(f"/tf/mnist/mnist-net?limit={wrong}", picture(60)), 400, "limit=")


def test_predictlabel_answers_every_label_as_text(post: Post) -> None:
    document = post("/predictlabel", picture(130)).json
    assert list(document) == ["most_probable_label", "predictions", "success"]
    assert document["most_probable_label"] == "5"
    assert document["success"] is True
    assert document["predictions"][0] == {"label": "5", "probability": "0.9100"}
    assert {entry["label"] for entry in document["predictions"]} == set(LABELS)


def test_a_dark_on_light_picture_is_inverted_only_where_a_card_says_so(post: Post) -> None:
    light = picture(190)  # inverted: 65, a 2
    assert post("/tf/mnist/mnist-net?limit=1", light).json["classification_result"][0]["digit"] == 2
    assert post("/tf/mnist/bare-net?limit=1", light).json["classification_result"][0]["digit"] == 7


def test_a_request_id_is_kept_if_harmless_else_made(client: Any) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": "abc.1-2_3"}).headers["X-Request-Id"] == "abc.1-2_3"
    for bad in ("a b", "x" * 65, '"', "ä"):
        assert re.fullmatch(
            "[0-9a-f]{32}", client.get("/healthz", headers={"X-Request-Id": bad}).headers["X-Request-Id"]
        )


# ---- requests at fault


@pytest.mark.parametrize(
    ("data", "status", "text"),
    [
        (b"no picture", 415, "PNG"),
        (b"", 400, "empty"),
        (picture(60, (200, 200))[:-40], 400, "cut off"),
        (picture(60, (5000, 4000)), 413, "5000 x 4000"),
    ],
)
def test_what_is_no_picture_never_reaches_serving(
    post: Post, server: ModelServer, data: bytes, status: int, text: str
) -> None:
    for path in ("/tf/mnist/mnist-net", "/predictlabel"):
        check_error(post(path, data), status, text)
    assert server.calls == []


def test_a_request_without_the_field_is_told_its_name(client: Any, post: Post) -> None:
    for response in (
        post("/predictlabel", picture(60), name="file"),
        client.post("/predictlabel"),
        client.post("/predictlabel", data={"image": "text, not a file"}),
        client.post("/predictlabel", data=b"\xff", content_type="multipart/form-data; boundary=x"),
        client.post("/predictlabel", data=b"{", content_type="application/json"),
    ):
        check_error(response, 400, "'image'")


def test_a_body_over_the_limit_is_refused(settings: Settings) -> None:
    app = create_app(Settings(**{**settings.model_dump(), "max_upload_bytes": 2000}))
    response = app.test_client().post("/predictlabel", data={"image": (io.BytesIO(bytes(3000)), "x.png")})
    check_error(response, 413, "2000 bytes")


@pytest.mark.parametrize(
    "name", ["Upper", "a b", "..", "%2e%2e", "a%00b", "x" * 64, "-a", "ä", "a'b", "a{b", "a%0a", "١"]
)
def test_a_name_that_cannot_be_a_model_never_reaches_serving(
    post: Post, client: Any, server: ModelServer, name: str
) -> None:
    check_error(post(f"/tf/mnist/{name}", picture(60)), 404)
    check_error(client.get(f"/tf/models/{name}"), 404)
    assert server.calls == []


def test_paths_and_methods_that_do_not_exist_are_refused(client: Any) -> None:
    for path in (
        "/nowhere",
        "/tf/nowhere",
        "/tf/mnist/",
        "/tf/mnist/a/b",
        "/static/nothing",
        "/static/../app.py",
        "/swagger.json",
    ):
        check_error(client.get(path), 404)
    for path, allowed in (("/tf/mnist/mnist-net", "POST"), ("/predictlabel", "POST")):
        response = client.get(path)
        check_error(response, 405, "GET is not allowed", allowed)
        assert allowed in response.headers["Allow"]
    check_error(client.delete("/tf/models"), 405)


# ---- serving at fault


def test_an_unknown_model_is_told_what_is_served(post: Post, listed: Any) -> None:
    check_error(post("/tf/mnist/nope", picture(60)), 404, "'nope' is not served.")
    response = listed.post("/tf/mnist/nope", data={"image": (io.BytesIO(picture(60)), "x.png")})
    check_error(response, 404, "'nope' is not served. Served now: bare-net, mnist-net.")
    check_error(listed.get("/tf/models/nope"), 404, "Served now")


@pytest.mark.parametrize(
    ("code", "status", "shown"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 400, True),
        (grpc.StatusCode.NOT_FOUND, 404, False),
        (grpc.StatusCode.FAILED_PRECONDITION, 409, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429, False),
        (grpc.StatusCode.UNAVAILABLE, 503, False),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504, False),
        (grpc.StatusCode.INTERNAL, 502, False),
        (grpc.StatusCode.UNKNOWN, 502, False),
    ],
)
def test_every_status_of_serving_has_its_own(
    post: Post, server: ModelServer, code: Any, status: int, shown: bool
) -> None:
    post("/predictlabel", picture(60))  # the profile is known
    server.fail = (code, "what serving said of /secret/path")
    response = post("/predictlabel", picture(60))
    check_error(response, status)
    assert ("what serving said" in response.text) is shown
    assert ("Retry-After" in response.headers) is (status in (429, 503))


def test_serving_away_is_503_at_once_and_back_when_it_is_back(post: Post, client: Any, server: ModelServer) -> None:
    assert client.get("/readyz").status_code == 200
    assert post("/predictlabel", picture(60)).status_code == 200
    server.stop()
    for response in (post("/predictlabel", picture(60)), client.get("/readyz"), client.get("/tf/models/mnist-net")):
        check_error(response, 503, "does not answer")
        assert response.headers["Retry-After"] == "1"
    assert client.get("/healthz").json == {"status": "ok"}
    server.start()
    wait_until(lambda: post("/predictlabel", picture(60)).status_code == 200, 10)


def test_a_server_that_was_never_there_is_503(tmp_path: Path) -> None:
    client = create_app(
        Settings(run_dir=tmp_path, server=f"127.0.0.1:{free_port()}", inventory_url=nobody())
    ).test_client()
    check_error(client.post("/predictlabel", data={"image": (io.BytesIO(picture(60)), "x")}), 503)


def test_serving_that_hangs_is_504(server: ModelServer, tmp_path: Path) -> None:
    client = create_app(Settings(run_dir=tmp_path, server=server.address, timeout_seconds=0.2)).test_client()
    server.hold = threading.Event()
    check_error(client.post("/predictlabel", data={"image": (io.BytesIO(picture(60)), "x")}), 504, "in time")
    server.hold.set()


def test_a_bug_is_500_without_its_words(
    client: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(client.application.extensions["gateway"], "models", lambda: 1 / 0)
    response = client.get("/tf/models", headers={"X-Request-Id": "mine"})
    check_error(response, 500)
    assert "division" not in response.text
    assert "mine" in caplog.text
    assert "ZeroDivisionError" in caplog.text


# ---- models and their versions


def test_the_profile_is_asked_once_per_version(post: Post, server: ModelServer) -> None:
    for _ in range(3):
        post("/predictlabel", picture(60))
    assert server.calls == ["GetModelMetadata", "Predict", "Predict", "Predict", "Predict"]


def test_a_new_version_answers_with_its_own_card(post: Post, server: ModelServer) -> None:
    assert post("/predictlabel", picture(60)).json["most_probable_label"] == "2"
    server.models["mnist-net"] = Model(versions=[1, 2], card={**CARD, "labels": list("ABCDEFGHIJ")}, shift=1)
    response = post("/predictlabel", picture(60))
    assert response.json["most_probable_label"] == "D"
    assert response.headers["X-Model-Version"] == "2"
    check_error(post("/tf/mnist/mnist-net", picture(60)), 409, "'D'", "digits")


def test_a_new_version_may_have_another_signature(post: Post, server: ModelServer) -> None:
    assert post("/predictlabel", picture(60)).status_code == 200
    small = {"images": (pb.DT_UINT8, [-1, 14, 14, 1])}, {"scores": (pb.DT_FLOAT, [-1, 10])}
    server.models["mnist-net"] = Model(versions=[2], card=None, signatures={"serving_default": signature(*small)})
    response = post("/predictlabel", picture(60))
    assert (response.status_code, response.headers["X-Model-Version"]) == (200, "2")
    server.models["mnist-net"] = Model(versions=[1])  # rolled back
    assert post("/predictlabel", picture(60)).headers["X-Model-Version"] == "1"


def test_a_float_model_gets_zero_to_one(post: Post, server: ModelServer) -> None:
    floats = {"images": (pb.DT_FLOAT, [-1, 28, 28])}, {"probabilities": (pb.DT_FLOAT, [-1, 10])}
    model = Model(card=None, signatures={"serving_default": signature(*floats)})
    server.models["float-net"] = model
    seen = []
    server.on_images = seen.append
    check_error(post("/tf/mnist/float-net", picture(51)), 502, "wanted one row of finite scores")  # it answers `scores`
    assert seen[0].dtype == np.float32
    assert seen[0].shape == (1, 28, 28)  # the signature has no channels
    assert np.allclose(seen[0], 0.2)


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [
        ({"text": (pb.DT_STRING, [-1])}, {"scores": (pb.DT_FLOAT, [-1, 10])}, "found text string [-1]"),
        ({}, {}, "found none"),
        ({"images": (pb.DT_UINT8, [-1, -1, -1, 1])}, {"scores": (pb.DT_FLOAT, [-1, 10])}, "how large"),
        (
            {"images": (pb.DT_UINT8, [-1, 28, 28, 1])},
            {"boxes": (pb.DT_FLOAT, [-1, 5, 4])},
            "found boxes float [-1, 5, 4]",
        ),
    ],
)
def test_a_model_that_does_not_classify_pictures_says_what_it_does(
    post: Post, server: ModelServer, inputs: Any, outputs: Any, text: str
) -> None:
    server.models["odd-net"] = Model(card=None, signatures={"serving_default": signature(inputs, outputs)})
    check_error(post("/tf/mnist/odd-net", picture(60)), 409, "'odd-net'", text)


@pytest.mark.parametrize(
    "card", ["not json", "[]", '{"labels": []}', '{"labels": ["a"], "input": {"polarity": "sideways"}}']
)
def test_a_broken_card_is_named(post: Post, server: ModelServer, card: str) -> None:
    server.models["mnist-net"] = Model(card=card)
    check_error(post("/predictlabel", picture(60)), 502, "card of model 'mnist-net' version 1")


def test_labels_that_do_not_fit_the_scores_are_named(post: Post, server: ModelServer) -> None:
    server.models["mnist-net"] = Model(classes=7)
    check_error(post("/predictlabel", picture(60)), 502, "7 scores for 10 labels")


def test_models_are_listed_with_states_labels_and_quarantine(listed: Any) -> None:
    document = listed.get("/tf/models").json
    assert [model["name"] for model in document["models"]] == ["bare-net", "ill-net", "mnist-net"]
    _, ill, mnist = document["models"]
    assert mnist == {
        "name": "mnist-net",
        "ready": True,
        "versions": [{"version": 1, "state": "AVAILABLE", "error": ""}],
        "labels": {"stable": 1},
        "quarantined": [],
    }
    assert ill["ready"] is False
    assert ill["quarantined"] == [{"version": 3, "reason": "saved_model.pb is missing"}]
    assert document["serving"] == document["inventory"] == {"ready": True, "message": ""}


def test_models_are_listed_while_serving_is_away(listed: Any, server: ModelServer) -> None:
    server.stop()
    document = listed.get("/tf/models").json
    assert [model["ready"] for model in document["models"]] == [False] * 3
    assert document["serving"]["ready"] is False
    assert "does not answer" in document["serving"]["message"]


def test_without_a_list_the_models_asked_for_are_listed(post: Post, client: Any) -> None:
    post("/tf/mnist/bare-net", picture(60))
    document = client.get("/tf/models").json
    assert [model["name"] for model in document["models"]] == ["bare-net", "mnist-net"]
    assert document["inventory"]["ready"] is False


@pytest.mark.parametrize("broken", [{"models": [{"versions": "x"}]}, [], None])
def test_a_list_that_makes_no_sense_is_told(listed: Any, watcher: Any, broken: Any) -> None:
    watcher.document = broken
    assert "not an inventory" in listed.get("/tf/models").json["inventory"]["message"]


def test_a_model_is_described_by_signature_and_card(listed: Any) -> None:
    document = listed.get("/tf/models/mnist-net").json
    assert document["labels"] == {"stable": 1}
    newest = document["newest"]
    assert newest["version"] == 1
    assert newest["signatures"]["serving_default"]["inputs"] == {"images": {"dtype": "uint8", "shape": [-1, 28, 28, 1]}}
    assert newest["signatures"]["describe"]["outputs"] == {"card": {"dtype": "string", "shape": [-1]}}
    assert newest["card"] == CARD
    assert listed.get("/tf/models/bare-net").json["newest"]["card"] is None


# ---- documents


def test_the_specification_holds_every_route_and_its_errors(client: Any) -> None:
    specification = client.get("/tf/swagger.json").json
    assert set(specification["paths"]) == {"/predictlabel", "/tf/mnist/{model}", "/tf/models", "/tf/models/{model}"}
    post = specification["paths"]["/tf/mnist/{model}"]["post"]
    assert {"name": "image", "in": "formData", "type": "file", "required": True}.items() <= next(
        parameter for parameter in post["parameters"] if parameter["name"] == "image"
    ).items()
    assert set(post["responses"]) == {"200", "400", "404", "409", "413", "415", "429", "503", "504"}
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


def test_the_page_links_to_the_tools_it_is_told_of(client: Any, settings: Settings) -> None:
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
