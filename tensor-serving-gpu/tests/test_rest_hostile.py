"""Bodies meant to hurt: each gets an answer, and the server lives, bounded, and answers the next one."""

import socket
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import case_server
import pytest
from rest_kit import peak_memory, send
from serving_kit import wait_until

PATH = "/v1/models/several:predict"
DEEP = 100_000
MEBI = 1024 * 1024


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, case_config: Path) -> Iterator[case_server.CaseServer]:
    with case_server.started(tmp_path_factory.mktemp("hostile"), case_config) as embedded:
        yield embedded


@pytest.fixture
def address(embedded: case_server.CaseServer) -> Iterator[str]:
    """The address of a server that answers, also afterwards."""
    assert embedded.rest
    assert embedded.embedded
    yield embedded.rest
    assert send(embedded.rest, PATH, '{"instances": [2]}').document == {"predictions": [3.0]}
    assert "Traceback" not in embedded.embedded.text()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "page.example.org"}, 421),
        ({"Host": "page.example.org:8501"}, 421),
        ({"Origin": "http://page.example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "tensor-serving:8501"}, 200),
        ({"Host": "localhost:8501", "Origin": "http://localhost:8501"}, 200),
    ],
)
def test_requests_behind_which_a_foreign_page_may_be_are_refused(
    address: str, headers: dict[str, str], status: int
) -> None:
    for path, body in ((PATH, '{"instances": [2]}'), ("/v1/models/several", None)):
        answer = send(address, path, body, headers=headers)
        assert answer.status == status
        if status != 200:
            assert "example.org" in answer.error or "null" in answer.error


def words(value: str) -> bytes:
    return f'{{"signature_name": "shout", "instances": {value}}}'.encode()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (f'{{"instances": {"[" * DEEP}{"]" * DEEP}}}', "JSON Parse error: "),
        (f'{{"instances": [NaN, {"[" * DEEP}{"]" * DEEP}]}}', "JSON Parse error: "),
        (f'{"{" * 1}"a": {"[" * 900}1{"]" * 900}, "inputs": {"[" * 900}1{"]" * 900}}}', "JSON Value for input 'x'"),
        (f'{{"instances": {"[" * 900}1{"]" * 900}}}', "JSON Value for input 'x' is not of expected type: float: more"),
        ('{"instances": [1e400, NaN]}', "JSON Parse error: Number too big to be stored in double."),
        (f'{{"instances": [{"9" * 5000}]}}', "JSON Parse error: "),
        (f'{{"instances": [{"9" * 5000}, NaN]}}', "JSON Parse error: Number too big to be stored in double."),
        (words('["\\ud800"]'), "JSON Parse error: "),
        (words('["\\ud800", NaN]'), "JSON Parse error: The surrogate pair in string is invalid."),
        (b'{"instances": ["\xff\xfe"]}', "JSON Parse error: "),
        (b'{"instances": ["\xff\xfe", NaN]}', "JSON Parse error: Invalid encoding in string."),
        (words('["\x01"]'), "JSON Parse error: "),
        (words('[{"b64": "***"}]'), "Unable to base64 decode"),
        (words('[{"b64": "\u00fc"}]'), "Unable to base64 decode"),
        (words('[["a", "b"], "cd"]'), "JSON Value for input 'text' is not of expected type: string: a value beside"),
        (b'{"instances": [1, NaN', "JSON Parse error: "),
        (b"\x00", "JSON Parse error: "),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) and not value.startswith("{") else None,
)
def test_it_is_refused_with_a_reason(address: str, body: str | bytes, text: str) -> None:
    answer = send(address, PATH, body)
    assert (answer.status, answer.error[: len(text)]) == (400, text)


def test_text_outside_ascii_passes(address: str) -> None:
    answer = send(address, PATH, words('["\\ud83d\\ude00 \u00fc", "\\u0000"]'))
    assert [row["upper"] for row in answer.document["predictions"]] == ["\U0001f600 \u00fc", "\x00"]


def test_a_large_integer_is_a_float_of_its_size(address: str) -> None:
    assert send(address, PATH, f'{{"instances": [{"9" * 30}]}}').document == {"predictions": [5e29]}


def test_a_message_shows_the_beginning_of_a_value(address: str) -> None:
    answer = send(address, PATH, f'{{"inputs": "{"x" * 1_000_000}"}}')
    assert answer.status == 400
    assert len(answer.error) < 1000


def test_a_gzip_bomb_takes_no_more_memory_than_a_body_may(address: str, embedded: case_server.CaseServer) -> None:
    assert embedded.embedded
    packer = zlib.compressobj(1, wbits=31)
    bomb = b"".join(packer.compress(b"[" * MEBI) for _ in range(512)) + packer.flush()
    before = peak_memory(embedded.embedded.process.pid)
    answer = send(address, PATH, bomb, headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.error) == (413, f"the body is larger than {64 * MEBI} bytes")
    assert peak_memory(embedded.embedded.process.pid) - before < 200 * MEBI  # of the 512 it unpacks to


def test_all_bodies_together_are_bounded(address: str) -> None:
    host, _, port = address.rpartition(":")
    half = 60 * MEBI
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {half + 1}\r\n\r\n".encode()
    with ExitStack() as connections:
        for _ in range(4):  # nearly all of four bodies, which the server keeps
            connection = connections.enter_context(socket.create_connection((host, int(port)), timeout=30))
            connection.sendall(head + b" " * half)
        answer = send(address, PATH, b" " * half)
        assert answer.status == 503
        assert answer.error.startswith("more than 268435456 bytes of requests are being processed")
    body = b" " * half + b'{"instances": [2]}'
    wait_until(lambda: send(address, PATH, body).status == 200, what="the memory of the four to be given back")


def test_a_very_large_tensor_is_run(address: str) -> None:
    answer = send(address, PATH, b'{"inputs": [' + b"2.0," * 12_000_000 + b"2.0]}")
    assert answer.status == 200
    assert answer.body.startswith(b'{"outputs":[3.0,3.0,')


def test_what_is_wrong_late_in_a_very_large_tensor_is_found(address: str) -> None:
    answer = send(address, PATH, b'{"inputs": [' + b"2.0," * 1_000_000 + b'"x"]}')
    assert answer.status == 400
    assert answer.error == "JSON Value: \"x\" Type: String at [1000000] of input 'x' is not of expected type: float"


def test_what_follows_a_document_is_not_looked_at(address: str) -> None:
    answer = send(address, PATH, f'{{"instances": [2]}} {"[" * DEEP}')
    assert answer.document == {"predictions": [3.0]}


def test_so_many_lists_are_refused_before_they_are_made(address: str, embedded: case_server.CaseServer) -> None:
    assert embedded.embedded
    answer = send(address, PATH, b'{"instances": [' + b"[]," * 16_000_000 + b"[]]}")
    assert (answer.status, answer.error) == (400, "JSON Parse error: more than 4000000 lists and objects")
    assert peak_memory(embedded.embedded.process.pid) < 2048 * MEBI  # with all the tests before this one
