"""What a request brought is freed when it is answered, whatever the answer: not when Python's collector comes by."""

import gc
import io
import json
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import flask
import grpc
import pytest
from api_kit import everything
from gateway_kit import image_file, unused_address
from toy_model_server import ModelServer

from tensor_rest.app import create_app
from tensor_rest.settings import Settings

FORM, JSON = "multipart/form-data; boundary=b", "application/json"
DIGIT = image_file(60)
ROWS = json.dumps({"instances": [[[[0]] * 28] * 28]}).encode()


def form(*files: bytes, field: str = "image") -> bytes:
    head = f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="x"\r\n\r\n'.encode()
    return b"".join(head + each + b"\r\n" for each in files) + b"--b--\r\n"


@pytest.fixture(scope="module")
def toy() -> Iterator[ModelServer]:
    server = ModelServer(**everything()).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def app(toy: ModelServer) -> flask.Flask:
    return create_app(Settings(server=toy.address, inventory_url=unused_address(), timeout_seconds=5, grace_seconds=0))


class Mark:
    """Lies in a request's environment, and so lives as long as anything does that has it."""


class Body(io.BytesIO):
    """A body; unlike BytesIO it can be referred to weakly."""


@pytest.fixture
def answered(app: flask.Flask) -> Iterator[Callable[..., tuple[int, list[str]]]]:
    """answered(path, body, type): the status, and what of the request is alive after it."""

    def call(path: str, body: bytes = b"", kind: str = "", method: str = "POST") -> tuple[int, list[str]]:
        environ: dict[str, Any] = {
            **{"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "SERVER_PROTOCOL": "HTTP/1.1"},
            **{"SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80", "HTTP_HOST": "127.0.0.1", "REMOTE_ADDR": "127.0.0.1"},
            **{"CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body)), "wsgi.input": Body(body), "wsgi.errors": None},
            **{"wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.multithread": True},
            **{"wsgi.multiprocess": True, "wsgi.run_once": False, "test.mark": Mark()},
        }
        marks = {"body": weakref.ref(environ["wsgi.input"]), "environment": weakref.ref(environ["test.mark"])}
        statuses: list[int] = []
        reply = app(environ, lambda status, _headers, _error=None: statuses.append(int(status[:3])))  # type: ignore[arg-type,func-returns-value,return-value]
        b"".join(reply)
        if hasattr(reply, "close"):
            reply.close()
        del environ, reply
        return statuses[0], [name for name, mark in marks.items() if mark() is not None]

    call("/tf/mnist/mnist-net", form(DIGIT), FORM)  # what is made once is there
    gc.collect()
    gc.disable()
    yield call
    gc.enable()


@pytest.mark.parametrize(
    ("path", "body", "kind", "status"),
    [
        ("/tf/mnist/mnist-net", form(DIGIT), FORM, 200),
        ("/tf/mnist/mnist-net", form(b"no image"), FORM, 415),
        ("/tf/mnist/mnist-net", form(DIGIT, field="other"), FORM, 200),
        ("/tf/mnist/mnist-net", b"no image", "image/png", 415),
        ("/tf/mnist/mnist-net", b"\xff", "application/zip", 400),
        ("/tf/mnist/none", form(DIGIT), FORM, 404),
        ("/tf/models/mnist-net/classify", form(DIGIT, b"no image"), FORM, 200),
        ("/tf/models/mnist-net/classify", form(b"no image", b"nor this"), FORM, 415),
        ("/tf/models/mnist-net/predict", ROWS, JSON, 200),
        ("/tf/models/mnist-net/predict", b"no JSON", JSON, 400),
        ("/tf/models/mnist-net/predict", b"no array", "application/x-npy", 400),
        ("/v1/models/mnist-net:predict", ROWS, JSON, 200),
        ("/v1/models/mnist-net:predict", b'{"instances": ["a text"]}', JSON, 400),
        ("/v1/models/mnist-net:predict", b'{"instances": [[[0]]]}', JSON, 400),
        ("/v1/models/none:predict", ROWS, JSON, 404),
        ("/tf/models/mnist-net/feedback", form(DIGIT), FORM, 409),
        ("/tf/models", b"", "", 405),
        ("/nothing", b"a body", "text/plain", 404),
    ],
)
def test_nothing_of_a_request_is_left_for_the_collector(
    answered: Callable[..., tuple[int, list[str]]], path: str, body: bytes, kind: str, status: int
) -> None:
    for _ in range(2):
        found = answered(path, body, kind)
    assert found == (status, [])


def test_nor_where_the_model_server_refuses_the_call(
    answered: Callable[..., tuple[int, list[str]]], toy: ModelServer
) -> None:
    many = json.dumps({"instances": [[[[0]] * 28] * 28] * 100}).encode()
    for code, status in ((grpc.StatusCode.INVALID_ARGUMENT, 400), (grpc.StatusCode.INTERNAL, 502)):
        toy.fail_signature = ("serving_default", code)
        try:
            for path, body, kind in (
                ("/v1/models/mnist-net:predict", ROWS, JSON),
                ("/v1/models/mnist-net:predict", many, JSON),
                ("/tf/models/mnist-net/predict", many, JSON),
                ("/tf/mnist/mnist-net", form(DIGIT), FORM),
                ("/tf/models/mnist-net/classify", form(*[DIGIT] * 100), FORM),
            ):
                assert answered(path, body, kind) == (status, []), path
        finally:
            toy.fail_signature = None
