"""Which engine a lab was started on last, and whether it was stopped since; it decides which lab other verbs act on."""

from dataclasses import asdict, dataclass

from . import state
from .settings import Settings

_NAME = "engine.json"


@dataclass(frozen=True)
class Memory:
    """What the last `up` or `down` did."""

    engine: str  # local or docker
    up: bool


def note(settings: Settings, engine: str, up: bool) -> None:
    """Store the engine, and whether the lab is up."""
    settings.make_home()
    state.write(settings.home / _NAME, asdict(Memory(engine, up)))


def recall(settings: Settings) -> Memory:
    """Return what was stored last; a stopped local lab if nothing was. Raises EngineError."""
    found = state.read(settings.home / _NAME)
    if found and (found.get("engine") not in ("local", "docker") or not isinstance(found.get("up"), bool)):
        raise state.damaged(settings.home / _NAME, "does not name an engine")
    return Memory(found["engine"], found["up"]) if found else Memory("local", up=False)
