"""Find the lab for a program that the lab did not start, such as a notebook in an editor or under nbconvert.

The lab's own services find every address in their environment. Other programs find the lab by its state folder:
LAB_HOME, else `.lab` of the clone around the working folder, else the one whose Python environment is in use. Its
lab.json (written by `up`) holds the lab's id and ports.
"""

import functools
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensor_jupyter.errors import LabError

_FILE = "lab.json"
_HOST = "127.0.0.1"


def find(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The lab's state folder, whether it exists or not; None if none is found."""
    if given := environ.get("LAB_HOME"):
        return Path(given).expanduser().absolute()
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / ".lab" / _FILE).is_file() or (folder / ".deploy" / "lab_engine").is_dir():
            return folder / ".lab"
    around = Path(sys.prefix).parent
    return around if (around / _FILE).is_file() else None


def environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment, completed with folders, addresses and ports of the lab that was found.

    Raises LabError when the lab's file cannot be read.
    """
    given = {name: value for name, value in environ.items() if value}
    home = find(environ)
    if home is None:
        return given
    found = {
        "LAB_HOME": str(home),
        **{f"LAB_{name.upper()}": str(home / name) for name in ("models", "logs", "data", "feedback")},
    }
    document = _read(home / _FILE)
    ports = {name: port for name, port in document.get("ports", {}).items() if isinstance(port, int)}
    found |= {f"LAB_{name.upper()}_PORT": str(port) for name, port in ports.items()}
    addresses = {
        "rest": ("LAB_REST_URL", "http://{}"),
        "board": ("LAB_BOARD_URL", "http://{}/"),
        "serving": ("TF_SERVER_HOST_PORT", "{}"),
        "inventory": ("TF_SERVER_INVENTORY_URL", "http://{}/"),
    }
    for name, (variable, form) in addresses.items():
        if name in ports:
            found[variable] = form.format(f"{_HOST}:{ports[name]}")
    if "LAB_REST_URL" not in given:  # the id belongs to the lab's own gateway
        found["LAB_ID"] = str(document.get("id") or "")
    if (home / "jupyter.token").is_file():
        found["JUPYTER_TOKEN_FILE"] = str(home / "jupyter.token")
    return {**found, **given}


def announce(environ: Mapping[str, str] = os.environ) -> None:
    """Print once on stderr which lab is used, where the environment does not set it."""
    if not environ.get("LAB_HOME") and not environ.get("LAB_MODELS"):
        _print_once(find(environ), environ.get("LAB_REST_URL", ""))


@functools.cache
def _print_once(home: Path | None, gateway: str) -> None:
    if home is None:
        text = f"no lab was found from {Path.cwd()} upwards: models go to {Path('.lab/models').absolute()}"
        text += "; work in the lab's clone, or set LAB_HOME to its state folder"
    else:
        gateway = gateway or environment().get("LAB_REST_URL", "not started yet")
        text = f"using the lab in {home} (gateway: {gateway})"
        if _read(home / "engine.json").get("engine") == "docker":
            text += (
                "; it runs in Docker and does not serve what is published into this folder: "
                "open the notebook in its JupyterLab, or run it with bin/compose.sh exec tensor-jupyter"
            )
    sys.stderr.write(f"tensor-lab: {text}\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise LabError(f"{path} cannot be read: {error}.") from error
    if not isinstance(found, dict) or not isinstance(found.get("ports", {}), dict):
        raise LabError(f"{path} is not a valid file of a lab: remove it, then `bin/compose.sh up` writes it again.")
    return found
