"""The model server is restarted under load: the embedded one, and a stand-in for TensorFlow Serving."""

import importlib
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from tests.chaos.scene import Scene
from tests.running import ROOT, free_ports, wait_until

_SHIPPED = ROOT / "tensor-serving-gpu" / "serving" / "mnist-net"


def _sizes(scene: Scene) -> tuple[int, float, float]:
    """Restarts, seconds between them, calls a second."""
    return (5, 15.0, 100.0) if scene.long else (1, 6.0, 40.0)


def embedded(scene: Scene) -> bool:
    """Restart the embedded model server with `bin/compose.sh restart`."""
    restarts, seconds, rate = _sizes(scene)
    wait_until(scene.answers, 60, "an answer")
    with scene.load(rate) as load:
        for _ in range(restarts):
            scene.pause(seconds / 2)
            scene.lab.compose("restart", "tensor-serving")
            scene.pause(seconds / 2)
    return scene.note_load(load.summary()).failed == 0


def as_tensorflow_serving(scene: Scene) -> bool:
    """`tensor_serving run` on a stand-in for the binary, restarted whole as a container is.

    Before the last restart a version is published that does not load.
    """
    stand_in: Any = importlib.import_module("tfs_stand_in")  # of the model server's own tests
    restarts, seconds, rate = _sizes(scene)
    models = scene.folder / "models"
    shutil.copytree(_SHIPPED, models / "mnist-net")
    port, rest_port, inventory = free_ports(3)
    flags = ("--models", models, "--port", port, "--rest-port", rest_port, "--inventory-port", inventory)
    path = f"{stand_in.install(scene.folder / 'bin').parent}{os.pathsep}{os.environ['PATH']}"
    serving = scene.program("tensor_serving", "run", *flags, PATH=path)
    gateway = scene.gateway(f"127.0.0.1:{port}", f"http://127.0.0.1:{inventory}/")
    gateway.wait()
    with scene.load(rate, gateway.client()) as load:
        for turn in range(restarts):
            scene.pause(seconds / 2)
            if turn == restarts - 1:
                _publish_damaged(models)
            serving.process.send_signal(signal.SIGTERM)
            serving.process.wait(20)
            serving = scene.program("tensor_serving", "run", *flags, PATH=path)
            scene.pause(seconds / 2)
    return scene.note_load(load.summary()).failed == 0


def _publish_damaged(models: Path) -> None:
    staged = models / ".staging" / "2"
    shutil.copytree(next(_SHIPPED.glob("[0-9]*")), staged)
    data = next((staged / "variables").glob("*.data-*"))
    data.write_bytes(b"damaged!" + data.read_bytes()[8:])
    staged.rename(models / "mnist-net" / "2")
