"""The addresses of the model servers: those of a target in gRPC's syntax, or the lines of a file.

A name and a file are looked up again every second in the background while calls are made, and when an address fails.
"""

import ipaddress
import itertools
import random
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from tensor_rest.backend.status import Code, RpcError

_LOOK_UP_SECONDS = 0.2
"""Minimum time between two look-ups: a restarted container may have another address."""

_RENEW_SECONDS = 1.0
"""Age at which a name or file is looked up again in the background: replicas are added and removed."""

_STALE_SECONDS = 10.0
"""Age, as in an idle gateway, at which calls wait for the look-up: an address may now be another program's."""

_AVOID_SECONDS = 0.5
"""How long an address that failed is tried after all others."""


class Address(NamedTuple):
    """A family and address as `socket` takes them."""

    family: int
    where: tuple[str, int] | str


class _Found(NamedTuple):
    """What a look-up found: the addresses, and the URL of the list of models of each that has its own."""

    addresses: tuple[Address, ...] = ()
    inventories: Mapping[Address, str] = {}


class Addresses:
    """The addresses of `target`, round-robin. Nothing is looked up before the first call.

    Targets are host:port, dns:///host:port, ipv4:a:p,b:p, ipv6:[a]:p,[b]:p, unix:path, unix-abstract:name, and
    file:/path of lines `host:port inventory-host:port`; ValueError is raised for any other. `inventory_url` is the URL
    of the list of models: if its host is the target's, each address has its own list. `authority` is sent as the
    server's name.
    """

    def __init__(self, target: str, inventory_url: str = "") -> None:
        self.authority, self._look_up, self._changes = _read(target, urlsplit(inventory_url))
        self.target = target
        self._known = _Found()
        self._looked_at = 0.0
        self._stale = True
        self._renewing = False
        self._failed: dict[Address, float] = {}
        self._turns = itertools.count()
        self._lock = threading.Lock()

    def random_one(self, among: Collection[Address] | None = None) -> Address:
        """Return a random address, one in `among` if possible. Raises RpcError (UNAVAILABLE).

        Random and not in turn: calls made in between advance the turn too, and could skip the same address each time.
        """
        turn = self.turn(among)
        wanted = [address for address in turn if among is None or address in among]
        return random.choice(wanted or turn)

    def turn(self, among: Collection[Address] | None = None) -> list[Address]:
        """Return all addresses, another one first each time; those in `among` come before the others.

        Raises RpcError (UNAVAILABLE) if there are none.
        """
        self._keep_fresh()
        known = self._known.addresses
        if len(known) < 2:
            if not known:
                raise RpcError(Code.UNAVAILABLE, f"no address of {self.target} is known")
            return list(known)
        wanted = [address for address in known if among is None or address in among]
        first = next(self._turns) % max(1, len(wanted))
        turn = wanted[first:] + wanted[:first]
        if self._failed:
            now = time.monotonic()
            turn.sort(key=lambda address: now - self._failed.get(address, 0.0) < _AVOID_SECONDS)
        return turn + [address for address in known if address not in turn] if len(turn) < len(known) else turn

    def inventories(self) -> Mapping[Address, str]:
        """Return the URL of the list of models of each address; empty where they have none of their own."""
        try:
            self._keep_fresh()
        except RpcError:
            return {}
        return self._known.inventories

    def failed(self, address: Address) -> None:
        """Record that an address is unreachable, lost or refuses calls: it is tried last, the name looked up again."""
        self._failed[address] = time.monotonic()
        self._stale = True

    def reached(self, address: Address) -> None:
        """Record that an address could be reached."""
        self._failed.pop(address, None)

    def _keep_fresh(self) -> None:
        known = self._known.addresses  # empty until the first look-up has ended, which all callers wait for
        if known and not (self._stale or self._changes):
            return  # the addresses are fixed, as for the lab's one model server
        age = time.monotonic() - self._looked_at
        if not known or (self._stale and age > _LOOK_UP_SECONDS):
            self._refresh()
        elif self._changes and age > _STALE_SECONDS:
            self._stale = True
            self._refresh()
        elif self._changes and age > _RENEW_SECONDS and not self._renewing:
            self._renewing = self._stale = True
            threading.Thread(target=self._renew, name="addresses", daemon=True).start()

    def _renew(self) -> None:
        try:
            self._refresh()
        finally:
            self._renewing = False

    def _refresh(self) -> None:
        if not self._lock.acquire(blocking=not self._known.addresses):
            return  # another thread looks it up; the known addresses are used until then
        try:
            if not self._stale or time.monotonic() - self._looked_at <= _LOOK_UP_SECONDS:
                return  # another thread has looked it up meanwhile
            self._stale = False
            try:
                self._known = self._look_up()
            except (OSError, ValueError) as error:
                self._stale = True
                if not self._known.addresses:
                    raise RpcError(Code.UNAVAILABLE, f"{self.target} cannot be looked up: {error}") from error
            finally:
                self._looked_at = time.monotonic()
            known = self._known.addresses
            self._failed = {address: at for address, at in self._failed.items() if address in known}
        finally:
            self._lock.release()


def _read(target: str, inventory: SplitResult) -> tuple[str, Callable[[], _Found], bool]:
    """Return the authority of a target, the function that looks up its addresses, and whether these may change."""
    scheme, _, rest = target.partition(":")
    if scheme == "file":
        path = Path("/" + rest.lstrip("/"))
        return "localhost", lambda: _listed(path), True
    if scheme in ("unix", "unix-abstract"):
        path_text = rest[2:] if rest.startswith("///") else rest
        where = path_text if scheme == "unix" else f"\0{rest}"
        return "localhost", lambda: _Found((Address(socket.AF_UNIX, where),)), False
    if scheme in ("ipv4", "ipv6") and not rest.isdigit():
        family = socket.AF_INET if scheme == "ipv4" else socket.AF_INET6
        fixed = tuple(Address(family, _place(part, target)) for part in rest.split(","))
        return rest.split(",")[0], lambda: _Found(fixed), False
    name = target
    if scheme == "dns" and not rest.isdigit():
        name = rest.removeprefix("///")
    place = _place(name, target)
    own = inventory if place[0].lower() == inventory.hostname else None
    return name, lambda: _named(place, own), not is_ip(place[0])


def _named(place: tuple[str, int], inventory: SplitResult | None) -> _Found:
    """The addresses of a name; each has a list of models of its own if the list's URL has the same name."""
    entries = socket.getaddrinfo(*place, type=socket.SOCK_STREAM)
    found = tuple(dict.fromkeys(Address(family, where) for family, _, _, _, where in entries))  # type: ignore[arg-type]
    if inventory is None:
        return _Found(found)
    if len(found) == 1:  # by its name, whose address may change
        return _Found(found, {found[0]: inventory.geturl()})
    scheme, port = inventory.scheme, inventory.port or (443 if inventory.scheme == "https" else 80)
    return _Found(found, {a: f"{scheme}://{_host(a)}:{port}{inventory.path or '/'}" for a in found})


def _listed(path: Path) -> _Found:
    """Return the model servers in a file, one per line. Raises ValueError for an invalid line, or if there is none."""
    found: dict[Address, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if fields := line.partition("#")[0].split():
            if len(fields) != 2:
                raise ValueError(f"{path} has the line {line[:80]!r}; wanted host:port inventory-host:port")
            server, inventory = fields
            family = socket.AF_INET6 if server.startswith("[") else socket.AF_INET
            _place(inventory, inventory)
            found[Address(family, _place(server, server))] = f"http://{inventory}/"
    if not found:
        raise ValueError(f"{path} lists no model server")
    return _Found(tuple(found), found)


def _host(address: Address) -> str:
    host = address.where[0]
    return f"[{host}]" if ":" in host else host


def is_ip(host: str) -> bool:
    """Return whether a host is an address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _place(text: str, target: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or "/" in bare or (":" in bare and bare == host) or not port.isdecimal() or int(port) > 65535:
        raise ValueError(
            f"{target!r} is not the address of a gRPC server; wanted host:port, [ipv6]:port, dns:///host:port, "
            "ipv4:address:port,..., ipv6:[address]:port,..., unix:path, unix-abstract:name or file:/path"
        )
    return bare, int(port)
