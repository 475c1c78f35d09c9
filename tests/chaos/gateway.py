"""The gateway's workers are killed, and a gateway is stopped, under load."""

import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lab_engine.chaos.load import Client
from tests.chaos.processes import children, pid_of
from tests.chaos.scene import Gateway, Scene
from tests.running import wait_until

_IDLE_EXIT = 1.0  # seconds


def kill_worker(scene: Scene) -> bool:
    """One worker at a time, by its process id."""
    turns, between = (10, 6.0) if scene.long else (2, 4.0)
    wait_until(scene.answers, 60, "an answer")
    uwsgi = pid_of(scene.lab, "uwsgi")
    in_flight, kills = 0, []
    with scene.load(60) as load:
        for _ in range(turns):
            scene.pause(between)
            workers = wait_until(lambda: children(uwsgi), 20, "a worker")
            in_flight += load.in_flight()
            os.kill(random.choice(workers), signal.SIGKILL)
            kills.append(time.monotonic())
        scene.pause(between)
    after = [call for kill in kills for call in load.between(kill, kill + 1) if call.failed]
    figures = scene.note_load(load.summary())
    scene.note(kills=turns, in_flight=in_flight, failed_in_the_second_after=len(after))
    return figures.failed <= in_flight and not after


def drain(scene: Scene) -> bool:
    """Two gateways and a client that follows their readiness, as a load balancer does."""
    server, inventory = scene.serving()
    pair = [scene.gateway(server, inventory) for _ in range(2)]
    for gateway in pair:
        gateway.wait()
    first, second = pair
    with _balanced(pair) as client, scene.load(60, client) as load:
        scene.pause(3)
        busy = _stop(first)
        scene.pause(3)
    scene.pause(1)
    idle = _stop(second)
    tracebacks = sum(each.program.log.read_text().count("Traceback") for each in pair)
    figures = scene.note_load(load.summary())
    scene.note(exit_under_load_s=busy, exit_idle_s=idle, exit_codes=[each.program.process.returncode for each in pair])
    scene.note(tracebacks=tracebacks)
    codes = [each.program.process.returncode for each in pair]
    return not figures.failed and idle <= _IDLE_EXIT and codes == [0, 0] and not tracebacks


def _stop(gateway: Gateway) -> float:
    begin = time.monotonic()
    gateway.program.process.send_signal(signal.SIGTERM)
    gateway.program.process.wait(60)
    return time.monotonic() - begin


class _Balanced:
    """Calls that go to the ready gateways in turn; one that cannot be connected to is passed over."""

    def __init__(self, gateways: list[Gateway]) -> None:
        self.ready = set(range(len(gateways)))
        self._clients = [gateway.client() for gateway in gateways]
        self._probes: list[Client] = [gateway.client("/readyz", None, timeout=2) for gateway in gateways]
        self._turn = itertools.count()

    def __call__(self) -> str:
        first = next(self._turn)
        ready = sorted(self.ready) or list(range(len(self._clients)))
        outcome = "refused"
        for offset in range(len(ready)):
            outcome = self._clients[ready[(first + offset) % len(ready)]]()
            if outcome != "refused":
                break
        return outcome

    def look(self) -> None:
        self.ready = {number for number, probe in enumerate(self._probes) if probe() == "200"}


@contextmanager
def _balanced(gateways: list[Gateway]) -> Iterator[_Balanced]:
    balanced, over = _Balanced(gateways), threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            balanced.look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield balanced
    finally:
        over.set()
        watcher.join()
