"""Refusing HTTP requests that a foreign web page may have sent, by their Host and Origin header fields.

A page may point its own DNS name at this address (DNS rebinding); the browser then takes it for our origin, so the name
in Host must be one of ours. Its scripts may also send cross-origin requests, which carry Origin. Other programs send no
Origin, and use an address or a name of ours. The gateway has the same rule (tensor-rest's README).
"""

import functools
import ipaddress
import os
from collections.abc import Iterable
from typing import NamedTuple

VARIABLE = "TENSOR_SERVING_ALLOWED_HOSTS"
"""The environment variable with further names, separated by commas or spaces: `host`, `*.example.org`, `*` for any."""

_INNER = ("localhost", "svc", "cluster.local", "internal")  # suffixes that no public DNS name has


class Refusal(NamedTuple):
    """The HTTP status to answer with, and the reason as text."""

    status: int
    message: str


class Hosts:
    """The host names of this server.

    Accepted without being listed are IP addresses (a rebinding page always has a name), names without a dot, which
    exist only inside a network, such as Compose's service names, and names under `.localhost`, `.svc`,
    `.cluster.local` and `.internal`.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = tuple(name.lower() for name in names if name)
        self._known = functools.lru_cache(256)(self._is_ours)

    @classmethod
    def from_environment(cls, *names: str) -> "Hosts":
        """Return the hosts with these names and those in the environment variable."""
        return cls((*names, *os.environ.get(VARIABLE, "").replace(",", " ").split()))

    def refusal(self, host: str, origin: str = "", fetch_site: str = "") -> Refusal | None:
        """Return why a request must be refused, or None.

        Args:
            host: Its Host header field; empty where it has none.
            origin: Its Origin header field. It must be the server's own, as pages of other origins may not call it.
            fetch_site: Its Sec-Fetch-Site, set by browsers only: with `same-origin` and `none` the origin is accepted.
        """
        if not self._known(host):
            text = f"This server is not known as {host[:80]!r}; {VARIABLE} lists further names for it."
            return Refusal(421, text)
        foreign = origin and origin.lower().partition("://")[2] != host.lower()
        if foreign and fetch_site not in ("same-origin", "none"):
            return Refusal(403, f"Pages of {origin[:80]!r} may not call this server.")
        return None

    def _is_ours(self, header: str) -> bool:
        if not header or "*" in self._names:
            return True
        name, _, port = header.lower().rpartition(":") if not header.endswith("]") else (header.lower(), "", "")
        if not name or not port.isdigit():
            name = header.lower()
        name = name.removesuffix(".")
        try:
            return bool(ipaddress.ip_address(name.removeprefix("[").removesuffix("]")))
        except ValueError:
            pass
        inner = "." not in name or name.endswith(tuple(f".{end}" for end in _INNER))
        listed = any(name == ours or (ours.startswith("*.") and name.endswith(ours[1:])) for ours in self._names)
        return inner or listed
