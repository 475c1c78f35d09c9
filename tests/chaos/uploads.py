"""Many large uploads at once, half of them stalled, beside small requests."""

import contextlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread

from tests.chaos.processes import MIB, Recorder, pid_of, rss, tree
from tests.chaos.scene import FORM, Scene
from tests.running import wait_until

_UPLOAD = 10 * MIB - 4096  # bytes: the largest body that is taken, nearly
_LIMIT = 512.0  # MiB: half of the gateway's default memory limit in .deploy/localhost-compose.yml
_FLOOR_MS = 50.0  # a p99 below it is not the uploads'


def play(scene: Scene) -> bool:
    """The small requests before, and beside the uploads."""
    count, seconds = (256, 30.0) if scene.long else (64, 4.0)
    wait_until(scene.answers, 60, "an answer")
    with scene.load(20) as quiet:
        scene.pause(seconds / 2)
    before = scene.note_load(quiet.summary(), "before")
    spool = scene.lab.home / "run" / "rest" / "nginx"

    def held() -> float:
        """Memory of the gateway and the bodies it keeps in files, which are memory where they lie in a tmpfs."""
        files = 0
        with contextlib.suppress(OSError):
            files = sum(path.stat().st_blocks * 512 for path in spool.rglob("*") if path.is_file())
        return rss([*tree(pid_of(scene.lab, "uwsgi")), *tree(pid_of(scene.lab, "nginx"))]) + files / MIB

    with Recorder(held, 0.5) as memory, scene.load(20) as load, _uploads(scene, count) as answered:
        scene.pause(seconds)
    beside = scene.note_load(load.summary(), "beside")
    scene.note(uploads=count, uploads_answered=len(answered), gateway_peak_mib=memory.peak)
    within = memory.peak <= _LIMIT and beside.p99 <= 2 * max(before.p99, _FLOOR_MS)
    return within and beside.failed <= 0.05 * beside.calls


@contextmanager
def _uploads(scene: Scene, count: int) -> Iterator[list[bytes]]:
    """Run `count` uploads, half of which stop in the middle; yield the list of their answers."""
    answered: list[bytes] = []
    head = "POST /tf/mnist/mnist-net HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\nContent-Type: {}\r\n\r\n"
    start = head.format(_UPLOAD, FORM["Content-Type"]).encode()

    def upload(connection: socket.socket, size: int) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(start + bytes(size))
            if answer := connection.recv(4096):
                answered.append(answer)

    with ExitStack() as stack:
        threads = []
        for number in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", scene.lab.ports["REST"]), 60))
            threads.append(Thread(target=upload, args=(connection, _UPLOAD if number % 2 else _UPLOAD // 2)))
            stack.callback(_cut, connection)
        for thread in threads:
            thread.start()
        yield answered
    for thread in threads:
        thread.join()


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
