"""HTTP requests to the lab's own ports, always without a proxy."""

import contextlib
import json
import socket
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

# RFC 9113, 3.4: the client's preface and an empty SETTINGS frame, which a server answers with a SETTINGS frame.
_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_HTTP2_SETTINGS = 4

_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def fetch(request: str | urllib.request.Request, timeout: float) -> bytes:
    """Return the body of a 200 response; any other one, or none within `timeout` seconds, raises OSError."""
    try:
        with contextlib.closing(_open(request, timeout=timeout)) as answer:
            return bytes(answer.read())
    except HTTPException as error:
        raise ConnectionError(f"not an HTTP response: {error!r}") from None


def fetch_list(request: urllib.request.Request, name: str, timeout: float) -> list[Any]:
    """Return the list of this name in the JSON object that answers; any other answer raises OSError."""
    found = _object_in(fetch(request, timeout)).get(name)
    if not isinstance(found, list):
        raise ConnectionError(f"{request.full_url} answers without {name!r}: is another program listening there?")
    return found


def answers(url: str, lab_id: str = "", timeout: float = 2.0) -> bool:
    """Return whether the address answers within `timeout` seconds with 200 and without the id of another lab.

    For http2://HOST:PORT, return whether the port speaks HTTP/2, which carries gRPC.
    """
    try:
        if url.startswith("http2:"):
            return _speaks_http2(url, timeout)
        return _id_in(fetch(url, timeout)) in ("", lab_id)
    except OSError:
        return False


def _speaks_http2(url: str, timeout: float) -> bool:
    where = urlsplit(url)
    with socket.create_connection((str(where.hostname), int(where.port or 0)), timeout) as connection:
        connection.sendall(_HTTP2_HELLO)
        frame = connection.recv(9)
    return len(frame) > 3 and frame[3] == _HTTP2_SETTINGS


def other_lab(gateway: str, lab_id: str) -> str:
    """Return the id of another lab whose gateway answers there; "" for this lab's, one without an id, or none."""
    try:
        found = _id_in(fetch(f"{gateway}/healthz", timeout=2))
    except OSError:
        return ""
    return "" if found == lab_id else found


def _id_in(body: bytes) -> str:
    """Return the lab's id in the JSON of a gateway's /healthz; "" for any other body."""
    return str(_object_in(body).get("lab") or "")


def _object_in(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body; an empty one for any other body."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
