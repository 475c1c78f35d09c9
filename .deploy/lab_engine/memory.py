"""Which engine a lab was started on last, and whether it was stopped since; it decides which lab other verbs act on."""

import json
from dataclasses import asdict, dataclass

from .settings import Settings


@dataclass(frozen=True)
class Memory:
    """What the last `up` or `down` did."""

    engine: str  # local or docker
    up: bool


def note(settings: Settings, engine: str, up: bool) -> None:
    """Store the engine, and whether the lab is up."""
    write(settings, "engine.json", asdict(Memory(engine, up)))


def recall(settings: Settings) -> Memory:
    """Return what was stored last; a stopped local lab if nothing was."""
    found = read(settings, "engine.json")
    return Memory(str(found["engine"]), bool(found["up"])) if found else Memory("local", up=False)


def write(settings: Settings, name: str, document: dict[str, object]) -> None:
    """Replace a small JSON file in the state folder atomically."""
    settings.make_home()
    fresh = settings.home / f".{name}.new"
    fresh.write_text(json.dumps(document, indent=1) + "\n")
    fresh.replace(settings.home / name)


def read(settings: Settings, name: str) -> dict[str, object]:
    """Return the content of a small JSON file in the state folder; empty if it does not exist."""
    path = settings.home / name
    found: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
    return found
