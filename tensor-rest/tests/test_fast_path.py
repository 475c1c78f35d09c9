"""The fast path: it answers as Flask does, for each image route and any input, and passes unusual requests on."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from api_kit import client_of
from gateway_kit import image_file
from toy_model_server import ModelServer

from tensor_rest.api.fast_path import FastPath
from tensor_rest.api.image_routes import ImageRoute
from tensor_rest.api.routes import IMAGE_ROUTES

PLAIN = "multipart/form-data; boundary=XX"


def form(*files: bytes, field: str = "image") -> bytes:
    head = f'--XX\r\nContent-Disposition: form-data; name="{field}"; filename="a.png"\r\n\r\n'.encode()
    return b"".join(head + data + b"\r\n" for data in files) + b"--XX--\r\n"


def zipped(*files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as into:
        for number, data in enumerate(files):
            into.writestr(f"{number}.png", data)
    return packed.getvalue()


FORMS = {
    "one": form(image_file(60)),
    "two": form(image_file(60), image_file(200)),
    "empty file": form(b""),
    "no image": form(b"text"),
    "one of two is none": form(image_file(60), b"text"),
    "zip": form(zipped(image_file(60), image_file(200))),
    "broken zip": form(b"PK\x03\x04 and no end"),
    "too many": form(*[b"x"] * 1001),
    "no file": b"--XX--\r\n",
    "nothing": b"",
    "cut off": form(image_file(60))[:-20],
    "another field": form(image_file(60), field="data"),
    "two fields": form(image_file(60), field="a")[: -len(b"--XX--\r\n")] + form(image_file(100), field="b"),
}
ROUTES = [route for group in IMAGE_ROUTES.values() for route in group]
MODELS = ("mnist-net", "bare-net", "half-net", "missing-net", "..")
QUERIES = ("", "?limit=1", "?limit=11", "?limit=0", "?limit=x", "?limit=2", "?explain=0", "?signature=missing")
CLASSIFY = "/tf/models/mnist-net/classify"


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each request was answered by the fast path."""
    taken, reply = [], FastPath._reply

    def noted(self: FastPath, environ: Any) -> Any:
        found = reply(self, environ)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(FastPath, "_reply", noted)
    return taken


@pytest.fixture
def send(serves: ModelServer, tmp_path: Path) -> Any:
    return sender(client_of(serves, tmp_path, max_upload_bytes=1 << 20))


@pytest.fixture
def impatient(serves: ModelServer, tmp_path: Path) -> Any:
    """The same in front of a gateway that does not wait for an absent model server."""
    return sender(client_of(serves, tmp_path, grace_seconds=0))


def sender(client: Any) -> Any:
    def post(path: str, body: bytes, **headers: str) -> Any:
        sent = {"X-Request-Id": "same", **headers}
        return client.post(path, data=body, content_type=PLAIN, headers=sent)

    return post


def both(send: Any, path: str, body: bytes) -> list[Any]:
    """What the fast path (or Flask, where it passes the request on) and Flask alone answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FastPath, "_reply", lambda _, __: None)
        flask = send(path, body)
    return [(answer.status_code, answer.data, sorted(answer.headers)) for answer in (send(path, body), flask)]


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_fast_path_and_flask_answer_the_same(route: ImageRoute, kind: str, send: Any) -> None:
    for model in MODELS if "<model>" in route.path else MODELS[:1]:
        for query in QUERIES:
            path = route.path.replace("<model>", model) + query
            fast, flask = both(send, path, FORMS[kind])
            assert fast == flask, path


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_fast_path_and_flask_without_model_server_answer_503(
    route: ImageRoute, serves: ModelServer, impatient: Any
) -> None:
    serves.stop()
    fast, flask = both(impatient, route.path.replace("<model>", "mnist-net"), FORMS["one"])
    assert fast[0] == 503
    assert fast == flask


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_fast_path_takes_a_form_of_one_image_of_each_route(route: ImageRoute, send: Any, taken: list[bool]) -> None:
    path = route.path.replace("<model>", "mnist-net")
    assert [send(path + query, FORMS["one"]).status_code for query in ("", "?limit=1")] == [200, 200]
    assert taken == [True, True]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_fast_path_passes_other_queries_on_to_flask(route: ImageRoute, send: Any, taken: list[bool]) -> None:
    assert send(route.path.replace("<model>", "mnist-net") + "?explain=0", FORMS["one"]).status_code == 200
    assert taken == [False]


@pytest.mark.parametrize("field", ["data", "file", "image", "f"])
def test_file_in_a_field_of_any_name_is_read(field: str, send: Any, taken: list[bool]) -> None:
    body = form(image_file(60), field=field)
    answers = [send(path, body).json for path in ("/predictlabel", "/tf/mnist/mnist-net", CLASSIFY)]
    assert answers[0]["most_probable_label"] == "2"
    assert answers[1]["classification_result"][0]["digit"] == 2
    assert [result["labels"][0]["label"] for result in answers[2]["results"]] == ["2"]
    assert taken == [True] * 3


def test_files_of_several_fields_are_all_classified(send: Any) -> None:
    results = send(CLASSIFY, FORMS["two fields"]).json["results"]
    assert [result["labels"][0]["label"] for result in results] == ["2", "4"]


def test_middleware_checks_come_before_the_fast_path(send: Any, taken: list[bool]) -> None:
    answers = [
        send("/predictlabel", FORMS["one"], Host="evil.example.com"),
        send("/predictlabel", FORMS["one"], Origin="https://evil.example.com"),
        send("/predictlabel", FORMS["one"], **{"X-Timeout-Ms": "soon"}),
        send("/predictlabel", FORMS["one"], **{"Content-Encoding": "br"}),
    ]
    assert [answer.status_code for answer in answers] == [421, 403, 400, 415]
    assert taken == []


def test_unexpected_error_is_500_without_its_reason(
    send: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tensor_rest.api.fast_path.multipart.only", lambda files: files[9])
    answer = send("/predictlabel", FORMS["one"])
    assert answer.status_code == 500
    assert "IndexError" not in answer.text
    assert "IndexError" in caplog.text


def test_body_over_the_limit_is_passed_on_to_flask(send: Any, taken: list[bool]) -> None:
    assert send("/predictlabel", form(bytes(1 << 20))).status_code == 413
    assert taken == [False]


class ClosedBody:
    """The body of a client that closed the connection in the middle of it, as uWSGI gives it."""

    def read(self, _size: int = -1) -> bytes:
        raise OSError("error during read(65536) on wsgi.input")

    readline = read


def test_connection_closed_within_the_body_is_400(
    serves: ModelServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(serves, tmp_path)
    sent = {
        "content_type": PLAIN,
        "headers": {"Content-Length": "900"},
        "environ_overrides": {"wsgi.input": ClosedBody()},
    }
    one, other = client.post("/predictlabel", **sent), client.post("/predictlabel?explain=0", **sent)
    assert (one.status_code, one.json["message"]) == (other.status_code, other.json["message"])
    assert one.status_code == 400
    assert "Traceback" not in caplog.text


def test_unexpected_error_of_the_middleware_has_the_same_document(
    send: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tensor_rest.middleware.guard.body.receive", lambda *given: given[2] / 0)
    answer = send("/predictlabel", FORMS["one"])
    assert (answer.status_code, answer.json["code"], answer.headers["X-Request-Id"]) == (500, 500, "same")
    assert "ZeroDivisionError" in caplog.text
