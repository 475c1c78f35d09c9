"""How many model servers a new lab starts with: LAB_MODEL_SERVERS, or by default a number that follows the cores."""

import os
from pathlib import Path

from .errors import EngineError
from .settings import Settings

MAX = 16
_CORES_FOR_EACH = 4  # docs/operations.md has the figures
_MAX_BY_DEFAULT = 4  # each loads every model
_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of the container that this process runs in


def at_start(settings: Settings, serving: str, cores: int) -> int:
    """The number for a variant of the model server: cpu, gpu or embedded. Raises EngineError for a wrong setting."""
    text = settings.versions["LAB_MODEL_SERVERS"]
    if text == "auto":  # TensorFlow Serving uses all cores by itself
        return max(1, min(cores // _CORES_FOR_EACH, _MAX_BY_DEFAULT)) if serving == "embedded" else 1
    if (count := number(text)) is None:
        raise EngineError(f"LAB_MODEL_SERVERS={text!r}: set it to auto, or a number from 1 to {MAX}")
    return count


def number(text: str) -> int | None:
    """A valid number of model servers, else None."""
    return int(text) if text.isascii() and text.isdigit() and 1 <= int(text) <= MAX else None


def cores() -> int:
    """Whole cores that this process may use, at least 1."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, min(found, int(quota) // int(period)))
    except (OSError, ValueError):  # no quota, which reads "max"
        return found
