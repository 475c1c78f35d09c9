"""The lab's ports: which are in use, by which process, and which free ones to use instead."""

import contextlib
import os
import socket
from collections.abc import Collection, Mapping
from pathlib import Path

from .errors import EngineError
from .settings import HOST

_MARK = b"TENSOR_LAB_SUPERVISED="  # an environment variable of all processes that the local engine starts


def check(ports: Mapping[str, int], others: Collection[int] = ()) -> None:
    """Raise EngineError, with the holder and a free port to use, for ports (by name in the settings) in use.

    others: further ports of this lab, which are not offered as free ones. No port is offered twice.
    """
    used = {*ports.values(), *others}
    lines = []
    for name, port in ports.items():
        if not is_free(port):
            offer = next_free(port, used)
            used.add(offer)
            lines.append(
                f"port {port} is taken by {holder(port)}: stop that, or choose another port with "
                f"LAB_{name.upper()}_PORT={offer}"
            )
    if lines:
        raise EngineError("\n  ".join(lines))


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port now; lingering connections of an earlier one do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True


def next_free(port: int, used: Collection[int] = ()) -> int:
    """Return the first free port above this one that is not among the `used`."""
    candidates = [*range(port + 1, 65536), *range(1024, port)]
    free: int = next(candidate for candidate in candidates if candidate not in used and is_free(candidate))
    return free


def holder(port: int) -> str:
    """Return what listens on the port, as far as visible: `process 12 (python3 -m http.server)`, and its lab."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening_inodes(Path("/proc/net") / table, port)}
    for pid in (entry.name for entry in Path("/proc").glob("[0-9]*")):
        if inodes & _socket_inodes(pid):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                command = Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                return f"process {pid} ({command.strip()[:80]}){_lab_of(pid)}"
    return "a process of another user" if inodes else "another process"


def _lab_of(pid: str) -> str:
    """Return ` of the lab in FOLDER` for a process of a local lab, else an empty string."""
    with contextlib.suppress(OSError):
        for variable in Path("/proc", pid, "environ").read_bytes().split(b"\0"):
            if variable.startswith(_MARK):
                return f" of the lab in {os.fsdecode(variable.removeprefix(_MARK))}"
    return ""


def _listening_inodes(table: Path, port: int) -> set[str]:
    # Columns of /proc/net/tcp: 1 local address (hex), 3 state (0A is LISTEN), 9 inode; see proc(5).
    if not table.exists():
        return set()
    lines = [line.split() for line in table.read_text().splitlines()[1:]]
    return {line[9] for line in lines if line[3] == "0A" and int(line[1].rpartition(":")[2], 16) == port}


def _socket_inodes(pid: str) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):  # another user's process
        for link in Path("/proc", pid, "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                found.add(os.readlink(link))  # noqa: PTH115 - a socket's link is not a path
    return {link[len("socket:[") : -1] for link in found if link.startswith("socket:[")}
