"""Host and origin checks: the client may be a browser that another site's page controls.

A page may point its own DNS name at this address (DNS rebinding), and the browser then treats it as the same origin: so
Host must be a name of the gateway. A page may send requests whose answer it cannot read: so the Origin of any request
but GET, HEAD and OPTIONS, and of any preflight request, must be the gateway's own or an allowed one. Clients that are
not browsers send no Origin and are not affected.
"""

import functools
import ipaddress
from collections.abc import Mapping

from tensor_rest.errors import ForbiddenError, MisdirectedError
from tensor_rest.observability import metrics
from tensor_rest.runtime.reply import Reply
from tensor_rest.settings import Settings

_INNER = ("localhost", "svc", "cluster.local", "internal")  # suffixes of names that no public DNS server resolves
_READS = ("GET", "HEAD", "OPTIONS")

_PREFLIGHT = [
    ("Access-Control-Allow-Methods", "GET, POST, PUT"),
    ("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, X-API-Key, X-Request-Id, X-Timeout-Ms"),
    ("Access-Control-Max-Age", "600"),
]
_EXPOSED = "Retry-After, X-Model-Name, X-Model-Version, X-Request-Id"


class Browser:
    """Checks that a request's Host names the gateway, and that its Origin is the gateway's own or an allowed one."""

    def __init__(self, settings: Settings) -> None:
        self._origins = frozenset(settings.cors_origins)
        hosts = (*settings.allowed_hosts, settings.host.lower())
        self._is_ours = functools.lru_cache(256)(lambda header: _is_ours(header, hosts))

    def check(self, environ: Mapping[str, str]) -> None:
        """Raise MisdirectedError for another host's name, ForbiddenError for a request of another site's page."""
        host = environ.get("HTTP_HOST", "")
        if not self._is_ours(host):
            metrics.refused("host")
            raise MisdirectedError(
                f"This gateway is not known as {host[:80]!r}; TENSOR_REST_ALLOWED_HOSTS lists further names for it."
            )
        origin = environ.get("HTTP_ORIGIN", "")
        if not origin or self._allows(origin) or origin.lower().partition("://")[2] == host.lower():
            return
        site = environ.get("HTTP_SEC_FETCH_SITE", "")
        if site not in ("same-origin", "none") and (environ["REQUEST_METHOD"] not in _READS or _preflights(environ)):
            metrics.refused("origin")
            raise ForbiddenError(
                f"Pages of {origin[:80]!r} may not call this; TENSOR_REST_CORS_ORIGINS lists those allowed."
            )

    def preflight(self, environ: Mapping[str, str]) -> Reply | None:
        """Return the answer to a preflight request; None for any other."""
        if not (_preflights(environ) and self._allows(environ["HTTP_ORIGIN"])):
            return None
        return Reply(204, _PREFLIGHT, b"")

    def response_headers(self, environ: Mapping[str, str]) -> list[tuple[str, str]]:
        """Return the header fields that let the requesting page read the answer."""
        if not self._origins:
            return []
        vary, origin = ("Vary", "Origin"), environ.get("HTTP_ORIGIN", "")
        if not origin or not self._allows(origin):
            return [vary]
        allowed = ("Access-Control-Allow-Origin", "*" if "*" in self._origins else origin)
        return [vary, allowed, ("Access-Control-Expose-Headers", _EXPOSED)]

    def _allows(self, origin: str) -> bool:
        return bool(self._origins) and ("*" in self._origins or origin.lower() in self._origins)


def _preflights(environ: Mapping[str, str]) -> bool:
    return (
        environ["REQUEST_METHOD"] == "OPTIONS"
        and "HTTP_ORIGIN" in environ
        and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    )


def _is_ours(header: str, hosts: tuple[str, ...]) -> bool:
    """Whether a Host header (none: "") names the gateway. Any address does: DNS rebinding always uses a name."""
    if not header or "*" in hosts:
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
    return inner or any(name == host or (host.startswith("*.") and name.endswith(host[1:])) for host in hosts)
