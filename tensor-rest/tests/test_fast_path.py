"""The short way and Flask's answer alike, whatever is sent; and what is not written as usual goes Flask's way."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from api_kit import client_of
from gateway_kit import picture
from toy_model_server import ModelServer

from tensor_rest.api.fast_path import FastPath

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
    "one": form(picture(60)),
    "two": form(picture(60), picture(200)),
    "empty file": form(b""),
    "no picture": form(b"text"),
    "one of two is none": form(picture(60), b"text"),
    "zip": form(zipped(picture(60), picture(200))),
    "broken zip": form(b"PK\x03\x04 and no more"),
    "too many": form(*[b"x"] * 1001),
    "no file": b"--XX--\r\n",
    "nothing": b"",
    "cut off": form(picture(60))[:-20],
    "another field": form(picture(60), field="data"),
    "two fields": form(picture(60), field="a")[: -len(b"--XX--\r\n")] + form(picture(100), field="b"),
}
PATHS = (
    "/predictlabel",
    "/tf/mnist/mnist-net",
    "/tf/mnist/mnist-net?limit=1",
    "/tf/mnist/mnist-net?limit=11",
    "/tf/mnist/mnist-net?limit=0",
    "/tf/mnist/half-net",
    "/tf/mnist/nobody",
    "/tf/mnist/..",
    "/tf/models/mnist-net/classify",
    "/tf/models/mnist-net/classify?limit=2",
    "/tf/models/half-net/classify",
)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Which of the requests were answered without Flask."""
    taken, reply = [], FastPath._reply

    def noted(self: FastPath, environ: Any) -> Any:
        found = reply(self, environ)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(FastPath, "_reply", noted)
    return taken


@pytest.fixture
def ask(serves: ModelServer, tmp_path: Path) -> Any:
    client = client_of(serves, tmp_path, max_upload_bytes=1 << 20)

    def send(path: str, body: bytes, **headers: str) -> Any:
        sent = {"X-Request-Id": "same", **headers}
        return client.post(path, data=body, content_type=PLAIN, headers=sent)

    return send


@pytest.mark.parametrize("kind", FORMS)
def test_both_ways_answer_alike(kind: str, ask: Any, short: list[bool]) -> None:
    for path in PATHS:
        longer = path + ("&" if "?" in path else "?") + "explain=0"  # the same to the routes
        one, other = ask(path, FORMS[kind]), ask(longer, FORMS[kind])
        assert (one.status_code, one.json) == (other.status_code, other.json), path
        assert sorted(one.headers) == sorted(other.headers), path
    assert not any(short[1::2])


@pytest.mark.parametrize("field", ["data", "file", "image", "f"])
def test_one_file_is_one_file_whatever_its_field(field: str, ask: Any, short: list[bool]) -> None:
    body = form(picture(60), field=field)
    answers = [ask(path, body).json for path in ("/predictlabel", "/tf/mnist/mnist-net", PATHS[-3])]
    assert answers[0]["most_probable_label"] == "2"
    assert answers[1]["classification_result"][0]["digit"] == 2
    assert [result["labels"][0]["label"] for result in answers[2]["results"]] == ["2"]
    assert short == [True] * 3


def test_files_of_several_fields_are_each_answered(ask: Any) -> None:
    results = ask(PATHS[-3], FORMS["two fields"]).json["results"]
    assert [result["labels"][0]["label"] for result in results] == ["2", "4"]


def test_usual_forms_go_the_short_way(ask: Any, short: list[bool]) -> None:
    for path in PATHS[:3]:
        assert ask(path, FORMS["one"]).status_code == 200
    assert short == [True] * 3


def test_the_guard_stands_before_the_short_way(ask: Any, short: list[bool]) -> None:
    asked = [
        ask("/predictlabel", FORMS["one"], Host="evil.example.com"),
        ask("/predictlabel", FORMS["one"], Origin="https://evil.example.com"),
        ask("/predictlabel", FORMS["one"], **{"X-Timeout-Ms": "soon"}),
        ask("/predictlabel", FORMS["one"], **{"Content-Encoding": "br"}),
    ]
    assert [answer.status_code for answer in asked] == [421, 403, 400, 415]
    assert short == []


def test_what_nobody_foresaw_is_told_without_its_reason(
    ask: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tensor_rest.api.fast_path.multipart.only", lambda files: files[9])
    answer = ask("/predictlabel", FORMS["one"])
    assert answer.status_code == 500
    assert "IndexError" not in answer.text
    assert "IndexError" in caplog.text


def test_a_body_over_the_limit_is_left_to_flask(ask: Any, short: list[bool]) -> None:
    assert ask("/predictlabel", form(bytes(1 << 20))).status_code == 413
    assert short == [False]


class Gone:
    """The body of a sender who left in the middle of it, as uWSGI gives it."""

    def read(self, _size: int = -1) -> bytes:
        raise OSError("error during read(65536) on wsgi.input")

    readline = read


def test_a_sender_who_left_is_at_fault_himself(
    serves: ModelServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(serves, tmp_path)
    sent = {"content_type": PLAIN, "headers": {"Content-Length": "900"}, "environ_overrides": {"wsgi.input": Gone()}}
    one, other = client.post("/predictlabel", **sent), client.post("/predictlabel?explain=0", **sent)
    assert (one.status_code, one.json["message"]) == (other.status_code, other.json["message"])
    assert one.status_code == 400
    assert "Traceback" not in caplog.text


def test_a_fault_of_the_guard_is_told_in_the_same_shape(
    ask: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tensor_rest.middleware.guard.body.unpack", lambda *given: given[1] / 0)
    answer = ask("/predictlabel", FORMS["one"])
    assert (answer.status_code, answer.json["code"], answer.headers["X-Request-Id"]) == (500, 500, "same")
    assert "ZeroDivisionError" in caplog.text
