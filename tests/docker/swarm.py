"""Three Docker engines on this machine, each in a network namespace, as three machines of a Swarm; for root."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests import namespaces
from tests.namespaces import run
from tests.running import wait_until

_NET = "10.77.0"
_BRIDGE = "lab-swarm"
HOST = f"{_NET}.1"


class Node:
    """An engine in a namespace of its own, at `address`."""

    def __init__(self, number: int, folder: Path, registry: str) -> None:
        self.number, self.folder = number, folder / str(number)
        self.name, self.address = f"lab-node{number}", f"{_NET}.{10 + number}"
        self._cable = f"lab-cable{number}"
        self._registry = registry
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        namespaces.add(self.name, self._cable, f"{self.address}/24", gateway=HOST)
        run("ip", "link", "set", self._cable, "master", _BRIDGE)
        engine = (
            f"hostname {self.name}; exec dockerd --data-root {self.folder}/data --exec-root {self.folder}/exec "
            f"--pidfile {self.folder}/pid -H unix://{self.folder}/sock --insecure-registry {self._registry}"
        )
        command = namespaces.inside(self.name, "unshare", "--uts", "sh", "-c", engine)
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: self._answers(), 60, f"the engine of {self.name}")

    def docker(self, *words: str, given: str | None = None, **environment: str) -> str:
        """The output of the docker client, for this engine."""
        command = ["env", *(f"{name}={value}" for name, value in environment.items()), "docker"]
        return run(*command, "-H", f"unix://{self.folder}/sock", *words, given=given)

    def lose(self) -> None:
        """The machine is gone: cable, engine and containers."""
        run("ip", "link", "set", self._cable, "down")
        self.kill()

    def kill(self) -> None:
        """End the engine and every container of it, at once."""
        namespaces.kill_all(self.name, self.folder)
        if self._process:
            self._process.wait(20)
            self._process = None

    def remove(self) -> None:
        with suppress(AssertionError):
            self.docker("swarm", "leave", "--force")
        self.kill()
        namespaces.unmount(self.folder)
        namespaces.remove({self.name})
        subprocess.run(["ip", "link", "delete", self._cable], capture_output=True, check=False)  # if it is left

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
        for left in range(count):  # of a run that was killed
            namespaces.remove({f"lab-node{left + 1}"})
        subprocess.run(["ip", "link", "delete", _BRIDGE], capture_output=True, check=False)
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


def settled(manager: Node, service: str, image: str, count: int) -> bool:
    """Whether so many tasks run, all of this image, and no update is under way."""
    state = manager.docker("service", "inspect", "--format", "{{with .UpdateStatus}}{{.State}}{{end}}", service).strip()
    assert "rollback" not in state, state
    running = tasks(manager, service)
    return state != "updating" and len(running) == count and all(image in found for found in running.values())
