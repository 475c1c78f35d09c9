"""Models that end the model server: while they are loaded, and when they are called."""

import contextlib
import itertools
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lab_engine.chaos.load import Client
from tests.chaos.processes import pid_of, restarts_of
from tests.chaos.scene import Scene
from tests.running import wait_until

_LOAD_SECONDS = 6.0  # of the version that is killed in its warm-up
_OUTAGE = 5.0  # seconds


def in_load(scene: Scene) -> bool:
    """An abort; in the long form also SIGSEGV, and KILL as the kernel sends it when memory is exhausted."""
    wait_until(scene.answers, 60, "an answer")
    ways = (0, signal.SIGSEGV, signal.SIGKILL) if scene.long else (0,)
    met = [_crash(scene, way) for way in ways]
    return all(met)


def _crash(scene: Scene, number: int) -> bool:
    name = {0: "abort", signal.SIGSEGV: "segfault", signal.SIGKILL: "memory"}[signal.Signals(number) if number else 0]
    export = scene.crash_model("load", _LOAD_SECONDS if number else 0)
    before = restarts_of(scene.lab, "model-server")
    with scene.load(20) as load:
        scene.pause(1)
        folder = scene.publish(export, f"chaos-{name}")
        with _killed_in_warm_up(scene, folder.name, number):
            waited = scene.seconds_until(lambda: scene.model(folder.name).get("quarantined"), 60)
        reason = (scene.model(folder.name).get("quarantined") or [{"reason": ""}])[0]["reason"]
        crashes = restarts_of(scene.lab, "model-server") - before
        scene.lab.compose("restart", "tensor-serving", code=None)
        scene.pause(3)
        again = restarts_of(scene.lab, "model-server") - before - crashes
        shutil.rmtree(folder)
        forgotten = scene.seconds_until(lambda: not scene.model(folder.name), 15) < 15
        scene.pause(2)
    figures = scene.note_load(load.summary(), name)
    scene.note(
        **{f"{name}_crashes": crashes, f"{name}_crashes_after_restart": again, f"{name}_forgotten": forgotten},
        **{f"{name}_quarantined_after_s": waited, f"{name}_reason": reason[:160]},
    )
    return not figures.failed and figures.longest <= 1000 * _OUTAGE and bool(reason) and not again and forgotten


@contextmanager
def _killed_in_warm_up(scene: Scene, model: str, number: int) -> Iterator[None]:
    """Send the signal to each process of the server 3 s after its configuration lists the model (2 s into the load)."""
    over = threading.Event()
    config = scene.lab.home / "run" / "models.config"

    def watch() -> None:
        begun = 0.0
        pid = 0
        while not over.wait(0.1):
            now = pid_of(scene.lab, "model-server")
            if now != pid or model not in config.read_text():
                begun, pid = time.monotonic(), now
            elif pid and time.monotonic() - begun > 3:  # it looks at its list once a second
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                begun = time.monotonic()

    watcher = threading.Thread(target=watch)
    if number:
        watcher.start()
    try:
        yield
    finally:
        over.set()
        if number:
            watcher.join()


def in_request(scene: Scene) -> bool:
    """Calls that abort a model's server, one after the other, beside the others' calls.

    All have different bodies, because the gateway does not send a body again that crashed a server. Each model gets too
    few of them to be quarantined.
    """
    names = [f"chaos-request-{number}" for number in range(3 if scene.long else 1)]
    for name in names:
        scene.publish(scene.crash_model("request"), name)
    wait_until(lambda: all(_halve(scene, name, 0) == "200" for name in names), 60, "the models to be served")
    before, answers = restarts_of(scene.lab, "model-server"), []
    with scene.load(20) as load:
        for name, value in itertools.product(names, (1, 2)):
            answers.append(_halve(scene, name, value))
            scene.pause(2)
        scene.seconds_until(scene.answers, 30)
    figures = scene.note_load(load.summary())
    crashes = restarts_of(scene.lab, "model-server") - before
    scene.note(requests=len(answers), crashes=crashes, answers_to_them=", ".join(answers))
    return crashes <= len(answers) and not figures.failed


def _halve(scene: Scene, model: str, value: int) -> str:
    """The status of a call of the model that crashes above zero."""
    url = scene.lab.url("REST", f"/v1/models/{model}:predict")
    return Client(url, b'{"instances": [%d]}' % value, {"Content-Type": "application/json"})()
