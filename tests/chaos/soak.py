"""Half of what the lab can do, for a long time, mixed with calls that are cut off: nothing fails, nothing grows."""

import contextlib
import functools
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from lab_engine.chaos.load import Client
from tests.chaos.processes import Recorder, files, manager, rss, tree
from tests.chaos.scene import IMAGE, Scene
from tests.running import wait_until

_MAX_SLOPE = 1.0  # MiB per 10 minutes, of all services together but JupyterLab
_MAX_FILES = 8  # more open files at the end than in the middle
_MAX_RATE = 400.0  # a second; more would measure the load's own program
_CLIENTS = 8
_BURST_CLIENTS = 512  # more than a stall of a second leaves waiting


def play(scene: Scene) -> bool:
    """30 minutes, or 10 seconds."""
    seconds = 1800.0 if scene.long else 10.0
    wait_until(scene.answers, 60, "an answer")
    mixed = _mixed(scene)
    most = _closed_loop(mixed, 3.0, _CLIENTS)
    if scene.long:
        # A process keeps the memory that many simultaneous requests needed. This burst takes it before the measurement,
        # so that a later burst does not look like a leak.
        _closed_loop(mixed, 30.0, _BURST_CLIENTS)
    rate = min(most / 2, _MAX_RATE)
    watched = {each.program: each.pid for each in manager(scene.lab).processes() if each.program != "jupyterlab"}

    def pids() -> list[int]:
        return [pid for parent in watched.values() for pid in tree(parent)]

    with ExitStack() as stack:
        memory = stack.enter_context(Recorder(lambda: rss(pids()), 1.0))
        by_program = {
            program: stack.enter_context(Recorder(functools.partial(_rss_of, pid), 1.0))
            for program, pid in watched.items()
        }
        opened = stack.enter_context(Recorder(lambda: files(pids()), 1.0))
        with scene.load(rate, mixed) as load, _Aborts(scene) as aborts:
            scene.pause(seconds)
        scene.pause(2)
    figures = scene.note_load(load.summary())
    middle = opened.samples[len(opened.samples) // 2][1]
    grown = opened.samples[-1][1] - middle
    scene.note(seconds=seconds, max_per_s=most, aborts=aborts.count, rss_mib=memory.samples[-1][1], files_grown=grown)
    scene.note(rss_slope_mib_per_10_min=memory.slope())
    scene.note(**{f"slope_of_{program}": recorder.slope() for program, recorder in by_program.items()})
    steady = not scene.long or memory.slope() <= _MAX_SLOPE  # seconds are too short for a slope
    return not figures.failed and grown <= _MAX_FILES and steady


def _rss_of(program: int) -> float:
    return rss(tree(program))


def _mixed(scene: Scene) -> Callable[[], str]:
    """Images, tensors as JSON, and lists, in turn."""
    rows = json.dumps({"instances": [[[[0]] * 28] * 28]}).encode()
    clients: list[Client] = [
        scene.client(),
        scene.client("/tf/models/mnist-net/classify"),
        scene.client(),
        scene.client("/v1/models/mnist-net:predict", rows, **{"Content-Type": "application/json"}),
        scene.client("/tf/models", None),
    ]
    turn = itertools.count()
    return lambda: clients[next(turn) % len(clients)]()


def _closed_loop(send: Callable[[], str], seconds: float, clients: int) -> float:
    """Answers a second with so many clients, each of which sends when it has its answer."""
    end, counts = time.monotonic() + seconds, []

    def client() -> None:
        count = 0
        while time.monotonic() < end:
            count += send() == "200"
        counts.append(count)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


class _Aborts:
    """Ten clients a second that vanish: in their body, or before their answer."""

    def __init__(self, scene: Scene) -> None:
        self.count = 0
        self._address = ("127.0.0.1", scene.lab.ports["REST"])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "_Aborts":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        head = (
            "POST /tf/mnist/mnist-net HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: "
            f"{len(IMAGE)}\r\nContent-Type: multipart/form-data; boundary=tensor-lab-chaos\r\n\r\n"
        ).encode()
        while not self._stop.wait(0.1):
            size = len(IMAGE) if self.count % 2 else len(IMAGE) // 2
            with contextlib.suppress(OSError), socket.create_connection(self._address, timeout=5) as connection:
                connection.sendall(head + IMAGE[:size])
            self.count += 1
