"""One request to an address of the lab: without a proxy, with a short timeout and a bounded answer."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

SECONDS = 3.0  # on a loaded machine a healthy service answers late
_MAX_BYTES = 8 * 2**20
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


@dataclass(frozen=True)
class Reply:
    """An HTTP response; if there was none, status 0 and the reason in `silence`."""

    status: int
    body: bytes = b""
    silence: str = ""

    def document(self) -> dict[str, Any]:
        """The body as a JSON object; empty if it is not one."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def get(url: str, headers: dict[str, str] | None = None) -> Reply:
    """Return the reply to a GET request, of any status; without one, status 0 and the reason in `silence`."""
    try:
        with _open(urllib.request.Request(url, headers=headers or {}), timeout=SECONDS) as response:
            return Reply(response.status, response.read(_MAX_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.read(_MAX_BYTES))
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Reply(0, silence=getattr(reason, "strerror", None) or str(reason) or type(reason).__name__)
