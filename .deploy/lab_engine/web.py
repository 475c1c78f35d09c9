"""HTTP to the lab's own ports. Loopback never goes through a proxy."""

import contextlib
import json
import urllib.request
from http.client import HTTPException

_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def fetch(request: str | urllib.request.Request, timeout: float) -> bytes:
    """The body of a 200 answer; any other answer, and none within `timeout` seconds, raises OSError."""
    with contextlib.closing(_open(request, timeout=timeout)) as answer:
        return bytes(answer.read())


def answers(url: str, lab_id: str = "") -> bool:
    """True if the address answers with 200 within two seconds, and not with the id of another lab."""
    try:
        return _id_in(fetch(url, timeout=2)) in ("", lab_id)
    except (OSError, HTTPException):
        return False


def other_lab(gateway: str, lab_id: str) -> str:
    """The id of the lab whose gateway answers at the address; "" if it is this one, has no id, or does not answer."""
    try:
        found = _id_in(fetch(f"{gateway}/healthz", timeout=2))
    except (OSError, HTTPException):
        return ""
    return "" if found == lab_id else found


def _id_in(body: bytes) -> str:
    """The lab's id in the JSON answer of a gateway's /healthz; "" in any other."""
    try:
        document = json.loads(body)
    except ValueError:
        return ""
    return str(document.get("lab") or "") if isinstance(document, dict) else ""
