"""Small JSON files in the state folder. A damaged one is an error that names it and says what to do.

This module takes paths, not Settings, because the settings are read with it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import EngineError


def read(path: Path) -> dict[str, Any]:
    """Return the JSON object in the file; an empty one if it does not exist. Raises EngineError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):  # a state folder that cannot be made is reported where it is made
        return {}
    except ValueError:  # UnicodeDecodeError is one
        found = None
    if not isinstance(found, dict):
        raise damaged(path, "is not a JSON object")
    return found


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Replace the file atomically."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    fresh.replace(path)


def damaged(path: Path, what: str) -> EngineError:
    """Return the error for a file that cannot be used."""
    return EngineError(f"{path} {what}: remove it, and start the lab anew with bin/compose.sh up")
