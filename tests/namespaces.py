"""Network namespaces as machines of their own on this one, and the end of what ran in them; for root."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.running import wait_until


def run(*command: str, given: str | None = None) -> str:
    """What a command prints; AssertionError with its error output if it fails."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
    return done.stdout


def inside(namespace: str, *command: str) -> list[str]:
    """The command, run in that network."""
    # nsenter, since `ip netns exec` mounts /sys anew, and a container engine would not see its control groups.
    return ["nsenter", f"--net=/run/netns/{namespace}", *command]


def add(namespace: str, cable: str, *addresses: str, gateway: str) -> None:
    """Add a network namespace with these addresses (10.0.0.2/24), and a veth pair whose outer end is named `cable`."""
    run("ip", "netns", "add", namespace)
    run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    run("ip", "link", "set", cable, "up")
    for address in addresses:
        run("ip", "-n", namespace, "addr", "add", address, "dev", "eth0")
    for device in ("eth0", "lo"):
        run("ip", "-n", namespace, "link", "set", device, "up")
    run("ip", "-n", namespace, "route", "add", "default", "via", gateway)


def kill_all(namespace: str, folder: Path) -> None:
    """Kill all processes in the namespace or with the folder in their command line, and their descendants."""
    wait_until(lambda: not _kill(namespace, folder), 30, f"the end of all that runs in {namespace}")


def _kill(namespace: str, folder: Path) -> bool:
    """Kill them; False if there were none."""
    marked = subprocess.run(["pgrep", "--full", f"{folder}/"], capture_output=True, text=True, check=False).stdout
    within = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False).stdout
    # With what they started: a shim's containers are found as its children only as long as it lives.
    found = [int(pid) for pid in (*marked.split(), *within.split())]
    pids = {each for first in found for each in (*_descendants(first), first)} - {os.getpid()}
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(pids)


def listed() -> set[str]:
    """The names of all there are."""
    return {line.split()[0] for line in run("ip", "netns", "list").splitlines()}


def remove(names: set[str]) -> None:
    """Delete those of these namespaces that exist."""
    for name in names & listed():
        run("ip", "netns", "delete", name)


def unmount(folder: Path) -> None:
    """Unmount all file systems below the folder."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in sorted((each for each in mounted if each.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", place], check=False)


def _descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [each for child in map(int, children) for each in (child, *_descendants(child))]
