"""Which HTTP requests are refused because a web page may be behind them: by their Host and Origin header fields.

A page may point its own DNS name at this address (rebinding) and is then of our origin as the browser sees it, so the
name in Host must be one of ours. Its scripts may also send requests across origins, which carry Origin. Programs send
no Origin and reach us under an address or a name of ours. The gateway has the same rule (tensor-rest's README).
"""

import functools
import ipaddress
import os
from collections.abc import Iterable
from typing import NamedTuple

VARIABLE = "TENSOR_SERVING_ALLOWED_HOSTS"
"""The environment variable with further names, by commas or spaces: `host`, `*.example.org` for all below, `*` any."""

_INNER = ("localhost", "svc", "cluster.local", "internal")  # ends of names that no public DNS server may answer


class Refusal(NamedTuple):
    """The HTTP status to answer with, and the reason as text."""

    status: int
    message: str


class Hosts:
    """The names this server goes by.

    Known without being listed are IP addresses (a rebinding page always has a name), names without a dot, which exist
    only inside a network as Compose's service names do, and names under `.localhost`, `.svc`, `.cluster.local` and
    `.internal`.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = tuple(name.lower() for name in names if name)
        self._known = functools.lru_cache(256)(self._is_ours)

    @classmethod
    def from_environment(cls, *names: str) -> "Hosts":
        """Return the hosts with these names and those in the environment variable."""
        return cls((*names, *os.environ.get(VARIABLE, "").replace(",", " ").split()))

    def refusal(self, host: str, origin: str = "", fetch_site: str = "") -> Refusal | None:
        """Return why a request may not be answered, None where it may.

        Args:
            host: Its Host header field; empty where it has none.
            origin: Its Origin header field. It must be the server's own: no other page may call it.
            fetch_site: Its Sec-Fetch-Site, set by browsers only: `same-origin` and `none` vouch for the origin.
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
