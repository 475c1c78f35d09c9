"""Settings of the lab: `versions.env`, overridden by environment variables of the same names, read once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import identity, state
from .errors import EngineError

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"  # the lab listens nowhere else

# Linux allows 107 bytes for the path of a Unix socket (unix(7)); supervisord makes its own under a longer name first.
MAX_HOME_BYTES = 107 - len("/run/supervisor.sock.12345678")


@dataclass(frozen=True)
class Ports:
    """TCP ports on loopback. The field name is the middle of the variable: `LAB_REST_PORT` and so on."""

    rest: int  # the gateway: page, Swagger UI, REST
    jupyter: int
    board: int
    serving: int  # the model server's gRPC
    serving_rest: int  # the model server's REST API, for the watcher
    inventory: int  # the watcher's list of models

    def published(self) -> dict[str, int]:
        """Return the ports that the host can reach in Docker as well."""
        return {name: port for name, port in vars(self).items() if name not in ("serving_rest", "inventory")}


@dataclass(frozen=True)
class ReplicaPorts:
    """The ports of a further model server of the local engine, chosen by `scale`."""

    serving: int
    serving_rest: int
    inventory: int


@dataclass(frozen=True)
class Settings:
    """Where the lab lives and what it listens on."""

    home: Path  # the state folder; everything the lab writes is below it
    ports: Ports
    versions: Mapping[str, str]  # the lines of versions.env, each overridden by its environment variable
    api_key: str = field(default="", repr=False)  # for a gateway that wants one
    remembered: tuple[str, ...] = ()  # names of the ports that are the last start's, not the defaults
    replicas: tuple[ReplicaPorts, ...] = ()  # of the local engine, beside the model server at `ports`

    @property
    def lab_id(self) -> str:
        """The id that distinguishes this lab from others on the machine; empty before the first `up`."""
        return identity.lab_id(self.home)

    @property
    def version(self) -> str:
        return self.versions["LAB_VERSION"]

    @property
    def tensorflow(self) -> str:
        return self.versions["TENSORFLOW_VERSION"]

    @property
    def venv(self) -> Path:
        return self.home / "venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def models(self) -> Path:
        return self.home / "models"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def feedback(self) -> Path:
        return self.home / "feedback"

    @property
    def config(self) -> Path:
        """The folder for what users write and the gateway reads, such as rules.json; Docker mounts it as a whole."""
        return self.home / "config"

    @property
    def workspace(self) -> Path:
        """JupyterLab's root of the local engine."""
        return self.home / "workspace"

    @property
    def notebooks(self) -> Path:
        """The notebooks that people run and edit; in Docker mounted as the workbench's notebook/."""
        return self.workspace / "notebook"

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def token_file(self) -> Path:
        return self.home / "jupyter.token"

    def make_home(self) -> None:
        """Make the state folder, for its user alone: what it holds is shared with containers, not with neighbours."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.config.is_dir():
            self.config.mkdir()
            self.config.chmod(0o755)  # for a container's user; the folder above keeps others out

    def url(self, port: int, path: str = "/") -> str:
        return f"http://{HOST}:{port}{path}"


def load(environ: Mapping[str, str] = os.environ, running: bool = False) -> Settings:
    """Read the settings; raises EngineError naming the variable that is wrong.

    running: the lab has been started, so that the ports of that start override the environment. Otherwise, for a new
    start, the environment overrides the ports of the last start, which override versions.env.
    """
    defaults = read_env_file(ROOT / "versions.env")
    environ = {name: value for name, value in environ.items() if value}  # empty: not set, as in bin/common.sh
    values = {**defaults, **environ}
    if values["LAB_ENGINE"] not in ("auto", "docker", "local"):
        raise EngineError(f"LAB_ENGINE={values['LAB_ENGINE']!r} is not an engine: set it to auto, docker or local")
    home = Path(values.get("LAB_HOME") or ROOT / ".lab").expanduser().absolute()
    if (length := len(os.fsencode(home))) > MAX_HOME_BYTES:
        raise EngineError(
            f"the state folder's path is {length} bytes long and Unix sockets below it allow {MAX_HOME_BYTES}: {home}; "
            "set LAB_HOME to a shorter one"
        )
    if unfit := set(str(home)) & set("\"'\n%;{}[*?"):
        raise EngineError(
            f"the state folder's path contains {' '.join(sorted(unfit))!r}: {home}; set LAB_HOME to another one"
        )
    last = {_variable(name): port for name, port in identity.ports(home).items() if name in Ports.__annotations__}
    numbers = {**defaults, **environ, **last} if running else {**defaults, **last, **environ}
    ports = Ports(**{name: _port(_variable(name), numbers) for name in Ports.__annotations__})
    _refuse_doubles(ports)
    given = set() if running else {*environ}
    kept = tuple(
        name
        for name in Ports.__annotations__
        if _variable(name) in {*last} - given and last[_variable(name)] != defaults[_variable(name)]
    )
    more = tuple(_replica(home, each) for each in identity.replicas(home) or [])
    return Settings(home, ports, {name: values[name] for name in defaults}, _api_key(home, environ), kept, more)


def read_env_file(path: Path) -> dict[str, str]:
    """The NAME=value lines of a file; comments and empty lines are skipped."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _api_key(home: Path, environ: Mapping[str, str]) -> str:
    """Return the API key from the places that the workbench reads: two variables, data/api-key; "" if there is none."""
    if key := environ.get("LAB_API_KEY", "").strip():
        return key
    try:
        return Path(environ.get("LAB_API_KEY_FILE") or home / "data" / "api-key").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _replica(home: Path, found: object) -> ReplicaPorts:
    wanted = ReplicaPorts.__annotations__.keys()
    if isinstance(found, dict) and found.keys() == wanted and all(isinstance(port, int) for port in found.values()):
        return ReplicaPorts(**found)
    raise state.damaged(home / identity.NAME, "has an entry of 'replicas' that is not the ports of a model server")


def _variable(name: str) -> str:
    return f"LAB_{name.upper()}_PORT"


def _port(name: str, values: Mapping[str, str]) -> int:
    text = values[name]
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise EngineError(f"{name}={text!r} is not a port: set it to a number from 1 to 65535")
    return int(text)


def _refuse_doubles(ports: Ports) -> None:
    seen: dict[int, str] = {}
    for name, port in vars(ports).items():
        if port in seen:
            raise EngineError(f"{_variable(seen[port])} and {_variable(name)} are both {port}: give each its own")
        seen[port] = name
