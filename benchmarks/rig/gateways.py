"""The gateways under test, with what stands behind them, as programs on free ports."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from peers import make

from rig import BENCHMARKS, SHIPPED_MODEL
from rig.digits import Asking, Digits
from rig.programs import Program
from rig.servers import MODEL, Server, embedded, free_port, straightforward
from rig.workers import environment

_GATEWAY = BENCHMARKS.parent / "tensor-rest"

_NGINX = """
daemon off; pid nginx.pid; error_log stderr; worker_processes auto; {user}
events {{ worker_connections 1024; }}
http {{
    access_log off; client_body_temp_path body; uwsgi_temp_path uwsgi;
    proxy_temp_path proxy; fastcgi_temp_path fastcgi; scgi_temp_path scgi;
    server {{ listen 127.0.0.1:{port}; location / {{ include /etc/nginx/uwsgi_params; uwsgi_pass unix:uwsgi.sock; }} }}
}}
"""


@dataclass
class Contestant:
    """A gateway or peer under test: its address, its requests, its programs, and the model servers behind them."""

    name: str
    target: str
    asking: Asking
    programs: list[Program] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)
    restless: bool = False  # it uses processor time without requests, and is stopped while others are measured

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let a restless contestant run inside the block, and stop it at the end: it would disturb the others."""
        self.signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.signal(signal.SIGSTOP)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all processes of a restless contestant; do nothing for the others."""
        for process in self.programs[0].processes() if self.restless else ():
            process.send_signal(number)

    def wait(self, digits: Digits) -> None:
        """Wait until it answers correctly. Raises StartError."""
        if self.programs:
            self.programs[0].wait(lambda: digits.check(self.target, self.asking, [0]))

    def cpu(self) -> dict[str, float]:
        """Return the seconds of processor time used so far, by program."""
        found: dict[str, float] = {}
        for program in self.programs:
            for role, seconds in program.cpu().items():
                found[role] = found.get(role, 0.0) + seconds
        if self.servers:
            found["model server"] = sum(server.cpu() for server in self.servers)
        return found

    def __enter__(self) -> "Contestant":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.signal(signal.SIGCONT)  # a stopped one would not end
        with ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            for program in self.programs:
                stack.enter_context(program)


def ours(name: str, folder: Path, digits: Digits, servers: Sequence[Server], **settings: object) -> Contestant:
    """Return the gateway with its shipped settings, but for those given, in front of the embedded model servers."""
    addresses = ",".join(server.target for server in servers)
    address = f"ipv4:{addresses}" if len(servers) > 1 else addresses
    return Contestant(*_gateway(name, folder, digits, address, MODEL, settings), servers=list(servers))


def before(name: str, folder: Path, digits: Digits, address: str, model: str) -> Contestant:
    """Return the gateway in front of a model server that runs already, and has the shipped model as `model`."""
    return Contestant(*_gateway(name, folder, digits, address, model, {}))


def shipped_server(log: Path) -> Server:
    """Return the embedded model server as the lab runs it."""
    return embedded(log, batching=True)


def _gateway(
    name: str, folder: Path, digits: Digits, address: str, model: str, settings: dict[str, object]
) -> tuple[str, str, Asking, list[Program]]:
    folder.mkdir()
    port = free_port()
    given = {
        "TENSOR_REST_PORT": port,
        "TENSOR_REST_RUN_DIR": folder,
        "TENSOR_REST_REQUESTS_PER_SECOND": 0,  # the load comes from one address
        "TENSOR_REST_CONNECTIONS_PER_CLIENT": 0,
        "TF_SERVER_HOST_PORT": address,
        "TF_SERVER_INVENTORY_URL": "http://127.0.0.1:9/",  # nothing listens there, unlike at a lab's inventory
        **{f"TENSOR_REST_{setting.upper()}": value for setting, value in settings.items()},
    }
    program = Program([sys.executable, "-m", "tensor_rest", "run"], folder / "log", _GATEWAY, given)
    return name, f"127.0.0.1:{port}", digits.form(f"/tf/mnist/{model}"), [program]


def simple(name: str, folder: Path, digits: Digits) -> Contestant:
    """Return the straightforward gateway in front of the straightforward model server."""
    folder.mkdir()
    server = straightforward(folder / "server.log")
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers could not reach root's socket
    (folder / "nginx.conf").write_text(_NGINX.format(port=port, user=user))
    workers = [sys.executable, "-c", "import pyuwsgi; pyuwsgi.run()", "--socket", "uwsgi.sock", "--master"]
    workers += ["--module", "straightforward_gateway:application", "--lazy-apps", "--enable-threads"]
    workers += ["--processes", "2", "--threads", "4", "--die-on-term", "--disable-logging"]
    nginx: list[object] = [
        shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx",
        "-e",
        "stderr",
        "-p",
        f"{folder}/",
        "-c",
        "nginx.conf",
    ]
    given = {**environment(), "TF_SERVER_HOST_PORT": server.target}
    programs = [
        Program(workers, folder / "uwsgi.log", folder, given),
        Program(nginx, folder / "nginx.log", folder, {}),
    ]
    return Contestant(name, f"127.0.0.1:{port}", digits.form(f"/tf/mnist/{MODEL}"), programs, [server])


def peer(name: str, folder: Path, digits: Digits) -> Contestant:
    """Return a peer, as its documentation has it run in production. Raises make.PeerError."""
    python = make.python(name)
    folder.mkdir()
    port, workers = free_port(), os.cpu_count()
    here = f"127.0.0.1:{port}"
    commands: dict[str, list[object]] = {
        "bentoml": ["-m", "bentoml", "serve", "app:Digits", "--host", "127.0.0.1", "--port", port],
        "fastapi": ["-m", "uvicorn", "app:app", "--port", port, "--workers", workers, "--no-access-log"],
        "flask": [
            "-m",
            "gunicorn",
            "app:app",
            "--bind",
            here,
            "--workers",
            workers,
            "--threads",
            4,
        ],
        "litserve": ["app.py", port],
        "mlserver": ["-c", "from mlserver.cli import main; main()", "start", "."],
    }
    given = {
        "PYTHONPATH": make.PEERS,
        "TF_CPP_MIN_LOG_LEVEL": 3,
        "BENCHMARK_MODEL": SHIPPED_MODEL,
        "BENCHMARK_WORKERS": workers,
        "BENTOML_HOME": folder,
        "BENTOML_DO_NOT_TRACK": True,
        "BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false",
        "GUNICORN_CMD_ARGS": "--no-control-socket",  # it would lie in the home folder
        "MLSERVER_HTTP_PORT": port,
        "MLSERVER_GRPC_PORT": 0,  # any free port; it is not used
        "MLSERVER_PARALLEL_WORKERS": workers,
    }
    program = Program([python, *commands[name]], folder / "log", make.PEERS / name, given)
    asking = digits.inference("/v2/models/digits/infer") if name == "mlserver" else digits.form("/classify")
    return Contestant(name, here, asking, [program], restless=name == "litserve")


def rest(name: str, address: str, model: str, digits: Digits) -> Contestant:
    """Return the JSON REST of a model server that runs already."""
    return Contestant(name, address, digits.rows(f"/v1/models/{model}:predict"))
