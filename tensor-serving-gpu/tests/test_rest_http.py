"""The REST API as HTTP: gzip both ways, bounds on head, body and time. A process of its own, with short patience."""

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import case_server
import pytest
import uvicorn
from rest_kit import send, send_raw
from serving_kit import wait_until

from tensor_serving.embedded.rest import http

PATH = "/v1/models/several:predict"
BODY = b'{"instances": [2]}'
THREE = {"predictions": [3.0]}
ZIPPED = {"Content-Encoding": "gzip"}
MEBI = 1024 * 1024
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n".encode()
IN_TRAILERS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, case_config: Path) -> Iterator[case_server.CaseServer]:
    folder = tmp_path_factory.mktemp("impatient")
    with case_server.started(folder, case_config, "--rest_api_timeout_in_ms=1000", "--grpc_max_threads=1") as embedded:
        yield embedded


@pytest.fixture
def address(embedded: case_server.CaseServer) -> Iterator[str]:
    """The address of a server that answers, also afterwards."""
    assert embedded.rest
    assert embedded.embedded
    yield embedded.rest
    assert send(embedded.rest, PATH, BODY).document == THREE
    assert "Traceback" not in embedded.embedded.text()


def test_a_gzip_body_is_unpacked(address: str) -> None:
    assert send(address, PATH, gzip.compress(BODY), headers=ZIPPED).document == THREE


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (BODY, "the body is not gzip, which its Content-Encoding declares"),
        (gzip.compress(BODY)[:-4], "the gzip body ends too early"),
        (gzip.compress(BODY) + b"x", "the gzip body goes on after its end"),
        (b"", "the gzip body ends too early"),
    ],
)
def test_a_broken_gzip_body_is_refused(address: str, body: bytes, text: str) -> None:
    answer = send(address, PATH, body, headers=ZIPPED)
    assert (answer.status, answer.error[: len(text)]) == (400, text)


def test_a_long_answer_is_compressed_for_clients_that_accept_it(address: str) -> None:
    body = json.dumps({"instances": [2] * 1000})
    plain = send(address, PATH, body)
    packed = send(address, PATH, body, headers={"Accept-Encoding": "deflate, gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    for declined in ("gzip;q=0", "gzip ; q=0.00, br", "identity", ""):
        assert send(address, PATH, body, headers={"Accept-Encoding": declined}).body == plain.body


def test_a_body_with_too_large_a_content_length_is_refused_unread(address: str) -> None:
    answer = send_raw(address, HEAD + b"Content-Length: 99999999999\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'{"error":"the body is larger than 67108864 bytes"}' in answer


def test_a_body_that_turns_out_too_large_is_refused(address: str) -> None:
    chunk = b"100000\r\n" + b" " * MEBI + b"\r\n"
    data = HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunk * 65 + b"0\r\n\r\n"
    assert send_raw(address, data).startswith(b"HTTP/1.1 413 ")


def test_a_body_in_pieces_is_read(address: str) -> None:
    data = HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    pieces = b"".join(b"%x\r\n%c\r\n" % (1, byte) for byte in BODY)
    assert send_raw(address, data + pieces + b"0\r\n\r\n").endswith(b'{"predictions":[3.0]}')


def test_a_body_that_stops_half_way_is_waited_for_so_long(address: str) -> None:
    answer = send_raw(address, HEAD + b"Content-Length: 100\r\nConnection: close\r\n\r\n" + BODY)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the body is not complete" in answer


def test_a_body_that_ends_half_way_ends_its_connection_only(address: str) -> None:
    assert send_raw(address, HEAD + b"Content-Length: 100\r\n\r\n" + BODY, close=True) == b""


def test_a_run_that_takes_too_long_is_given_up(address: str) -> None:
    body = '{"signature_name": "slow", "instances": [2]}'
    with ThreadPoolExecutor(40) as clients:  # one thread works for all of them
        answers = list(clients.map(lambda _: send(address, PATH, body), range(40)))
    late = [answer for answer in answers if answer.status != 200]
    assert {(answer.status, answer.error) for answer in late} == {(504, "Timed out waiting for notification")}
    wait_until(lambda: send(address, PATH, BODY).status == 200, what="an answer in time: the runs given up still go on")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        HEAD + b"Content-Length: 17\r\nContent-Length: 18\r\n\r\n" + BODY,
        "GET /v1/models/\u00fc HTTP/1.1\r\n\r\n".encode(),
        b"GET /v1/models/" + b"a" * MEBI,
        HEAD + b"X: " + b"a" * MEBI,
        HEAD + b"X: y\r\n" * 200_000,
        IN_TRAILERS + b"X: " + b"a" * MEBI,
        IN_TRAILERS + b"X: y\r\n" * 200_000,
    ],
    ids=[
        *("TLS", "length no number", "two lengths", "not ASCII", "endless path", "endless header", "endless headers"),
        *("endless trailer", "endless trailers"),
    ],
)
def test_what_is_no_request_ends_its_connection(address: str, data: bytes) -> None:
    answer = send_raw(address, data)
    assert not answer or answer.startswith(b"HTTP/1.1 400 ")


def test_a_body_with_trailers_is_answered(address: str) -> None:
    data = HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    chunk = b"%x\r\n%s\r\n" % (len(BODY), BODY)
    assert send_raw(address, data + chunk + b"0\r\nX: y\r\n\r\n").endswith(b'{"predictions":[3.0]}')


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/models/several", "//v1/models/several", "/metrics"])
def test_other_paths_are_not_found(address: str, path: str) -> None:
    answer = send(address, path)
    assert answer.status == 404
    assert answer.error.startswith("Not found: ")


@pytest.mark.parametrize(
    "name",
    ["%00", "..", "%2e%2e%2fetc", "%C3%BC", "%ff", "%zz", "a" * 60_000],
    ids=["NUL", "dots", "escaped dots", "unicode", "no UTF-8", "no escape", "long"],
)
def test_odd_names_are_of_no_model(address: str, name: str) -> None:
    answer = send(address, f"/v1/models/{name}:predict", BODY)
    assert answer.status == 404
    assert answer.error.startswith("Servable not found for request: Latest(")


def test_one_connection_serves_many_requests(address: str) -> None:
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    last = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    assert send_raw(address, request * 50 + last).count(b'{"predictions":[3.0]}') == 51


def test_head_has_no_body(address: str) -> None:
    answer = send(address, "/v1/models/several", method="HEAD")
    assert (answer.status, answer.body) == (400, b"")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """The address of a server that waits half a second for a head, and answers nothing but an empty 200."""
    monkeypatch.setattr(http, "HEAD_SECONDS", 0.5)

    async def application(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    server = uvicorn.Server(http.config(application))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[:2]
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", HEAD, IN_TRAILERS], ids=repr)
def test_a_head_that_does_not_come_ends_the_connection(hasty: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(hasty, timeout=30) as connection:
        connection.sendall(sent)
        if b"\r\n\r\n" in sent:  # it is answered, and what ends the connection is the next head, or the trailers
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            connection.sendall(b"G")
        assert connection.recv(4096) == b""


def test_a_connection_between_two_requests_stays(hasty: tuple[str, int]) -> None:
    with (
        socket.create_connection(hasty, timeout=30) as kept,
        socket.create_connection(hasty, timeout=30) as silent,
    ):
        for _ in range(2):
            kept.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert kept.recv(4096).startswith(b"HTTP/1.1 200")
            assert silent.recv(4096) == b""  # the time for a head is over
