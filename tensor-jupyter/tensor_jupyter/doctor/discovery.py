"""Addresses of the lab's services as this process reaches them: on loopback or, in Docker, by container name."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from tensor_jupyter import home, ports
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings

_GATEWAY = "tensor-rest"  # the compose service; if LAB_REST_URL names it, the others have their names, too


@dataclass(frozen=True)
class Where:
    """The services' addresses, without a slash at the end.

    serving: host and port of the model server's gRPC. ports: the lab's ports whose listeners are visible from here,
    each with its service. home: the local engine's state folder. The files may be anywhere, or None.
    """

    gateway: str
    board: str
    watcher: str
    jupyter: str
    serving: tuple[str, int]
    ports: dict[int, str]
    container: bool
    home: Path | None
    token_file: Path | None
    keys_file: Path | None

    def typed(self, command: str, root: bool = False) -> str:
        """Return the command as typed on the host; root: it needs root's rights."""
        if self.container:  # it runs without capabilities, even as root
            return f"docker exec --privileged --user 0 {socket.gethostname()} {command}"
        return f"sudo {command}" if root and os.getuid() else command


def find(settings: Settings, environ: Mapping[str, str] | None = None) -> Where:
    """Return the addresses from the settings, `environ` (None: this process's environment) and the lab's state folder.

    Raises LabError for what is not an address.
    """
    environ = home.environment() if environ is None else environ
    jupyter = _port(environ, "LAB_JUPYTER_PORT", ports.JUPYTER)
    watcher = (
        environ.get("TF_SERVER_INVENTORY_URL")
        or f"http://127.0.0.1:{_port(environ, 'LAB_INVENTORY_PORT', ports.INVENTORY)}"
    )
    server = environ.get("TF_SERVER_HOST_PORT") or f"127.0.0.1:{_port(environ, 'LAB_SERVING_PORT', ports.SERVING)}"
    serving = _address("TF_SERVER_HOST_PORT", f"//{server}")
    found = {
        _address("LAB_REST_URL", settings.rest_url)[1]: "tensor-rest",
        jupyter: "tensor-jupyter",
        _address("LAB_BOARD_URL", settings.board_url)[1]: "tensor-board",
        serving[1]: "tensor-serving",
        _port(environ, "LAB_SERVING_REST_PORT", ports.SERVING_REST): "tensor-serving",
        _address("TF_SERVER_INVENTORY_URL", watcher)[1]: "tensor-serving",
    }
    local = Where(
        gateway=settings.rest_url.rstrip("/"),
        board=settings.board_url.rstrip("/"),
        watcher=watcher.rstrip("/"),
        jupyter=f"http://127.0.0.1:{jupyter}",
        serving=serving,
        ports=found,
        container=False,
        home=_path(environ, "LAB_HOME"),
        token_file=_path(environ, "JUPYTER_TOKEN_FILE"),
        keys_file=_path(environ, "TENSOR_REST_API_KEYS_FILE"),
    )
    if urlsplit(settings.rest_url).hostname != _GATEWAY:
        return local
    return replace(
        local,
        board="http://tensor-board:6006",
        watcher=f"http://{_GATEWAY}:8502",  # it proxies the inventory, and read-only gRPC calls
        serving=(_GATEWAY, 9000),
        ports={jupyter: "tensor-jupyter"},
        container=True,
        home=None,
    )


def is_there(path: Path) -> bool:
    """Whether it exists; False also if this user may not see it."""
    try:
        return path.exists()
    except OSError:
        return False


def _address(name: str, url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if not host or "@" in parts.netloc:  # the part before the @ may be a password, which must not be in the message
        raise LabError(
            f"{name} is not a plain address such as http://127.0.0.1:8080 (no user name, no password in it)."
        )
    return host, port


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise LabError(f"{name} is {text!r}: a port is a number from 1 to 65535.")
    return int(text)


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    return Path(environ[name]).expanduser().absolute() if environ.get(name) else None
