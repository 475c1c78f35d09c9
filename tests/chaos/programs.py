"""Every program of the lab is killed and stopped; healthy has to mean working, and each comes back by itself."""

import contextlib
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lab_engine import settings, web
from lab_engine.chaos.load import Client
from lab_engine.local.services import Service, all_services
from tests.chaos.processes import children, manager, pid_of, tree
from tests.chaos.scene import FORM, IMAGE, Scene
from tests.running import Answer, request, wait_until

_BACK = 30.0  # seconds
_STOPPED_BACK = 60.0  # a stopped one has to be noticed first


def play(scene: Scene) -> bool:
    """Signal each program, then processes that are not supervisord's children, and supervisord itself last."""
    signals = (signal.SIGKILL, signal.SIGSTOP) if scene.long else (signal.SIGKILL,)
    works = _works(scene)
    for name, condition in works.items():
        wait_until(condition, 90, f"{name} to work")
    met = True
    for number in signals:
        for program, service in list(_victims(scene)):
            pid = _victims(scene)[program, service]  # of now: one that was staged may have been its parent
            working = works[service]
            os.kill(pid, number)
            wait_until(partial(_fails, partial(_is_alive, pid)), 5, "the signal to act")
            waited = _seconds_without(scene, working, _BACK if number == signal.SIGKILL else _STOPPED_BACK)
            if waited == float("inf") and number == signal.SIGSTOP:
                status = scene.lab.compose("status", code=None)
                healthy = any(line.split() == [service, "healthy"] for line in map(str.strip, status.splitlines()))
                scene.say(f"{service} is shown as {'healthy' if healthy else 'not healthy'} meanwhile")
                for each in tree(pid):  # so that the next one is staged on a working lab
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(each, signal.SIGCONT)
                wait_until(working, 60, f"{service} to work")
            scene.note(**{f"{program}_{signal.Signals(number).name[3:]}_back_after_s": waited})
            met = met and waited <= _BACK
    return met


def _seconds_without(scene: Scene, working: Callable[[], bool], most: float) -> float:
    """From now until it works again; 0.0 if it was back before it was seen to fail."""
    began = time.monotonic()
    if scene.seconds_until(partial(_fails, working), 5) == float("inf"):
        return 0.0
    waited = scene.seconds_until(working, most)
    return waited if waited == float("inf") else time.monotonic() - began


def _fails(working: Callable[[], bool]) -> bool:
    return not working()


def _victims(scene: Scene) -> dict[tuple[str, str], int]:
    """Program, and what has to work again after it -> process id."""
    found = {(each.program, each.service): each.pid for each in manager(scene.lab).processes()}
    for pid in children(found["tensorboard", "tensor-board"]):
        found["data-server", "tensor-board"] = pid
    for pid in children(found["monitor", "lab"]):
        found["guard", "lab"] = pid
    found["supervisord", "supervisord"] = int((scene.lab.home / "run" / "supervisord.pid").read_text())
    return found


def _works(scene: Scene) -> dict[str, Callable[[], bool]]:
    """Return a check of each service that uses it, unlike its health check; an answer must come within two seconds."""
    lab = scene.lab

    def get(port: str, path: str) -> Answer | None:
        with contextlib.suppress(OSError):
            return request(urllib.request.Request(lab.url(port, path)), timeout=2)
        return None

    def answers(port: str, path: str) -> bool:
        answer = get(port, path)
        return answer is not None and answer.status == 200

    def classifies() -> bool:
        """With a connection of its own: a kept one may have been a dead worker's."""
        path = "/tf/mnist/mnist-net"
        return Client(lab.url("REST", path), IMAGE, FORM | {"Connection": "close"}, timeout=2)() == "200"

    def serving() -> bool:
        return classifies() and answers("INVENTORY", "/")

    def watched() -> bool:
        monitor = pid_of(lab, "monitor")
        return _is_alive(monitor) and any(map(_is_alive, children(monitor)))

    def probed(service: Service) -> bool:
        return all(web.answers(program.probe) for program in service.programs)

    every = all_services(settings.load(lab.environment, running=True))
    services = {service.name: partial(probed, service) for service in every} | {
        "tensor-serving": serving,
        "tensor-rest": lambda: answers("REST", "/tf/models") and classifies(),
        "tensor-board": lambda: answers("BOARD", "/data/runs"),
        "tensor-jupyter": lambda: answers("JUPYTER", "/api"),
        "lab": watched,
    }

    def supervised() -> bool:
        return _is_alive(manager(lab).pid) and all(works() for works in services.values())

    return {**services, "supervisord": supervised}


def _is_alive(pid: int) -> bool:
    """Whether the process is there, and neither stopped nor a zombie."""
    with contextlib.suppress(OSError):
        return bool(pid) and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "TZ"
    return False
