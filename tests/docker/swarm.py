"""Three Docker engines on this machine, each in a network namespace, as three machines of a Swarm; for root."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.running import wait_until

_NET = "10.77.0"
_BRIDGE = "lab-swarm"
HOST = f"{_NET}.1"


def run(*command: str, given: str | None = None) -> str:
    """What a command prints; AssertionError with what it says if it fails."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
    return done.stdout


class Node:
    """An engine in a namespace of its own, at `address`."""

    def __init__(self, number: int, folder: Path, registry: str) -> None:
        self.number, self.folder = number, folder / str(number)
        self.name, self.address = f"lab-node{number}", f"{_NET}.{10 + number}"
        self._registry = registry
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        namespace, cable = self.name, f"lab-cable{self.number}"
        run("ip", "netns", "add", namespace)
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        run("ip", "link", "set", cable, "master", _BRIDGE, "up")
        run("ip", "-n", namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            run("ip", "-n", namespace, "link", "set", device, "up")
        run("ip", "-n", namespace, "route", "add", "default", "via", HOST)
        engine = (
            f"hostname {self.name}; exec dockerd --data-root {self.folder}/data --exec-root {self.folder}/exec "
            f"--pidfile {self.folder}/pid -H unix://{self.folder}/sock --insecure-registry {self._registry}"
        )
        # nsenter, since `ip netns exec` mounts /sys anew, and the engine would not see its control groups.
        command = ["nsenter", f"--net=/run/netns/{namespace}", "unshare", "--uts", "sh", "-c", engine]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: self._answers(), 60, f"the engine of {self.name}")

    def docker(self, *words: str, given: str | None = None, **environment: str) -> str:
        """What the docker client says of this engine."""
        command = ["env", *(f"{name}={value}" for name, value in environment.items()), "docker"]
        return run(*command, "-H", f"unix://{self.folder}/sock", *words, given=given)

    def lose(self) -> None:
        """The machine is gone: cable, engine and containers."""
        run("ip", "link", "set", f"lab-cable{self.number}", "down")
        self.kill()

    def kill(self) -> None:
        """End the engine and every container of it, at once."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process:
            self._process.wait(20)
            self._process = None

    def remove(self) -> None:
        with suppress(AssertionError):
            self.docker("swarm", "leave", "--force")
        self.kill()
        mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for place in sorted((each for each in mounted if each.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "--lazy", place], check=False)
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False)

    def _pids(self) -> list[int]:
        """The processes in the namespace and under the engine's folder; shims come first, which would bury the rest."""
        inside = run("ip", "netns", "pids", self.name).split()
        marked = subprocess.run(["pgrep", "--full", str(self.folder)], capture_output=True, text=True, check=False)
        children = [pid for each in marked.stdout.split() for pid in _descendants(int(each))]
        return [int(pid) for pid in (*marked.stdout.split(), *inside, *children) if int(pid) != os.getpid()]

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        try:
            self.docker("version")
        except AssertionError:
            return False
        return True


@contextmanager
def nodes(folder: Path, registry: str, count: int = 3) -> Iterator[list[Node]]:
    """A Swarm; the first node is its manager."""
    with ExitStack() as stack:
        run("ip", "link", "add", _BRIDGE, "type", "bridge")
        stack.callback(run, "ip", "link", "delete", _BRIDGE)
        run("ip", "addr", "add", f"{HOST}/24", "dev", _BRIDGE)
        run("ip", "link", "set", _BRIDGE, "up")
        rule = ("FORWARD", "-i", _BRIDGE, "-o", _BRIDGE, "-j", "ACCEPT")
        run("iptables", "-I", *rule)
        stack.callback(run, "iptables", "-D", *rule)
        made = [Node(number + 1, folder, registry) for number in range(count)]
        for node in made:
            stack.callback(node.remove)
            node.start()
        manager, *workers = made
        manager.docker("swarm", "init", "--advertise-addr", manager.address)
        token = manager.docker("swarm", "join-token", "--quiet", "worker").strip()
        for worker in workers:
            worker.docker("swarm", "join", "--token", token, f"{manager.address}:2377")
        yield made


def tasks(manager: Node, service: str) -> dict[str, str]:
    """Where a service's tasks are wanted and run: image by node."""
    format_ = '{"node":"{{.Node}}","state":"{{.CurrentState}}","image":"{{.Image}}"}'
    lines = manager.docker(
        "service", "ps", "--no-trunc", "--filter", "desired-state=running", "--format", format_, service
    )
    found = [json.loads(line) for line in lines.splitlines()]
    return {each["node"]: each["image"] for each in found if each["state"].startswith("Running")}


def _descendants(pid: int) -> list[str]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return children + [below for child in children for below in _descendants(int(child))]


def settled(manager: Node, service: str, image: str, count: int) -> bool:
    """Whether so many tasks run, all of this image, and no update is under way."""
    time.sleep(0.5)  # the command costs as much as the look
    state = manager.docker("service", "inspect", "--format", "{{with .UpdateStatus}}{{.State}}{{end}}", service).strip()
    assert "rollback" not in state, state
    running = tasks(manager, service)
    return state != "updating" and len(running) == count and all(image in found for found in running.values())
