"""Which engine a lab was started on last, and whether it was stopped since: where the other verbs go."""

import json
from dataclasses import asdict, dataclass

from .settings import Settings


@dataclass(frozen=True)
class Memory:
    """What the last `up` or `down` did."""

    engine: str  # local or docker
    up: bool


def note(settings: Settings, engine: str, up: bool) -> None:
    """Remember it."""
    write(settings, "engine.json", asdict(Memory(engine, up)))


def recall(settings: Settings) -> Memory:
    """What was noted last; a stopped local lab if nothing was."""
    found = read(settings, "engine.json")
    return Memory(str(found["engine"]), bool(found["up"])) if found else Memory("local", up=False)


def write(settings: Settings, name: str, document: dict[str, object]) -> None:
    """Replace a small JSON file of the state folder in one step."""
    settings.make_home()
    fresh = settings.home / f".{name}.new"
    fresh.write_text(json.dumps(document, indent=1) + "\n")
    fresh.replace(settings.home / name)


def read(settings: Settings, name: str) -> dict[str, object]:
    """A small JSON file of the state folder; empty if it is not there."""
    path = settings.home / name
    found: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
    return found
