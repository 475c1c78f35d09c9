"""Files that only their user may read: whether they exist and are closed to others. Their content is never shown."""

import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

from tensor_jupyter.doctor.discovery import Where, is_there
from tensor_jupyter.doctor.finding import Finding, ok, problem, warning
from tensor_jupyter.settings import Settings

_CONTAINERS = 100  # the group that the lab's containers run in, which may read the token


def check(where: Where, settings: Settings) -> list[Finding]:
    """JupyterLab's token, the gateway's API keys and this workbench's own, the local engine's state folder."""
    own = settings.api_key_file or settings.data / "api-key"
    found = [*_token(where), *_keys(where.keys_file), *_own(own, where), *_home(where.home)]
    looked = [str(path) for path in (where.token_file, where.keys_file, own, where.home) if path and is_there(path)]
    return found or ([ok("secrets", f"closed to other users: {', '.join(looked)}")] if looked else [])


def _token(where: Where) -> list[Finding]:
    path = where.token_file
    if path is None or not os.access(path.parent, os.X_OK):  # if the folder is closed, `folders` reports it
        return []
    # In Docker the file is the host's.
    name = '"${LAB_HOME:-.lab}/jupyter.token"' if where.container else shlex.quote(str(path))
    if not path.exists() or not path.stat().st_size:
        found = f"{path} is {'empty' if path.exists() else 'not there'}"
        fix = f"rm -f {name} && bin/compose.sh down && bin/compose.sh up"
        return [problem("secrets", found, "JupyterLab's token", fix)]
    mode = 640 if path.stat().st_gid == _CONTAINERS else 600
    return _closed(path, "JupyterLab's token", problem, f"chmod {mode} {name}")


def _keys(path: Path | None) -> list[Finding]:
    if path is None:
        return []
    if not is_there(path):
        fix = f"bin/compose.sh exec tensor-rest python -m tensor_rest key NAME >>{shlex.quote(str(path))}"
        return [problem("secrets", f"TENSOR_REST_API_KEYS_FILE names {path}, which is not there", "the keys", fix)]
    # A warning only: the file holds hashes, not the keys.
    return _closed(path, "the gateway's API keys", warning, f"chmod 600 {shlex.quote(str(path))}")


def _own(path: Path, where: Where) -> list[Finding]:
    fix = where.typed(f"chmod 600 {shlex.quote(str(path))}")
    return _closed(path, "the workbench's API key", problem, fix) if is_there(path) else []


def _home(path: Path | None) -> list[Finding]:
    if path is None or not is_there(path) or not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return []
    found = f"{path}, with models and people's images, is open to other users (mode {_mode(path)})"
    return [warning("secrets", found, "mode 700", f"chmod 700 {shlex.quote(str(path))}")]


def _closed(path: Path, what: str, level: Callable[..., Finding], fix: str) -> list[Finding]:
    about = path.stat()
    allowed = stat.S_IRWXU | (stat.S_IRGRP if about.st_gid == _CONTAINERS else 0)
    if not stat.S_IMODE(about.st_mode) & ~allowed:
        return []
    found = f"{path}, {what}, is open to other users (mode {_mode(path)})"
    return [level("secrets", found, "mode 600", fix)]


def _mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):o}"
