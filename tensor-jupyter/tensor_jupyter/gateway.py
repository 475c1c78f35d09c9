"""Calls to the lab's gateway over one kept-alive connection, with the API key if one is set.

with Gateway(settings) as gateway:
    reply = gateway.send("GET", "/tf/models")       # any status is a reply
    reply.document()["models"]

Proxy variables are ignored and redirects are not followed, so that the key is sent nowhere else. If the lab's id is
known, the first request on each new connection is /healthz, without the key, to check that the gateway is this lab's.
"""

import contextlib
import json
import math
import urllib.parse
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from types import TracebackType
from typing import Any

from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

_MAX_ANSWER = 8 * 2**20


class SilentError(LabError):
    """No gateway answers, another program or another lab answers in its place, or the gateway rejects the key."""


@dataclass(frozen=True)
class Reply:
    """An HTTP answer of any status from `url`."""

    url: str
    status: int
    headers: Message
    body: bytes

    def document(self) -> dict[str, Any]:
        """The body as a JSON object. Raises SilentError when it is not one."""
        try:
            found = json.loads(self.body)
        except ValueError as error:
            raise foreign(self.url, error) from error
        if not isinstance(found, dict):
            raise foreign(self.url, f"a JSON {type(found).__name__}")
        return found

    @property
    def message(self) -> str:
        """The gateway's error message, else the status and the beginning of the body."""
        try:
            return str(json.loads(self.body)["message"])
        except (ValueError, LookupError, TypeError):
            return f"{self.url} answers {self.status}: {self.body[:200].decode(errors='replace').strip()}".rstrip(": ")

    @property
    def retry_after(self) -> float:
        """Seconds of Retry-After; 0 without it."""
        try:
            seconds = float(self.headers.get("Retry-After", "0"))
        except ValueError:
            return 0.0
        return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


class Gateway:
    """Client of the gateway at LAB_REST_URL, for one thread. Raises LabError for a wrong address or unreadable key."""

    def __init__(self, settings: Settings, seconds: float = 10.0) -> None:
        """seconds: the timeout for an answer."""
        self.base = settings.rest_url.rstrip("/")
        parts = urllib.parse.urlsplit(self.base)
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if parts.scheme not in ("http", "https") or not host:
            raise LabError(f"LAB_REST_URL is {settings.rest_url!r}: expected http://HOST:PORT or https://HOST.")
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = kind(host, port, timeout=seconds)
        self._folder = parts.path
        key = settings.key()
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._settings = settings

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Return the reply, of any status except 401. path: such as /tf/models, with a query if any.

        If a kept-alive connection was closed meanwhile, the request is repeated over a new one: all requests of the
        workbench may safely arrive twice. Raises SilentError when nothing answers, when another lab or another program
        does, or when the gateway requires a key.
        """
        url = self.base + path
        kept = self._connection.sock is not None
        try:
            reply = None if kept else self._check_identity()
            reply = reply or self._sent_once(kept, method, url, body, {**self._headers, **(headers or {})}, path)
        except (ConnectionError, HTTPException) as error:
            self.close()
            if kept:
                return self.send(method, path, body, headers)
            raise _silent(url, error) from error
        except OSError as error:
            self.close()
            raise _silent(url, error) from error
        if reply.status == 401:
            raise self._unauthorized()
        return reply

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sent_once(self, kept: bool, *request: Any) -> Reply:
        """As `_sent`; if the gateway closed the connection right after the check of its id, repeat over a new one."""
        checked = not kept and self._connection.sock is not None
        try:
            return self._sent(*request)
        except (ConnectionError, HTTPException):
            if not checked:
                raise
            self.close()
            return self._sent(*request)

    def _sent(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], path: str) -> Reply:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a body that is too large gets a reply, too
            self._connection.request(method, self._folder + path, body, dict(headers))
        response = self._connection.getresponse()
        content = response.read(_MAX_ANSWER + 1)
        if len(content) > _MAX_ANSWER:
            self.close()
            raise foreign(url, f"more than {_MAX_ANSWER} bytes")
        return Reply(url, response.status, response.headers, content)

    def _check_identity(self) -> Reply | None:
        """Check with /healthz; return the reply of a gateway that is not ready, else None.

        Raises SilentError for another lab's gateway, and for another program.
        """
        if not self._settings.id:
            return None
        url = f"{self.base}/healthz"
        reply = self._sent("GET", url, None, {}, "/healthz")
        if reply.status >= 500:
            return reply
        if reply.status != 200 or "status" not in reply.document():
            raise foreign(url, reply.status)
        if other_lab(reply.document(), self._settings):
            raise SilentError(
                f"Another lab answers at {self.base}, where this lab's gateway should be; nothing was sent to it. "
                "`bin/compose.sh status` shows where this lab runs; LAB_REST_PORT=PORT bin/compose.sh up moves it to a "
                "port of its own. To use the other lab, set LAB_REST_URL, and LAB_ID to that lab's id or to nothing."
            )
        return None

    def _unauthorized(self) -> SilentError:
        held = "does not take the API key that was sent" if self._headers else "wants an API key"
        return SilentError(
            f"The gateway at {self.base} {held}: set LAB_API_KEY, or write a key into the file that LAB_API_KEY_FILE "
            "names, else LAB_DATA/api-key. `python -m tensor_rest key NAME` makes one."
        )


def other_lab(health: Mapping[str, Any], settings: Settings) -> bool:
    """Whether this reply of /healthz is from another lab; one without an id may be from this one."""
    return bool(settings.id) and health.get("lab") not in (None, "", settings.id)


def form(images: Sequence[bytes]) -> tuple[bytes, dict[str, str]]:
    """The body and headers of a form with image files in the field `image`, named by their index."""
    boundary = f"tensor-lab-{uuid.uuid4().hex}"
    head = 'Content-Disposition: form-data; name="image"; filename="{}"\r\nContent-Type: application/octet-stream'
    parts = [
        f"--{boundary}\r\n{head.format(number)}\r\n\r\n".encode() + content + b"\r\n"
        for number, content in enumerate(images)
    ]
    body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def foreign(url: str, found: object) -> SilentError:
    """The error for an answer that is not a gateway's."""
    return SilentError(f"{url} does not answer as the lab's gateway does: {found}; check LAB_REST_URL.")


def _silent(url: str, error: Exception) -> SilentError:
    if isinstance(error, HTTPException) and not isinstance(error, ConnectionError):
        return foreign(url, repr(error))
    return SilentError(
        f"The lab does not answer at {url} ({error}): start it with ./bin/compose.sh up, "
        "or set LAB_REST_URL to where it runs."
    )
