"""The network and the clock: packets that vanish, names that do not resolve, time that jumps."""

import shutil
import struct
import subprocess
import time
from pathlib import Path

from lab_engine.chaos.load import Load, summary
from tests.chaos.scene import Scene, SkippedError
from tests.running import ROOT, free_ports, wait_until

_BACK = 15.0  # seconds
_MAX_MS = 16_000.0  # milliseconds until a call is answered, if with an error: the deadline of 15 s, and a second
_CLEAR = {"200", "503", "504"}
_CLOCK = Path(__file__).with_name("clock.c")
_NAME = "model-server.test"


def drop(scene: Scene) -> bool:
    """Packets to the model server vanish, as when a node is cut off; in a network of the lab's own."""
    _network()
    wait_until(scene.answers, 60, "an answer")
    rule = ("INPUT", "-p", "tcp", "--dport", str(scene.lab.ports["SERVING"]), "-j", "DROP")
    with scene.load(20) as load:
        scene.pause(2)
        _run("iptables", "-A", *rule)
        begin = time.monotonic()
        try:
            scene.pause(_seconds(scene))
        finally:
            _run("iptables", "-D", *rule)
        end = time.monotonic()
        back = scene.seconds_until(scene.answers, 60)
        scene.pause(3)
    return _bar_met(scene, load, begin, end, back)


def dns(scene: Scene) -> bool:
    """The model server's name does not resolve, while the server is restarted."""
    _network()
    hosts = _own_file(scene, "/etc/hosts", f"127.0.0.1 localhost {_NAME}\n")
    _own_file(scene, "/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    target = f"dns:///{_NAME}:{scene.lab.ports['SERVING']}"
    gateway = scene.gateway(target, scene.lab.url("INVENTORY"))
    gateway.wait()
    call = gateway.client()
    with scene.load(20, gateway.client()) as load:
        scene.pause(2)
        hosts.write_text("127.0.0.1 localhost\n")
        begin = time.monotonic()
        scene.pause(_seconds(scene) / 2)
        scene.lab.compose("restart", "tensor-serving", code=None)
        scene.pause(_seconds(scene) / 2)
        hosts.write_text(f"127.0.0.1 localhost {_NAME}\n")
        end = time.monotonic()
        back = scene.seconds_until(lambda: call() == "200", 60)
        scene.pause(3)
    return _bar_met(scene, load, begin, end, back)


def clock(scene: Scene) -> bool:
    """The clock jumps an hour on and back, for model server and gateway alike."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise SkippedError("there is no C compiler for the clock")
    library, offset = scene.folder / "clock.so", scene.folder / "offset"
    offset.write_bytes(bytes(8))
    _run(compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(_CLOCK))
    variables = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(offset)}
    shipped = ROOT / "tensor-serving-gpu" / "serving" / "mnist-net"
    config, (port, rest_port) = scene.folder / "models.config", free_ports(2)
    config.write_text(
        f'model_config_list {{ config {{ name: "mnist-net" base_path: "{shipped}" model_platform: "tensorflow" }} }}\n'
    )
    flags = (f"--port={port}", f"--rest_api_port={rest_port}", f"--model_config_file={config}")
    scene.program("tensor_serving", "serve", *flags, **variables)
    gateway = scene.gateway(f"127.0.0.1:{port}", f"http://127.0.0.1:{free_ports(1)[0]}/", **variables)
    gateway.wait()
    with scene.load(20, gateway.client()) as load:
        for jump in (0, 3600, 0, -3600, 0):
            with offset.open("r+b") as file:
                file.write(struct.pack("=q", jump))
            scene.pause(10 if scene.long else 2)
    figures = scene.note_load(load.summary())
    return not figures.failed


def _seconds(scene: Scene) -> float:
    return 30.0 if scene.long else 6.0


def _bar_met(scene: Scene, load: Load, begin: float, end: float, back: float) -> bool:
    during = scene.note_load(summary(load.between(begin, end)), "during")
    after = scene.note_load(summary(load.between(end + min(back, _BACK) + 1, time.monotonic())), "after")
    slowest = max(call.seconds for call in load.calls) * 1000
    scene.note(back_after_s=back, slowest_answer_ms=slowest)
    return set(during.outcomes) <= _CLEAR and not after.failed and back <= _BACK and slowest <= _MAX_MS


def _network() -> None:
    """Loopback of the namespace that this process was started in."""
    if not shutil.which("iptables") or not shutil.which("ip"):
        raise SkippedError("ip and iptables are not installed")
    _run("ip", "link", "set", "lo", "up")


def _own_file(scene: Scene, path: str, text: str) -> Path:
    """A system's file replaced in this mount namespace."""
    own = scene.folder / Path(path).name
    own.write_text(text)
    _run("mount", "--bind", str(own), path)
    return own


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
