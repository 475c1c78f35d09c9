"""Checks that change nothing: what would make `up` fail later is found and named before anything is started."""

import contextlib
import os
import shutil
import socket
from pathlib import Path

from .errors import EngineError
from .settings import HOST, Settings

GIB = 1024**3
# Measured: the environment takes 2.3 GiB, and pip needs room for one unpacked wheel beside it.
SPACE_FOR_ENVIRONMENT = 4 * GIB
SPACE_TO_RUN = GIB // 4


def check_folder(settings: Settings, needed: int) -> None:
    """The state folder can be made and written, and its disk has `needed` bytes free; raises EngineError otherwise."""
    folder = settings.home
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise EngineError(
            f"the state folder {folder} cannot be written ({error.strerror}): make it writable for "
            f"user {os.getuid()}, or set LAB_HOME to a folder that is"
        ) from None
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EngineError(
            f"the disk of {folder} has {free / GIB:.1f} GiB free and {needed / GIB:.1f} GiB are needed: "
            "free some, or set LAB_HOME to a folder on another disk"
        )


def check_ports(settings: Settings) -> None:
    """Every port of the lab is free; raises EngineError naming the taken ones, who holds them and what to do."""
    taken = [(field, port) for field, port in vars(settings.ports).items() if not is_free(port)]
    if taken:
        lines = [
            f"port {port} is taken by {holder(port)}: stop that, or choose another port with "
            f"LAB_{field.upper()}_PORT={next_free(port)}"
            for field, port in taken
        ]
        raise EngineError("\n  ".join(lines) if len(lines) == 1 else "\n  " + "\n  ".join(lines))


def is_free(port: int) -> bool:
    """True if a server could listen on the port now; connections of an earlier one that linger do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True


def next_free(port: int) -> int:
    """The first free port above this one."""
    return next(candidate for candidate in [*range(port + 1, 65536), *range(1024, port)] if is_free(candidate))


def holder(port: int) -> str:
    """Who listens on the port, as far as this user may see: `process 12 (python3 -m http.server)`."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening_inodes(Path("/proc/net") / table, port)}
    for pid in (entry.name for entry in Path("/proc").glob("[0-9]*")):
        if inodes & _socket_inodes(pid):
            command = Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            return f"process {pid} ({command[:80]})"
    return "a process of another user" if inodes else "another process"


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
                found.add(os.readlink(link))  # noqa: PTH115 - what a socket's link says is no path
    return {link[len("socket:[") : -1] for link in found if link.startswith("socket:[")}
