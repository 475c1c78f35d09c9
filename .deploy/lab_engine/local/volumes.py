"""The lab's folders: making them, with the shipped models and a token, and removing them on request."""

import shutil
from pathlib import Path

from .. import identity, token
from ..errors import EngineError
from ..settings import ROOT, Settings

SEEDS = ROOT / "tensor-serving-gpu" / "serving"


def prepare(settings: Settings) -> list[str]:
    """Make the folders and the token, and copy the shipped models into an empty models folder; return their names."""
    for folder in (*_kept(settings), settings.run / "log", settings.run / "rest"):
        folder.mkdir(parents=True, exist_ok=True)
    token.make(settings)
    return _publish_seeds(settings)


def remove(settings: Settings) -> None:
    """Remove models, logs, data, feedback, token, id and ports; the Python environment stays."""
    for folder in _kept(settings):
        if folder.exists():
            shutil.rmtree(folder)
    settings.token_file.unlink(missing_ok=True)
    identity.forget(settings.home)


def _kept(settings: Settings) -> tuple[Path, ...]:
    """Return the folders that are volumes in Docker."""
    return settings.models, settings.logs, settings.data, settings.feedback


def _publish_seeds(settings: Settings) -> list[str]:
    """Copy the shipped models into a models folder without any; each appears complete, by one rename."""
    if any(not entry.name.startswith(".") for entry in settings.models.iterdir()):
        return []
    names = sorted(entry.name for entry in SEEDS.iterdir() if entry.is_dir())
    for name in names:
        staging = settings.models / ".staging" / f"seed-{name}"
        try:
            shutil.rmtree(staging, ignore_errors=True)
            shutil.copytree(SEEDS / name, staging)
            staging.rename(settings.models / name)
        except OSError as error:
            raise EngineError(f"the shipped model {name} could not be put into {settings.models}: {error}") from None
    return names
