"""Where the model server is: the addresses behind a target of gRPC's kind, looked up again when one of them fails."""

import itertools
import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from tensor_rest.backend.status import Code, RpcError

_LOOK_UP_SECONDS = 0.2
"""Between two looks at a name: a restarted container may come back with another address."""

_AVOID_SECONDS = 0.5
"""An address that failed comes after all others so long."""


class Address(NamedTuple):
    """A family and address as `socket` takes them."""

    family: int
    where: tuple[str, int] | str


class Addresses:
    """The addresses of `target`, in turn. Nothing is looked up before the first call.

    Targets are host:port, dns:///host:port, ipv4:a:p,b:p, ipv6:[a]:p,[b]:p, unix:path, unix-abstract:name; ValueError
    is raised for any other. `authority` is what the server is told that it was asked as.
    """

    def __init__(self, target: str) -> None:
        self.authority, self._look_up = _read(target)
        self._target = target
        self._known: list[Address] = []
        self._looked_at = 0.0
        self._stale = True
        self._failed: dict[Address, float] = {}
        self._turns = itertools.count()
        self._lock = threading.Lock()

    def turn(self) -> list[Address]:
        """All addresses, another one first each time. Raises RpcError (UNAVAILABLE) if there are none."""
        if not self._known or (self._stale and self._due()):
            self._refresh()
        known = self._known
        if len(known) < 2:
            if not known:
                raise RpcError(Code.UNAVAILABLE, f"no address of {self._target} is known")
            return known
        first = next(self._turns) % len(known)
        turn = known[first:] + known[:first]
        if self._failed:
            now = time.monotonic()
            turn.sort(key=lambda address: now - self._failed.get(address, 0.0) < _AVOID_SECONDS)
        return turn

    def failed(self, address: Address) -> None:
        """It could not be reached, or was lost: others come first, and the name is looked up again."""
        self._failed[address] = time.monotonic()
        self._stale = True

    def reached(self, address: Address) -> None:
        """It could be reached."""
        self._failed.pop(address, None)

    def _due(self) -> bool:
        return time.monotonic() - self._looked_at > _LOOK_UP_SECONDS

    def _refresh(self) -> None:
        if not self._lock.acquire(blocking=not self._known):
            return  # somebody looks; what was known is good enough until he knows
        try:
            if not self._stale or not self._due():
                return  # somebody has looked meanwhile
            self._stale = False
            try:
                self._known = self._look_up()
            except (OSError, UnicodeError) as error:
                self._stale = True
                if not self._known:
                    raise RpcError(Code.UNAVAILABLE, f"{self._target} cannot be looked up: {error}") from error
            finally:
                self._looked_at = time.monotonic()
            self._failed = {address: at for address, at in self._failed.items() if address in self._known}
        finally:
            self._lock.release()


def _read(target: str) -> tuple[str, Callable[[], list[Address]]]:
    """The authority of a target, and what looks its addresses up."""
    scheme, _, rest = target.partition(":")
    if scheme == "unix":
        path = rest[2:] if rest.startswith("///") else rest
        return "localhost", lambda: [Address(socket.AF_UNIX, path)]
    if scheme == "unix-abstract":
        return "localhost", lambda: [Address(socket.AF_UNIX, f"\0{rest}")]
    if scheme in ("ipv4", "ipv6") and not rest.isdigit():
        family = socket.AF_INET if scheme == "ipv4" else socket.AF_INET6
        places = [_place(part, target) for part in rest.split(",")]
        return rest.split(",")[0], lambda: [Address(family, place) for place in places]
    name = target
    if scheme == "dns" and not rest.isdigit():
        name = rest.removeprefix("///")
    place = _place(name, target)
    return name, lambda: _named(*place)


def _place(text: str, target: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or "/" in bare or (":" in bare and bare == host) or not port.isdecimal() or int(port) > 65535:
        raise ValueError(
            f"{target!r} is no address of a gRPC server; wanted host:port, [ipv6]:port, dns:///host:port, "
            "ipv4:address:port,..., ipv6:[address]:port,..., unix:path or unix-abstract:name"
        )
    return bare, int(port)


def _named(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(Address(family, where) for family, _, _, _, where in found))  # type: ignore[arg-type]
