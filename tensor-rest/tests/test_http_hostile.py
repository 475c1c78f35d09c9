"""HTTP written to deceive: requests that two servers would read differently, and clients that never get done."""

import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from gateway_kit import HTTP, Front, image_file, needs_nginx, start_front, wait_until
from toy_model_server import Model, ModelServer

pytestmark = needs_nginx
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    toy = ModelServer(mnist_net=Model()).start()
    running = start_front("nginx", tmp_path_factory.mktemp("http") / "run", toy.address)
    yield running
    running.stop()
    toy.stop()


def connect(front: Front) -> socket.socket:
    host, port = front.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def statuses(front: Front, request: str, *, end: bool = False) -> list[int]:
    """The status of every answer to these bytes until the other side closes; `end`: nothing more will be sent."""
    with connect(front) as connection:
        connection.sendall(request.encode("latin-1"))
        if end:
            connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    for body in re.findall(rb'\{"message".*?"request_id":"[^"]*"\}', answer):
        assert set(json.loads(body)) == {"message", "code", "request_id"}
    return [int(code) for code in re.findall(rb"^HTTP/1\.1 (\d+)", answer, re.MULTILINE)]


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 0\r\nContent-Length: 44",
        "Content-Length: 44\r\nContent-Length: 44",
        "Content-Length: 0, 44",
        "Content-Length: +44",
        "Content-Length: -1",
        "Content-Length: 0x2c",
        "Content-Length: 99999999999999999999999",
        "Content-Length : 44",
        " Content-Length: 44",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "X: y\rTransfer-Encoding: chunked",
        "X: a\x00b",
        "Host: y",
    ],
)
def test_a_body_whose_end_is_unclear_ends_the_connection(front: Front, head: str) -> None:
    """One refusal, and what follows is not taken for a request of its own."""
    request = f"POST /predictlabel HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n"
    found = statuses(front, f"{request}0\r\n\r\n{SMUGGLED}")
    assert len(found) == 1
    assert found[0] in (400, 413, 501)
    assert "smuggled" not in front.log.read_text()


@pytest.mark.parametrize(
    "line",
    [
        "GET http://127.0.0.1/healthz HTTP/1.1",
        "GET HTTP://evil.example/healthz HTTP/1.1",
        "GET ftp://evil.example/tf/models HTTP/1.1",
        "CONNECT 127.0.0.1:9000 HTTP/1.1",
        "GET //evil.example HTTP/1.1 HTTP/1.1",
        "GET /healthz\x00 HTTP/1.1",
        "GET /%zz HTTP/1.1",
        "GET healthz HTTP/1.1",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_a_request_line_that_is_none_is_refused(front: Front, line: str) -> None:
    found = statuses(front, f"{line}\r\nHost: localhost\r\n\r\n")
    assert found in ([400], [405]), found


@pytest.mark.parametrize(
    "chunks", ["5\r\nabc\r\n0\r\n\r\n", "zz\r\n", "ffffffffffffffff1\r\n", "-1\r\n\r\n", "1;" + "x" * 9000]
)
def test_broken_chunks_are_refused(front: Front, chunks: str) -> None:
    head = "POST /predictlabel HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    found = statuses(front, head + chunks + SMUGGLED, end=True)
    assert found in ([400], [])  # none: the body was cut off, and the connection is closed
    assert "smuggled" not in front.log.read_text()


def test_headers_of_ours_cannot_be_written_by_a_client(front: Front) -> None:
    """Names that become the same as another's in CGI, or as a parameter of nginx's."""
    spoofed = "X_Request_Id: evil\r\nX_Forwarded_For: 10.9.9.9\r\nTensor_Rest.Arrived: 1\r\nREMOTE_ADDR: 10.9.9.9"
    head = "GET /tf/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-Id: spoof-1"
    assert statuses(front, f"{head}\r\n{spoofed}\r\n\r\n") == [200]
    logged = wait_until(lambda: [line for line in front.log.read_text().splitlines() if "spoof-1" in line], 10)
    assert json.loads(logged[0])["client"] == "127.0.0.1"
    assert "evil" not in front.log.read_text()


# ---- clients that never get done


def slow_header(connection: socket.socket) -> None:
    connection.sendall(b"POST /predictlabel HTTP/1.1\r\nHost: x\r\nX-")


def slow_body(connection: socket.socket) -> None:
    connection.sendall(b"POST /predictlabel HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\nabc")


def slow_reader(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    connection.sendall(b"GET /swaggerui/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 4)


@pytest.mark.parametrize("stall", [slow_header, slow_body, slow_reader])
def test_many_slow_clients_block_no_other_client(front: Front, stall: Callable[[socket.socket], None]) -> None:
    """Three hundred, four times as many as there are threads in the workers."""
    connections = [connect(front) for _ in range(300)]
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(stall, connections))
            sent = [
                pool.submit(HTTP.post, f"{front.url}/predictlabel", files={"image": image_file(60)}) for _ in range(50)
            ]
            assert {one.result().status_code for one in sent} == {200}
        assert HTTP.get(f"{front.url}/readyz").status_code == 200
    finally:
        for connection in connections:
            connection.close()


def test_slow_headers_and_bodies_are_given_up(front: Front) -> None:
    """Both at the same time, as each takes its time: the connection is closed, or gets an answer first."""

    def ended(stall: Callable[[socket.socket], None]) -> bytes:
        with connect(front) as connection:
            stall(connection)
            try:
                return b"".join(iter(lambda: connection.recv(65536), b""))
            except ConnectionResetError:
                return b""

    results: dict[str, bytes] = {}
    threads = [
        threading.Thread(target=lambda stall=stall: results.update({stall.__name__: ended(stall)}))
        for stall in (slow_header, slow_body)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert set(results) == {"slow_header", "slow_body"}
    assert all(not answer or b" 408 " in answer.splitlines()[0] for answer in results.values())


@pytest.mark.skipif(shutil.which("slowhttptest") is None, reason="slowhttptest is not installed")
def test_slowhttptest_finds_others_served_and_itself_cut_off(front: Front) -> None:
    """Six hundred connections: headers that go on forever, and bodies whose next piece is late."""
    common = ["-c", "300", "-r", "300", "-l", "60", "-v", "1", "-u", f"{front.url}/predictlabel"]
    slow = [
        subprocess.Popen(["slowhttptest", *mode, *common], stdout=subprocess.PIPE, text=True)
        for mode in (["-H", "-i", "3"], ["-B", "-i", "18", "-s", "900000"])
    ]
    try:
        while any(each.poll() is None for each in slow):
            assert HTTP.post(f"{front.url}/predictlabel", files={"image": image_file(60)}, timeout=5).status_code == 200
            with suppress(subprocess.TimeoutExpired):
                slow[-1].wait(0.1)
        for each in slow:
            report = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", each.communicate()[0])  # colours
            assert "No open connections left" in report, report[-2000:]  # not: the test's time was over
            assert re.findall(r"service available: +(\w+)", report)[-1] == "YES"
    finally:
        for each in slow:
            each.kill()
            each.wait()
