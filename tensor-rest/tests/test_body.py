"""Request bodies: bounded memory for all together, keys before bytes, a minimum rate, and no disk."""

import os
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from gateway_kit import HTTP, Front, free_port, image_file, metric, needs_nginx, start_front, wait_until
from toy_model_server import Model, ModelServer

from tensor_rest.middleware import api_keys

MIB = 1 << 20
KEY, LINE = api_keys.create("ada")
KEYED = {"X-API-Key": KEY}


@pytest.fixture(scope="module")
def toy() -> Iterator[ModelServer]:
    server = ModelServer(mnist_net=Model()).start()
    yield server
    server.stop()


def post(front: Front, data: bytes, **headers: str) -> int:
    files = {"image": ("digit", data)}
    return HTTP.post(f"{front.url}/predictlabel", files=files, headers=KEYED | headers).status_code


def begin_upload(front: Front, key: str = KEY, length: int = 10 * MIB, sent: int = 300_000) -> socket.socket:
    """A connection on which a part of a body was sent."""
    host, port = front.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    head = f"POST /predictlabel HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Length: {length}\r\n"
    connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=XX\r\n\r\n".encode())
    connection.setblocking(False)
    with suppress(BlockingIOError, ConnectionError):  # refused already
        connection.send(bytes(sent))
    return connection


def status(connection: socket.socket) -> int:
    connection.setblocking(True)
    return int(connection.recv(100).split()[1])


def drips_no_more(connection: socket.socket) -> bool:
    """Send one byte more; whether there is an answer."""
    with suppress(BlockingIOError):
        connection.send(b"x")
    with suppress(BlockingIOError):
        return bool(connection.recv(1, socket.MSG_PEEK))
    return False


def memory_bytes(front: Front) -> int:
    """Resident memory of nginx and uWSGI, less what they share."""
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) in [each.pid for each in front.processes]:
                resident, shared = map(int, (process / "statm").read_text().split()[1:3])
                found += (resident - shared) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue
    return found


@needs_nginx
def test_stalled_uploads_hold_bounded_memory_and_hinder_no_small_request(toy: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(LINE)
    large = image_file(60, (1500, 1500), "BMP")
    front = start_front(
        "nginx",
        tmp_path / "run",
        toy.address,
        TENSOR_REST_PROCESSES="1",
        TENSOR_REST_API_KEYS_FILE=str(tmp_path / "keys"),
        TENSOR_REST_BODY_MEMORY_BYTES=str(64 * MIB),
    )
    try:
        assert post(front, large) == 200
        before = memory_bytes(front)

        slow = begin_upload(front)
        # With this question two are in flight: it has its memory before the others come.
        wait_until(lambda: metric(front, "tensor_rest_in_flight", **KEYED) == 2)
        unknown = begin_upload(front, "lab_wrong")  # refused, though no more of its body comes
        stalled = [begin_upload(front) for _ in range(256)]
        try:
            with ThreadPoolExecutor(8) as pool:
                statuses = list(pool.map(lambda _: post(front, image_file(60)), range(200)))
            assert statuses.count(200) >= 0.95 * len(statuses)
            assert status(unknown) == 401
            wait_until(lambda: drips_no_more(slow))
            assert status(slow) == 408
            assert memory_bytes(front) - before < 150 * MIB
            assert list((front.run_dir / "nginx" / "body").iterdir()) == []
        finally:
            for connection in (unknown, slow, *stalled):
                connection.close()
        wait_until(lambda: post(front, large) == 200)
    finally:
        front.kill()


@needs_nginx
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_on_a_full_disk_everything_is_answered_also_after_a_restart(toy: ModelServer, tmp_path: Path) -> None:
    disk = tmp_path / "run"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("this root may not mount a disk")
    options = {"TENSOR_REST_PROCESSES": "1", "TENSOR_REST_PORT": str(free_port())}

    def answers(front: Front) -> list[int]:
        return [post(front, image_file(60, size, "BMP")) for size in ((28, 28), (500, 500), (1700, 1700))]

    try:
        front = start_front("nginx", disk, toy.address, **options)
        try:
            with pytest.raises(OSError, match="No space left"):
                (disk / "filler").write_bytes(bytes(4 * MIB))
            assert answers(front) == [200, 200, 200]
            assert HTTP.get(f"{front.url}/metrics").status_code == 200
            front.stop()
            front = start_front("nginx", disk, toy.address, **options)
            assert answers(front) == [200, 200, 200]
        finally:
            front.kill()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
