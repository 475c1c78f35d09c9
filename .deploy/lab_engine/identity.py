"""What a lab keeps of itself in its state folder, in lab.json: a random id, the ports it was started on last, and
those of further model servers.

    {"id": "5f0c...", "ports": {"rest": 8081, ...}, "replicas": [{"serving": 9001, ...}]}

The id is made once. The services get it as LAB_ID, and a client compares it before it sends anything, because two labs
on one machine may swap ports. This module takes folders, not Settings, because the settings are read with it.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import EngineError

_NAME = "lab.json"


def lab_id(home: Path) -> str:
    """The lab's id, empty if it has none yet."""
    return str(_read(home).get("id") or "")


def make_id(home: Path) -> None:
    """Give the lab an id unless it has one. The folder is there."""
    if not lab_id(home):
        _write(home, {**_read(home), "id": secrets.token_hex(16)})


def ports(home: Path) -> dict[str, str]:
    """The ports of the last start by their names in the settings, as text; empty if the lab was never started."""
    found = _read(home).get("ports")
    return {str(name): str(port) for name, port in found.items()} if isinstance(found, dict) else {}


def remember_ports(home: Path, taken: Mapping[str, int]) -> None:
    """Keep the ports that the lab is about to be started on."""
    _write(home, {**_read(home), "ports": dict(taken)})


def replicas(home: Path) -> list[dict[str, int]] | None:
    """The ports of each further model server by their names in the settings; None if their number is not decided."""
    found = _read(home).get("replicas")
    return found if isinstance(found, list) else None


def remember_replicas(home: Path, taken: Sequence[Mapping[str, int]]) -> None:
    """Keep the ports of the further model servers that the lab has from now on."""
    _write(home, {**_read(home), "replicas": [dict(each) for each in taken]})


def forget_replicas(home: Path) -> None:
    """Remove the model servers' ports, so that the next start decides how many there are."""
    _write(home, {name: value for name, value in _read(home).items() if name != "replicas"})


def forget(home: Path) -> None:
    """Remove id and ports, as of a lab whose volumes are removed."""
    (home / _NAME).unlink(missing_ok=True)


def _read(home: Path) -> dict[str, Any]:
    path = home / _NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):  # a state folder that cannot be made is reported where it is made
        return {}
    except ValueError:  # UnicodeDecodeError is one
        found = None
    if not isinstance(found, dict):
        raise EngineError(f"{path} is not a JSON object: remove it, and start the lab anew with bin/compose.sh up")
    return found


def _write(home: Path, document: Mapping[str, Any]) -> None:
    fresh = home / f".{_NAME}.new"
    fresh.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    fresh.replace(home / _NAME)
