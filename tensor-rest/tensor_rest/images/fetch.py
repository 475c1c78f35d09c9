"""Fetches an image by its URL: from allowed hosts only, over a checked address, within limits of time and size.

A URL from a client must not reach servers of the internal network (SSRF). So the host must be on the list, its name is
looked up once, all its addresses must be public, the connection uses a checked address, and redirects are an error.
An entry that is itself an address is allowed by the operator, public or not.
"""

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import flask

from tensor_rest.errors import (
    ApiError,
    BadGatewayError,
    BadRequestError,
    DeadlineError,
    ForbiddenError,
    TooLargeError,
    UnavailableError,
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SECONDS = 5.0  # for all of it: name, connection, answer
_AT_ONCE = 4  # fetches of one worker; more are answered 503
_MAX_URL = 2048
_PORTS = {"http": 80, "https": 443}
_HARMLESS = re.compile(r"[!-\[\]-~]+")  # printable ASCII without space and backslash
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Cloud providers' metadata services: never, not even if listed.
_METADATA = {ipaddress.ip_address(text) for text in ("169.254.169.254", "100.100.100.200", "fd00:ec2::254")}


@dataclass(frozen=True)
class _Url:
    scheme: str
    host: str
    port: int
    path: str


def image(url: str) -> bytes:
    """Return the bytes at `url`, if the current application's list allows it. Raises an ApiError with the reason."""
    fetcher: Fetcher = flask.current_app.extensions["fetch"]
    return fetcher.image(url)


class Fetcher:
    """Fetches from the hosts in `allow`: `host`, `*.host` for all below it, `host:port` for another port than usual."""

    def __init__(self, allow: tuple[str, ...], max_bytes: int, seconds: float = _SECONDS) -> None:
        self._allow = frozenset(allow)
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch")

    def image(self, url: str) -> bytes:
        """The bytes at `url`.

        Raises ForbiddenError for a host that is not on the list or not public, BadRequestError for an invalid URL,
        TooLargeError, DeadlineError, UnavailableError if too many are fetched at once, else BadGatewayError.
        """
        if not self._allow:
            raise ForbiddenError("Images by URL are switched off here (TENSOR_REST_URL_ALLOW); send the image.")
        parts = _parsed(url)
        listed = self._listed(parts)
        if not self._slots.acquire(blocking=False):
            raise UnavailableError("The gateway is fetching other images; try again in a moment.")
        download = _Download(parts, listed, self._max_bytes, time.monotonic() + self._seconds)
        work: Future[bytes] = self._pool.submit(download.run)
        work.add_done_callback(lambda _: self._slots.release())
        try:
            return work.result(self._seconds)
        except LateError as error:
            download.abort()
            raise DeadlineError(f"{parts.host} did not send the image within {self._seconds:g} s.") from error
        finally:
            del work  # it refers to its error, whose traceback refers to this frame

    def _listed(self, url: _Url) -> bool:
        """Return True if the list has the URL's IP address, False if it has its host name. Raises ForbiddenError."""
        usual = url.port == _PORTS[url.scheme]
        ends = [url.host[i:] for i, letter in enumerate(url.host) if letter == "."]
        wanted = {url.host, *(f"*{end}" for end in ends)}
        shown = f"[{url.host}]" if ":" in url.host else url.host
        entries = {f"[{one}]" if ":" in one else one for one in wanted}
        if not ((usual and entries & self._allow) or {f"{one}:{url.port}" for one in entries} & self._allow):
            raise ForbiddenError(f"Images are not fetched from {shown}:{url.port}: not in TENSOR_REST_URL_ALLOW.")
        return _address(url.host) is not None


class _Download:
    """One fetch, in a thread of its own; `abort` ends it from outside."""

    def __init__(self, url: _Url, listed: bool, max_bytes: int, deadline: float) -> None:
        self._url, self._listed, self._max_bytes, self._deadline = url, listed, max_bytes, deadline
        self._socket: socket.socket | None = None

    def run(self) -> bytes:
        """Return the bytes. Raises an ApiError for any failure."""
        try:
            address = self._resolved()
            with self._connected(address) as connection:
                return self._read(connection)
        except ApiError:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BadGatewayError(f"{self._url.host} did not send an image: {type(error).__name__}.") from error

    def abort(self) -> None:
        """Shut the connection down, so that its thread ends."""
        with suppress(OSError, AttributeError):
            self._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]

    def _resolved(self) -> str:
        """Return the address to connect to. All addresses of the name are checked: a single bad one is an error."""
        try:
            found = socket.getaddrinfo(self._url.host, self._url.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise BadGatewayError(f"{self._url.host} has no address.") from error
        addresses = [str(entry[4][0]) for entry in found]
        if not all(_may_connect(address, self._listed) for address in addresses):
            raise ForbiddenError(f"{self._url.host} is not at a public address; nothing is fetched from there.")
        return addresses[0]

    @contextmanager
    def _connected(self, address: str) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection(self._url.host, self._url.port)
        left = self._left()
        self._socket = socket.create_connection((address, self._url.port), timeout=left)
        try:
            connection.sock = self._socket
            if self._url.scheme == "https":
                context = ssl.create_default_context()
                connection.sock = self._socket = context.wrap_socket(self._socket, server_hostname=self._url.host)
            yield connection
        finally:
            self._socket.close()
            connection.close()

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DeadlineError(f"The host name {self._url.host} was not resolved in time.")
        return left

    def _read(self, connection: http.client.HTTPConnection) -> bytes:
        usual = self._url.port == _PORTS[self._url.scheme]
        host = f"[{self._url.host}]" if ":" in self._url.host else self._url.host
        connection.putrequest("GET", self._url.path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", host if usual else f"{host}:{self._url.port}")
        for name, value in (("Accept", "image/*"), ("User-Agent", "tensor-lab"), ("Connection", "close")):
            connection.putheader(name, value)
        connection.endheaders()
        with connection.getresponse() as answer:
            return self._body(answer)

    def _body(self, answer: http.client.HTTPResponse) -> bytes:
        if 300 <= answer.status < 400:
            raise BadGatewayError(f"{self._url.host} redirects ({answer.status}); redirects are not followed.")
        if answer.status != 200:
            raise BadGatewayError(f"{self._url.host} answered {answer.status} instead of an image.")
        if (answer.length or 0) > self._max_bytes or len(data := answer.read(self._max_bytes + 1)) > self._max_bytes:
            raise TooLargeError(f"The image at {self._url.host} has more than {self._max_bytes} bytes.")
        return data


def _parsed(text: str) -> _Url:
    if len(text) > _MAX_URL or not _HARMLESS.fullmatch(text):
        raise BadRequestError(f"Invalid URL: expected at most {_MAX_URL} printable ASCII characters, no space or '\\'.")
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError as error:
        raise BadRequestError("Invalid URL: its host or port cannot be read.") from error
    if parts.scheme not in _PORTS or "@" in parts.netloc or not _HOST.fullmatch(host) or port == 0:
        raise BadRequestError("Invalid URL: expected http:// or https://host/path, without a user name or password.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Url(parts.scheme, host, port or _PORTS[parts.scheme], path)


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _may_connect(text: str, listed: bool) -> bool:
    """Whether to connect to an address: any public one, or one that is on the list, except metadata services."""
    address = _address(text)
    if address is None or text.find("%") >= 0:
        return False
    inner = _inner(address)
    if any(one in _METADATA or one.is_link_local or one.is_multicast or one.is_unspecified for one in inner):
        return False
    return listed or all(one.is_global for one in inner)


def _inner(address: Address) -> list[Address]:
    """Return the address, and the IPv4 addresses that are embedded in an IPv6 address."""
    found: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        teredo = address.teredo or ()
        found += [one for one in (address.ipv4_mapped, address.sixtofour, *teredo) if one is not None]
        if address in _NAT64 or int(address) >> 32 == 0:  # the latter: IPv4-compatible, long out of use
            found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return found
