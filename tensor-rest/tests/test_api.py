"""The application on a real model server over a real channel, without a front."""

import io
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from gateway_kit import check_error, free_port, image_file, unused_address, wait_until
from toy_model_server import LABELS, ModelServer

from tensor_rest.app import create_app
from tensor_rest.settings import Settings

Post = Callable[..., Any]


# ---- answers


@pytest.mark.parametrize("model", ["mnist-net", "bare-net"])
def test_a_digit_is_answered_in_the_tutorials_shape(post: Post, model: str) -> None:
    response = post(f"/tf/mnist/{model}", image_file(60))
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
    assert len(post("/tf/mnist/mnist-net?limit=1", image_file(60)).json["classification_result"]) == 1
    assert len(post("/tf/mnist/mnist-net?limit=10", image_file(60)).json["classification_result"]) == 10
    for wrong in ("0", "-1", "11", "x", "1.5", "", "９", "9" * 5000):
        check_error(post(f"/tf/mnist/mnist-net?limit={wrong}", image_file(60)), 400, "limit=")


def test_predictlabel_answers_every_label_as_text(post: Post) -> None:
    document = post("/predictlabel", image_file(130)).json
    assert list(document) == ["most_probable_label", "predictions", "success"]
    assert document["most_probable_label"] == "5"
    assert document["success"] is True
    assert document["predictions"][0] == {"label": "5", "probability": "0.9100"}
    assert {entry["label"] for entry in document["predictions"]} == set(LABELS)


def test_a_dark_on_light_image_is_inverted_only_by_its_card(post: Post) -> None:
    light = image_file(190)  # inverted: 65, a 2
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
        (b"no image", 415, "PNG"),
        (b"", 400, "empty"),
        (image_file(60, (200, 200))[:-40], 400, "cut off"),
        (image_file(60, (5000, 4000)), 413, "5000 x 4000"),
    ],
)
def test_what_is_no_image_never_reaches_serving(
    post: Post, server: ModelServer, data: bytes, status: int, text: str
) -> None:
    assert post("/predictlabel", image_file(60)).status_code == 200
    server.calls.clear()
    for path in ("/tf/mnist/mnist-net", "/predictlabel"):
        check_error(post(path, data), status, text)
    assert server.calls == []


def test_a_request_without_a_file_gets_400_with_an_example(client: Any) -> None:
    for response in (
        client.post("/predictlabel"),
        client.post("/predictlabel", data={"image": "text, not a file"}),
        client.post("/predictlabel", data=b"\xff", content_type="multipart/form-data; boundary=x"),
        client.post("/predictlabel", data=b"{", content_type="application/json"),
    ):
        check_error(response, 400, "no file", "-F image=@")


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
    check_error(post(f"/tf/mnist/{name}", image_file(60)), 404)
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


def test_an_unknown_model_is_404_with_what_is_served(post: Post, listed: Any) -> None:
    check_error(post("/tf/mnist/nope", image_file(60)), 404, "'nope' is not served.")
    response = listed.post("/tf/mnist/nope", data={"image": (io.BytesIO(image_file(60)), "x.png")})
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
        (grpc.StatusCode.CANCELLED, 503, False),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504, False),
        (grpc.StatusCode.INTERNAL, 502, False),
        (grpc.StatusCode.UNKNOWN, 502, False),
    ],
)
def test_every_status_of_serving_has_its_own(
    post: Post, server: ModelServer, code: Any, status: int, shown: bool
) -> None:
    post("/predictlabel", image_file(60))  # the profile is known
    server.fail = (code, "what serving said of /secret/path")
    response = post("/predictlabel", image_file(60))
    check_error(response, status)
    assert ("what serving said" in response.text) is shown
    assert ("Retry-After" in response.headers) is (status in (429, 503))


def test_no_model_server_is_503_at_once_until_it_is_back(post: Post, client: Any, server: ModelServer) -> None:
    assert client.get("/readyz").status_code == 200
    assert post("/predictlabel", image_file(60)).status_code == 200
    server.stop()
    wait_until(lambda: client.get("/readyz").status_code == 503, 10)  # it may remember what was true a second ago
    for response in (post("/predictlabel", image_file(60)), client.get("/readyz"), client.get("/tf/models/mnist-net")):
        check_error(response, 503, "does not answer")
        assert response.headers["Retry-After"] == "1"
    assert client.get("/healthz").json == {"status": "ok", "lab": ""}
    server.start()
    wait_until(lambda: post("/predictlabel", image_file(60)).status_code == 200, 10)


def test_a_server_that_was_never_there_is_503(tmp_path: Path) -> None:
    client = create_app(
        Settings(run_dir=tmp_path, server=f"127.0.0.1:{free_port()}", inventory_url=unused_address(), grace_seconds=0)
    ).test_client()
    check_error(client.post("/predictlabel", data={"image": (io.BytesIO(image_file(60)), "x")}), 503)


def test_serving_that_hangs_is_504(server: ModelServer, tmp_path: Path) -> None:
    client = create_app(Settings(run_dir=tmp_path, server=server.address, timeout_seconds=0.2)).test_client()
    server.hold = threading.Event()
    check_error(client.post("/predictlabel", data={"image": (io.BytesIO(image_file(60)), "x")}), 504, "in time")
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
