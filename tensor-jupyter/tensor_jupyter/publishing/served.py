"""The versions that the gateway lists: read the list, or wait until it shows a change."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tensor_jupyter.errors import LabError
from tensor_jupyter.gateway import Gateway, SilentError, foreign
from tensor_jupyter.settings import Settings

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Seen:
    """One model as the gateway lists it.

    states (AVAILABLE, LOADING, END ...), errors and quarantine reasons by version; version numbers by label.
    """

    states: dict[int, str] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    quarantined: dict[int, str] = field(default_factory=dict)

    @property
    def available(self) -> list[int]:
        """The versions that answer now, ascending."""
        return sorted(version for version, state in self.states.items() if state == "AVAILABLE")


def fetch(settings: Settings) -> dict[str, Seen]:
    """Every model the gateway lists, by name. Raises SilentError when it does not answer."""
    return listed(settings)[0]


def listed(settings: Settings) -> tuple[dict[str, Seen], dict[str, Any]]:
    """As `fetch`, and the gateway's whole document."""
    with Gateway(settings) as gateway:
        reply = gateway.send("GET", "/tf/models")
    if reply.status != 200:
        raise SilentError(reply.message)
    document = reply.document()
    try:
        return {str(entry["name"]): _seen(entry) for entry in document["models"]}, document
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise foreign(reply.url, repr(error)) from error


def wait(name: str, settings: Settings, seconds: float, arrived: Callable[[Seen], bool]) -> Seen:
    """Return the model as the gateway lists it, once `arrived` is true for it. Raises LabError after a timeout.

    Raises SilentError when the gateway does not answer the first request; later failures are retried until the timeout.
    """
    deadline = time.monotonic() + seconds
    seen = fetch(settings).get(name, Seen())
    while not arrived(seen):
        if time.monotonic() > deadline:
            raise LabError(f"After {seconds:g} s the gateway still shows {name} {_format_states(seen)}.")
        time.sleep(_POLL_SECONDS)
        try:
            seen = fetch(settings).get(name, Seen())
        except SilentError:
            continue
    return seen


def _seen(entry: dict[str, Any]) -> Seen:
    versions = entry["versions"]
    return Seen(
        {int(found["version"]): str(found["state"]) for found in versions},
        {int(found["version"]): str(found["error"]) for found in versions if found.get("error")},
        {str(label): int(version) for label, version in entry.get("labels", {}).items()},
        {int(found["version"]): str(found["reason"]) for found in entry.get("quarantined", [])},
    )


def _format_states(seen: Seen) -> str:
    versions = ", ".join(map(str, seen.available)) or "none"
    labels = ", ".join(f"{label} {version}" for label, version in sorted(seen.labels.items())) or "none"
    held = "".join(f"; {version} is quarantined: {reason}" for version, reason in sorted(seen.quarantined.items()))
    return f"with these versions: {versions}; labels: {labels}{held}"
