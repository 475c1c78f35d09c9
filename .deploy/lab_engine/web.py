"""HTTP to the lab's own ports. Loopback never goes through a proxy."""

import contextlib
import urllib.request

_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def fetch(request: str | urllib.request.Request, timeout: float) -> bytes:
    """The body of a 200 answer; any other answer, and none within `timeout` seconds, raises OSError."""
    with contextlib.closing(_open(request, timeout=timeout)) as answer:
        return bytes(answer.read())


def answers(url: str) -> bool:
    """True if the address answers with 200 within two seconds."""
    try:
        fetch(url, timeout=2)
    except OSError:
        return False
    return True
