"""Find the processes that listen on the lab's ports, and their addresses, in the kernel's tables under /proc."""

import contextlib
import ipaddress
import os
import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tensor_jupyter.doctor import web
from tensor_jupyter.doctor.discovery import Where
from tensor_jupyter.doctor.finding import Finding, ok, problem, warning

_PROC = Path("/proc")
_MARK = b"TENSOR_LAB_SUPERVISED="  # in the environment of all processes that the local engine's supervisor starts
_GUARDED = ("tensor-rest", "tensor-jupyter")  # the two with authentication; whether it is on is checked elsewhere


@dataclass(frozen=True)
class Listener:
    """A listening socket. process: such as "nginx (12)"; lab: the state folder of its lab; "" if unknown."""

    port: int
    address: str
    process: str = ""
    lab: str = ""

    @property
    def is_open(self) -> bool:
        """Whether other machines can reach it."""
        address = ipaddress.ip_address(self.address)
        return not (getattr(address, "ipv4_mapped", None) or address).is_loopback


def listeners(where: Where) -> list[Listener]:
    """All listeners on the lab's ports. Raises OSError if the system has no such tables."""
    sockets = {inode: found for table in ("tcp", "tcp6") for inode, found in _table(_PROC / "net" / table).items()}
    wanted = {inode: found for inode, found in sockets.items() if found[1] in where.ports}
    owners = _owners(set(wanted)) if wanted else {}
    return sorted(
        (Listener(port, address, *owners.get(inode, ("", ""))) for inode, (address, port) in wanted.items()),
        key=lambda found: found.port,
    )


def check(where: Where, silent: set[str]) -> list[Finding]:
    """Whether another lab, or a program in place of a `silent` service, listens on the lab's ports."""
    try:
        found = listeners(where)
    except OSError:
        return [ok("ports", "what listens cannot be seen on this system")]
    others = [each for each in found if _is_other(each, where, silent)]
    if others:
        return [_taken(where, others)]
    if where.container:
        return [ok("ports", f"{_format_listeners(found)}; those of other containers: bin/compose.sh ps")]
    return [ok("ports", _format_listeners(found) if found else f"free: {', '.join(map(str, where.ports))}")]


def exposure(where: Where) -> list[Finding]:
    """Which services other hosts can reach, and whether these authenticate them."""
    if where.container:  # its services listen for other containers; Docker decides what is published
        return [
            ok("exposure", "in a container: `docker ps` shows what is published, 127.0.0.1 in the lab's compose file")
        ]
    try:
        found = [each for each in listeners(where) if each.is_open]
    except OSError:
        return [ok("exposure", "what listens cannot be seen on this system")]
    exposed = [finding for each in found for finding in _exposed(where, each)]
    return exposed or [ok("exposure", "nothing of the lab listens beyond this machine")]


def _exposed(where: Where, each: Listener) -> list[Finding]:
    service = where.ports[each.port]
    found = f"{service} can be reached from other machines at {each.address}:{each.port}"
    if service == "tensor-rest":
        if web.get(f"{where.gateway}/tf/models").status == 401:
            return [ok("exposure", f"{found}, with an API key")]
        fix = "bin/compose.sh down && TENSOR_REST_API_KEYS_FILE=keys.txt bin/compose.sh up"
        return [problem("exposure", f"{found} without a key", "127.0.0.1, or API keys (docs/security.md)", fix)]
    level = warning if service in _GUARDED else problem
    why = "only its token protects it" if service in _GUARDED else "it has no authentication"
    return [level("exposure", f"{found}; {why}", "127.0.0.1", "bin/compose.sh down && bin/compose.sh up")]


def _table(path: Path) -> dict[str, tuple[str, int]]:
    """Listening sockets: address and port by inode."""
    # Columns: 1 local address, 3 state (0A is LISTEN), 9 inode; see proc(5).
    if path.name == "tcp6" and not path.exists():
        return {}
    lines = [line.split() for line in path.read_text().splitlines()[1:]]
    return {line[9]: _address(line[1]) for line in lines if line[3] == "0A"}


def _address(text: str) -> tuple[str, int]:
    """Address and port of a text such as `0100007F:1F90`: 32-bit words in the machine's own byte order."""
    host, port = text.split(":")
    words = [int(host[at : at + 8], 16) for at in range(0, len(host), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words)), int(port, 16)


def _is_other(each: Listener, where: Where, silent: set[str]) -> bool:
    if each.lab and where.home:
        return Path(each.lab) != where.home
    return not each.lab and where.ports[each.port] in silent


def _taken(where: Where, others: list[Listener]) -> Finding:
    """One finding for all taken ports, with other ports for the lab."""
    taken, settings = [], []
    used = {*where.ports}
    for each in others:
        of_lab = f", of the lab in {each.lab}" if each.lab else ""
        taken.append(f"{each.port} by {each.process or 'a process of another user'}{of_lab}")
        used.add(offer := next_free(used))
        settings.append(f"{_variable(where, each.port)}={offer}")
    return problem(
        "ports", f"taken: {'; '.join(taken)}", "ports for the lab", f"{' '.join(settings)} bin/compose.sh up"
    )


def _variable(where: Where, port: int) -> str:
    names = {"tensor-rest": "LAB_REST_PORT", "tensor-jupyter": "LAB_JUPYTER_PORT", "tensor-board": "LAB_BOARD_PORT"}
    if where.ports[port] in names:
        return names[where.ports[port]]
    if port == where.serving[1]:
        return "LAB_SERVING_PORT"
    return "LAB_INVENTORY_PORT" if where.watcher.endswith(f":{port}") else "LAB_SERVING_REST_PORT"


def next_free(used: Collection[int]) -> int:
    """Return the first free port above the used ones, else one from 1024 on."""
    candidates = [*range(max(used) + 1, 65536), *range(1024, max(used))]
    free: int = next(port for port in candidates if _is_free(port))
    return free


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _owners(inodes: set[str]) -> dict[str, tuple[str, str]]:
    """The process that holds each socket, and its lab. Only names: command lines may contain secrets."""
    found: dict[str, tuple[str, str]] = {}
    for process in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            held = inodes & _sockets(process)
            name = f"{(process / 'comm').read_text().strip()} ({process.name})"
            found |= {inode: (name, _lab(process)) for inode in held if inode not in found}
    return found


def _sockets(process: Path) -> set[str]:
    """The inodes of the process's sockets. Raises OSError for another user's."""
    links = []
    for link in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            links.append(os.readlink(link))  # noqa: PTH115 - a socket's link is not a path
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


def _lab(process: Path) -> str:
    """The state folder of the lab that started the process or its ancestor: nginx overwrites its own environment."""
    with contextlib.suppress(OSError):  # up to the first process of another user
        while process.name != "0":
            for variable in (process / "environ").read_bytes().split(b"\0"):
                if variable.startswith(_MARK):
                    return os.fsdecode(variable.removeprefix(_MARK))
            # The parent is the second field after the name, which stands in parentheses and may hold anything.
            process = _PROC / (process / "stat").read_text().rpartition(")")[2].split()[1]
    return ""


def _format_listeners(found: list[Listener]) -> str:
    return ", ".join(f"{each.port} {each.process}".strip() for each in found) or "nothing listens"
