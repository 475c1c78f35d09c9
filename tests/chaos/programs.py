"""Every program of the lab is killed and stopped; healthy has to mean working, and each comes back by itself."""

import contextlib
import os
import signal
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.chaos.processes import children, manager, pid_of, tree
from tests.chaos.scene import Scene
from tests.running import Answer, request, wait_until

_BACK = 30.0  # seconds
_STOPPED_BACK = 60.0  # a stopped one has to be noticed first


def play(scene: Scene) -> bool:
    """One program after the other, and TensorBoard's data server, which is its child."""
    signals = (signal.SIGKILL, signal.SIGSTOP) if scene.long else (signal.SIGKILL,)
    works = _works(scene)
    for name, condition in works.items():
        wait_until(condition, 90, f"{name} to work")
    met = True
    for number in signals:
        for program, service in list(_victims(scene)):
            pid = _victims(scene)[program, service]  # of now: one that was staged may have been its parent
            os.kill(pid, number)
            working = works[service]
            scene.seconds_until(partial(_fails, working), 3)
            waited = scene.seconds_until(working, _BACK if number == signal.SIGKILL else _STOPPED_BACK)
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


def _fails(working: Callable[[], bool]) -> bool:
    return not working()


def _victims(scene: Scene) -> dict[tuple[str, str], int]:
    """Program and service -> process id."""
    found = {(each.program, each.service): each.pid for each in manager(scene.lab).processes()}
    for pid in children(found["tensorboard", "tensor-board"]):
        found["data-server", "tensor-board"] = pid
    return found


def _works(scene: Scene) -> dict[str, Callable[[], bool]]:
    """What each service is for, tried; not its health check. Every answer within two seconds."""
    lab = scene.lab

    def get(port: str, path: str) -> Answer | None:
        with contextlib.suppress(OSError):
            return request(urllib.request.Request(lab.url(port, path)), timeout=2)
        return None

    def answers(port: str, path: str) -> bool:
        answer = get(port, path)
        return answer is not None and answer.status == 200

    def serving() -> bool:
        return scene.client()() == "200" and answers("INVENTORY", "/")

    return {
        "tensor-serving": serving,
        "tensor-rest": lambda: answers("REST", "/tf/models") and scene.answers(),
        "tensor-board": lambda: answers("BOARD", "/data/runs"),
        "tensor-jupyter": lambda: answers("JUPYTER", "/api"),
        "lab": lambda: _is_alive(pid_of(lab, "monitor")),
    }


def _is_alive(pid: int) -> bool:
    """Whether the process is there, and neither stopped nor a zombie."""
    with contextlib.suppress(OSError):
        return bool(pid) and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "TZ"
    return False
