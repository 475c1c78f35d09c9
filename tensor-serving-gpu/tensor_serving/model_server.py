"""The states of the versions in the model server beside the watcher, over TensorFlow Serving's REST API."""

import http.client
import json
import time
from threading import Lock
from typing import NamedTuple

_TIMEOUT_S = 1.0  # seconds for one answer
_RECENT_SECONDS = 0.25  # for which an answer is reused
_MAX_ANSWER_BYTES = 1024 * 1024  # bytes


class VersionState(NamedTuple):
    """A version's state by its name in TF Serving's API; `error`: why it ended, empty unless it failed."""

    state: str
    error: str


class ModelServer:
    """The model server whose REST API is at `address`, HOST:PORT.

    `answered`: it has accepted a connection since its start; the watcher resets this when the server is started.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.answered = False

    def states(self, names: list[str]) -> dict[str, dict[int, VersionState]]:
        """Return the state of every version that the server reports, by model; models without an answer are left out.

        A server that is starting or unavailable does not answer, which is not an error here.
        """
        found: dict[str, dict[int, VersionState]] = {}
        connection = http.client.HTTPConnection(self.address, timeout=_TIMEOUT_S)
        try:
            connection.connect()
            self.answered = True
            for name in names:
                connection.request("GET", f"/v1/models/{name}")
                with connection.getresponse() as response:
                    found[name] = _states(response.read(_MAX_ANSWER_BYTES)) if response.status == 200 else {}
        except (OSError, http.client.HTTPException, ValueError):
            pass
        finally:
            connection.close()
        return found


class RecentStates:
    """The versions that can be called now. Thread-safe; many gateways that poll at the same time cost one request."""

    def __init__(self, address: str) -> None:
        self._server = ModelServer(address)  # not the watcher's, whose `answered` must not change here
        self._lock = Lock()
        self._names: list[str] = []
        self._found: dict[str, list[int]] = {}
        self._until = 0.0

    def available(self, names: list[str]) -> dict[str, list[int]]:
        """Return the AVAILABLE versions by model, ascending; models the server does not answer for are left out."""
        with self._lock:
            if time.monotonic() >= self._until or names != self._names:
                self._names = names
                self._found = {
                    name: sorted(number for number, (state, _) in states.items() if state == "AVAILABLE")
                    for name, states in self._server.states(names).items()
                }
                self._until = time.monotonic() + _RECENT_SECONDS
            return self._found


def _states(body: bytes) -> dict[int, VersionState]:
    """Return the states in a GetModelStatusResponse as JSON. Raises ValueError when it is not one."""
    try:
        return {
            int(entry["version"]): VersionState(entry["state"], _error(entry.get("status", {})))
            for entry in json.loads(body)["model_version_status"]
        }
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not the status of a model: {error!r}") from error


def _error(status: dict[str, str]) -> str:
    code = status.get("error_code", "OK")
    return "" if code == "OK" else str(status.get("error_message") or code)
