"""What a lab keeps of itself in its state folder, in lab.json: a random id, the ports it was started on last, and
those of further model servers.

    {"id": "5f0c...", "ports": {"rest": 8081, ...}, "replicas": [{"serving": 9001, ...}]}

The id is made once. The services get it as LAB_ID, and a client compares it before it sends anything, because two labs
on one machine may swap ports. This module takes folders, not Settings, because the settings are read with it.
"""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import state

NAME = "lab.json"


def lab_id(home: Path) -> str:
    """The lab's id, empty if it has none yet."""
    return str(state.read(home / NAME).get("id") or "")


def make_id(home: Path) -> None:
    """Give the lab an id unless it has one. The folder is there."""
    if not lab_id(home):
        state.write(home / NAME, {**state.read(home / NAME), "id": secrets.token_hex(16)})


def ports(home: Path) -> dict[str, str]:
    """The ports of the last start by their names in the settings, as text; empty if the lab was never started."""
    found = state.read(home / NAME).get("ports")
    return {str(name): str(port) for name, port in found.items()} if isinstance(found, dict) else {}


def remember_ports(home: Path, taken: Mapping[str, int]) -> None:
    """Keep the ports that the lab is about to be started on."""
    state.write(home / NAME, {**state.read(home / NAME), "ports": dict(taken)})


def replicas(home: Path) -> list[Any] | None:
    """The ports of each further model server by their names in the settings; None if their number is not decided."""
    found = state.read(home / NAME).get("replicas")
    return found if isinstance(found, list) else None


def remember_replicas(home: Path, taken: Sequence[Mapping[str, int]]) -> None:
    """Keep the ports of the further model servers that the lab has from now on."""
    state.write(home / NAME, {**state.read(home / NAME), "replicas": [dict(each) for each in taken]})


def forget_replicas(home: Path) -> None:
    """Remove the model servers' ports, so that the next start decides how many there are."""
    state.write(home / NAME, {name: value for name, value in state.read(home / NAME).items() if name != "replicas"})


def forget(home: Path) -> None:
    """Remove id and ports, as of a lab whose volumes are removed."""
    (home / NAME).unlink(missing_ok=True)
