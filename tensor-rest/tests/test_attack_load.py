"""What attackers and bad days do to a running gateway: clients that vanish, floods, programs killed and hung."""

import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from gateway_kit import HTTP, Front, check_http_error, image_file, metric, needs_nginx, start_front, wait_until
from toy_model_server import Model, ModelServer

pytestmark = needs_nginx

PROCESSES, THREADS = 2, 8
IMAGE = image_file(60)
FORM = b'--XX\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + IMAGE + b"\r\n--XX--\r\n"
HEAD = (
    b"POST /predictlabel HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=XX\r\n"
    b"Content-Length: %d\r\n\r\n" % len(FORM)
)


@pytest.fixture(scope="module")
def toy() -> Iterator[ModelServer]:
    server = ModelServer(mnist_net=Model()).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def front(toy: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    running = start_front(
        "nginx",
        tmp_path_factory.mktemp("load") / "run",
        toy.address,
        TENSOR_REST_PROCESSES=str(PROCESSES),
        TENSOR_REST_CONCURRENCY=str(THREADS),
        TF_SERVER_TIMEOUT_SECONDS="2",
        TF_SERVER_GRACE_SECONDS="0",
    )
    yield running
    running.kill()  # after what it went through here; how it ends at a signal is test_server's


def connect(front: Front) -> socket.socket:
    host, port = front.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def vanish(connection: socket.socket) -> None:
    """Close with a reset, as a client does that crashed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def post(front: Front, timeout: float = 30) -> httpx.Response:
    return HTTP.post(f"{front.url}/predictlabel", files={"image": IMAGE}, timeout=timeout)


def is_idle(front: Front) -> bool:
    """No request is in flight but the one that reads this."""
    return metric(front, "tensor_rest_in_flight") == 1


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def threads(front: Front) -> int:
    """Of all uWSGI workers."""
    return sum(len(list(Path(f"/proc/{worker}/task").iterdir())) for worker in children(front.processes[0].pid))


def answers_well(front: Front) -> bool:
    """Several in a row, so that every worker had its turn."""
    return {post(front).status_code for _ in range(8)} == {200}


@contextmanager
def load(front: Front, clients: int) -> Iterator[set[int | str]]:
    """So many clients send without a break; the statuses they get, `cut: ...` for a connection that was cut."""
    over, found = threading.Event(), set[int | str]()

    def send() -> None:
        while not over.is_set():
            try:
                found.add(post(front).status_code)
            except httpx.TransportError as error:
                found.add(f"cut: {error!r}")

    with ThreadPoolExecutor(clients) as pool:
        for _ in range(clients):
            pool.submit(send)
        wait_until(lambda: found)
        try:
            yield found
        finally:
            over.set()


# ---- clients


def test_clients_that_vanish_in_mid_upload_cost_no_worker(front: Front) -> None:
    before = metric(front, "tensor_rest_in_flight")
    connections = [connect(front) for _ in range(200)]
    for number, connection in enumerate(connections):
        connection.sendall((HEAD + FORM)[: len(HEAD) + number % len(FORM)])
    assert metric(front, "tensor_rest_in_flight") == before
    for connection in connections:
        vanish(connection)
    assert answers_well(front)
    assert is_idle(front)


def test_clients_that_vanish_before_their_answer_free_their_threads(front: Front, toy: ModelServer) -> None:
    let_go, arrived = threading.Event(), threading.Event()
    toy.on_images = lambda _: (arrived.set(), let_go.wait(10))[1]
    connections = [connect(front) for _ in range(PROCESSES * THREADS)]
    try:
        for connection in connections:
            connection.sendall(HEAD + FORM)
        arrived.wait(10)
        for connection in connections:
            vanish(connection)
    finally:
        let_go.set()
        toy.on_images = lambda _: None
    wait_until(lambda: is_idle(front), 20)
    assert answers_well(front)


def test_a_flood_of_connections_blocks_no_other_client(front: Front) -> None:
    """A thousand that say nothing, and as many requests on one connection that reads no answers."""
    connections = [connect(front) for _ in range(1000)]
    silent = connect(front)
    try:
        silent.setblocking(False)
        silent.send(b"GET /tf/models HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        assert answers_well(front)
        assert HTTP.get(f"{front.url}/readyz").status_code == 200
    finally:
        for connection in (*connections, silent):
            connection.close()
    wait_until(lambda: is_idle(front), 20)


def test_a_storm_of_probes_reaches_serving_a_few_times(front: Front, toy: ModelServer) -> None:
    before = len(toy.calls)
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: HTTP.get(f"{front.url}/readyz").status_code, range(400)))
    assert set(statuses) == {200}
    assert len(toy.calls) - before < 100


# ---- serving


def test_a_hanging_model_server_leaves_threads_bounded_and_503(front: Front, toy: ModelServer) -> None:
    let_go = threading.Event()
    assert answers_well(front)
    before = threads(front)
    toy.hold = let_go
    try:
        with load(front, 40) as found:
            wait_until(lambda: found & {503, 504}, 20)
            assert HTTP.get(f"{front.url}/healthz").status_code == 200
            assert threads(front) <= before + PROCESSES * 4
            refused = wait_until(lambda: next((a for a in (post(front),) if a.status_code != 200), None), 20)
            check_http_error(refused, refused.status_code)
        assert found <= {200, 503, 504}
    finally:
        let_go.set()
        toy.hold = None
    wait_until(lambda: answers_well(front), 20)
    wait_until(lambda: is_idle(front), 20)


def test_serving_killed_under_load_is_503_and_found_again(front: Front, toy: ModelServer) -> None:
    with load(front, 16) as found:
        toy.stop()
        wait_until(lambda: 503 in found, 20)
        assert HTTP.get(f"{front.url}/healthz").status_code == 200
        wait_until(lambda: HTTP.get(f"{front.url}/readyz").status_code == 503, 20)
        toy.start()
        wait_until(lambda: answers_well(front), 20)
    assert found <= {200, 503, 504}
    wait_until(lambda: HTTP.get(f"{front.url}/readyz").status_code == 200, 20)  # a look holds for a second


# ---- the gateway's own programs


def test_a_killed_worker_costs_no_request(front: Front) -> None:
    with load(front, 16) as found:
        victim = children(front.processes[0].pid)[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(set(children(front.processes[0].pid)) - {victim}) == PROCESSES, 20)
        wait_until(lambda: answers_well(front), 20)
    assert found == {200}  # nginx repeats those that were in the worker
    wait_until(lambda: is_idle(front), 20)


def test_more_than_a_worker_handles_wait_for_serving_and_a_killed_worker_loses_none(tmp_path: Path) -> None:
    toy = ModelServer(mnist_net=Model()).start()
    bounds = {"TENSOR_REST_CONCURRENCY": "4", "TENSOR_REST_PROCESSES": "1", "TF_SERVER_TIMEOUT_SECONDS": "120"}
    front = start_front("nginx", tmp_path / "run", toy.address, **bounds, TF_SERVER_GRACE_SECONDS="120")

    def held() -> float:
        """By the worker, besides the request for its metrics."""
        return metric(front, "tensor_rest_in_flight") - 1

    try:
        assert post(front).status_code == 200
        toy.stop()
        with ThreadPoolExecutor(24) as pool:
            calls = [pool.submit(post, front, 180) for _ in range(24)]
            try:
                wait_until(lambda: held() == 24, 90)
                os.kill(children(front.processes[0].pid)[0], signal.SIGKILL)
                wait_until(lambda: "Respawned uWSGI worker" in front.log.read_text() and held() == 24, 90)
            finally:
                toy.start()
            assert {call.result(180).status_code for call in calls} == {200}
    finally:
        front.kill()
        toy.stop()


def test_a_killed_worker_of_nginx_is_replaced(front: Front) -> None:
    with load(front, 8) as found:
        (victim,) = children(front.processes[1].pid)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in children(front.processes[1].pid) and children(front.processes[1].pid), 20)
        found.clear()
        wait_until(lambda: 200 in found, 20)
    assert {status for status in found if not str(status).startswith("cut: ")} == {200}
    wait_until(lambda: is_idle(front), 20)
