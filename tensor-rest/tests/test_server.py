"""The whole gateway as users meet it: real nginx and uWSGI processes on a real model server."""

import fcntl
import json
import os
import pwd
import socket
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bombs
import httpx
import pytest
from gateway_kit import HTTP, Front, check_http_error, image_file, needs_nginx, start_front, wait_until
from toy_model_server import Model, ModelServer

FRONTS = [pytest.param("nginx", marks=needs_nginx), pytest.param("uwsgi")]
only_nginx = pytest.mark.parametrize("front", FRONTS[:1], indirect=True, scope="module")
only_uwsgi = pytest.mark.parametrize("front", FRONTS[1:], indirect=True, scope="module")


@pytest.fixture(scope="module")
def toy() -> Iterator[ModelServer]:
    server = ModelServer(mnist_net=Model(), bare_net=Model(card=None)).start()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=FRONTS)
def front(
    request: pytest.FixtureRequest, toy: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp(request.param)
    feedback = {"TENSOR_REST_FEEDBACK_DIR": str(folder / "feedback")}
    running = start_front(request.param, folder / "run", toy.address, **feedback)
    yield running
    running.stop()
    assert running.alive() == []


def post(front: Front, path: str, data: bytes, **options: object) -> httpx.Response:
    return HTTP.post(front.url + path, files={"image": ("digit.png", data)}, **options)


def raw(front: Front, request: bytes) -> bytes:
    """What comes back for these very bytes, until the other side closes."""
    host, port = front.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


# ---- answers and refusals, the same through both fronts


def test_an_image_is_answered(front: Front) -> None:
    response = post(front, "/tf/mnist/mnist-net?limit=1", image_file(60), headers={"X-Request-Id": "mine-1"})
    assert response.json() == {"classification_result": [{"digit": 2, "probability": 0.91}]}
    assert response.headers["X-Model-Name"] == "mnist-net"
    assert response.headers["X-Model-Version"] == "1"
    assert response.headers["X-Request-Id"] == "mine-1"
    assert post(front, "/predictlabel", image_file(130, (600, 500), "JPEG")).json()["success"] is True
    assert (
        post(front, "/predictlabel", image_file(60), headers={"X-Request-Id": "a b"}).headers["X-Request-Id"] != "a b"
    )


def test_the_pages_and_probes_answer(front: Front) -> None:
    for path in (
        "/",
        "/tf/",
        "/tf/swagger.json",
        "/static/page.js",
        "/swaggerui/swagger-ui-bundle.js",
        "/healthz",
        "/readyz",
    ):
        response = HTTP.get(front.url + path)
        assert response.status_code == 200, path
        assert response.headers["Content-Security-Policy"]
    assert HTTP.get(f"{front.url}/tf", follow_redirects=True).url == f"{front.url}/tf/"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"not an image", 415),
        (image_file(60, (300, 300), "JPEG")[:700], 400),
        (bombs.png_pixels(), 413),
        (bytes(20_000_000), 413),
    ],
    ids=["empty", "no image", "truncated", "13,000 x 13,000", "20 MB"],
)
def test_a_file_at_fault_is_refused(front: Front, data: bytes, status: int) -> None:
    for path in ("/tf/mnist/mnist-net", "/predictlabel"):
        check_http_error(post(front, path, data), status)


def test_requests_at_fault_are_refused(front: Front) -> None:
    check_http_error(HTTP.post(f"{front.url}/predictlabel"), 400)
    check_http_error(HTTP.post(f"{front.url}/predictlabel", data={"image": "x"}), 400)
    check_http_error(post(front, "/tf/mnist/mnist-net?limit=0", image_file(60)), 400)
    check_http_error(post(front, "/tf/mnist/unknown", image_file(60)), 404)
    check_http_error(post(front, "/nowhere", bytes(20_000_000)), 413 if front.kind == "nginx" else 404)
    response = HTTP.get(f"{front.url}/predictlabel")
    check_http_error(response, 405)
    assert "POST" in response.headers["Allow"]


@pytest.mark.parametrize(
    "path",
    ["/tf/mnist/../../etc/passwd", "/tf/mnist/%2e%2e/%2e%2e/x", "/static/..%2fapp.py", "/tf/models/a%00b", "/%00"],
)
def test_paths_that_lead_elsewhere_are_refused(front: Front, toy: ModelServer, path: str) -> None:
    before = len(toy.calls)
    answer = raw(front, f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert int(head.split()[1]) in (400, 404)
    assert set(json.loads(body)) == {"message", "code", "request_id"}
    assert len(toy.calls) == before


def test_sixteen_at_once_get_their_own_answers(front: Front) -> None:
    digits = [index % 10 for index in range(320)]

    def send(digit: int) -> int:
        response = post(front, "/tf/mnist/bare-net?limit=1", image_file(25 * digit + 12))
        return int(response.json()["classification_result"][0]["digit"])

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(send, digits)) == digits


def test_feedback_that_waits_for_the_lock_of_its_folder_holds_up_no_other_request(front: Front) -> None:
    folder = front.run_dir.parent / "feedback"
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("wb") as lock, ThreadPoolExecutor(1) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = pool.submit(post, front, "/tf/models/mnist-net/feedback?label=7", image_file(60))
        try:
            with pytest.raises(TimeoutError):
                kept.result(0.5)
            assert post(front, "/predictlabel", image_file(60), timeout=10).status_code == 200
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)
        assert kept.result(20).status_code == 201


def test_a_restart_of_serving_loses_no_request(front: Front, toy: ModelServer) -> None:
    """Requests under way and those that come meanwhile are answered late; the probes go on telling the truth."""
    over = threading.Event()

    def send() -> set[int]:
        statuses = set()
        while not over.is_set():
            statuses.add(post(front, "/predictlabel", image_file(60)).status_code)
        return statuses

    with ThreadPoolExecutor(12) as pool:
        callers = [pool.submit(send) for _ in range(12)]
        try:
            wait_until(lambda: len(toy.calls) > 50)
            toy.stop()
            try:
                wait_until(lambda: HTTP.get(f"{front.url}/readyz").status_code == 503)
                assert HTTP.get(f"{front.url}/healthz").status_code == 200
            finally:
                toy.start()
            toy.calls.clear()
            wait_until(lambda: len(toy.calls) > 50)
        finally:
            over.set()
        assert [each.result(30) for each in callers] == [{200}] * 12


# ---- stopping and starting


@pytest.mark.parametrize("kind", FRONTS)
def test_term_leaves_nothing_behind_and_a_stale_socket_does_no_harm(
    kind: str, toy: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / ("a rather long folder with spaces and a ' quote in its name " * 3) / "run"
    run.mkdir(parents=True)
    if kind == "nginx":
        monkeypatch.chdir(run)  # the name of a socket ends at 107 characters
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind("uwsgi.sock")
    front = start_front(kind, run, toy.address)
    try:
        assert post(front, "/predictlabel", image_file(60)).status_code == 200
        if kind == "nginx":
            assert stat.S_IMODE((run / "uwsgi.sock").stat().st_mode) == 0o600
        assert front.stop() == [0] * len(front.processes)
        assert front.alive() == []
        assert {path.name for path in run.iterdir()} <= {"nginx.conf", "nginx"}
        with pytest.raises(httpx.ConnectError):
            HTTP.get(front.url)
    finally:
        front.kill()


def others_may_run(program: str) -> bool:
    """Whether another user may reach the interpreter; root's home is closed to them."""
    path = Path(program)
    return all(folder.stat().st_mode & 0o001 for each in (path, path.resolve()) for folder in each.parents)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user; without root all tests are this one")
@pytest.mark.skipif(not others_may_run(sys.executable), reason="another user cannot reach this Python interpreter")
@pytest.mark.parametrize("kind", FRONTS)
def test_it_needs_no_root(kind: str, toy: ModelServer) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        run = Path(folder) / "run"
        run.mkdir()
        os.chown(run, nobody, -1)
        log = Path(folder) / "run.log"
        log.touch()
        os.chown(log, nobody, -1)
        front = start_front(kind, run, toy.address, user=nobody)
        try:
            assert post(front, "/predictlabel", image_file(60, (900, 900), "BMP")).status_code == 200
            assert front.stop() == [0] * len(front.processes)
        finally:
            front.kill()


# ---- nginx by itself


@only_nginx
def test_errors_of_nginx_have_our_shape(front: Front) -> None:
    check_http_error(HTTP.get(front.url, headers={"X-Big": "x" * 40_000}), 431)
    check_http_error(HTTP.get(f"{front.url}/{'x' * 40_000}"), 414)
    for request, status in (
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505),
    ):
        head, _, body = raw(front, request).partition(b"\r\n\r\n")
        assert int(head.split()[1]) == status
        assert json.loads(body)["code"] == status


@only_nginx
def test_a_chunked_body_is_bounded_too(front: Front) -> None:
    head = {"Content-Type": "multipart/form-data; boundary=x"}
    body = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="d"\r\n\r\n' + image_file(60) + b"\r\n--x--\r\n"
    )
    small = HTTP.post(f"{front.url}/predictlabel", content=iter([body[:40], body[40:]]), headers=head)
    assert small.json()["most_probable_label"] == "2"
    check_http_error(
        HTTP.post(f"{front.url}/predictlabel", content=(bytes(1 << 20) for _ in range(20)), headers=head), 413
    )


@only_nginx
def test_the_access_log_is_json_without_bodies(front: Front) -> None:
    post(front, '/tf/mnist/mnist-net?limit=1&x="secret', image_file(60), headers={"X-Request-Id": "logged-1"})

    def entry() -> dict | None:
        lines = [line for line in front.log.read_text().splitlines() if "logged-1" in line]
        return json.loads(lines[0]) if lines else None

    logged = wait_until(entry, 10)
    assert (logged["path"], logged["status"], logged["model"], logged["version"]) == (
        "/tf/mnist/mnist-net",
        200,
        "mnist-net",
        "1",
    )
    assert "secret" not in front.log.read_text()


@only_uwsgi
def test_a_chunked_body_without_nginx_is_411_with_a_remedy(front: Front) -> None:
    answer = raw(front, b"POST /predictlabel HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert b" 411 " in answer.splitlines()[0]
    assert b"Content-Length" in answer
