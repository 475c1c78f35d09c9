"""The four services as processes: their commands, their environment, and the addresses that answer when healthy.

The names are those of the compose file. A service is a group of programs, started, stopped and restarted together.
"""

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..settings import HOST, ROOT, Ports, ReplicaPorts, Settings

_SETTINGS = (  # prefixes of variables; no secrets
    *("TENSOR_REST_", "TENSOR_SERVING_", "TF_SERVER_"),
    *("LAB_OFFLINE", "LAB_REST_PUBLIC_URL", "LAB_TRAIN_"),
)
FILE_OF_NGINX = "/static/base.css"  # served by nginx itself, without a worker


@dataclass(frozen=True)
class Program:
    """One process.

    probe: the address that answers (see web.answers) as long as this program works; behind: the name of the program
    that the probe passes through; stop_signal: the signal after which it finishes its requests and ends.
    """

    name: str
    command: tuple[str, ...]
    probe: str
    behind: str = ""
    stop_signal: str = "TERM"


@dataclass(frozen=True)
class Service:
    """The programs of one service; it is healthy when their probes and the `ready` addresses answer.

    lab_id: the only lab id that these answers may contain. number: which of several model servers it is.
    """

    name: str
    programs: tuple[Program, ...]
    ready: tuple[str, ...] = ()
    lab_id: str = ""
    number: int = 1

    @property
    def group(self) -> str:
        """The name of supervisord's group of its programs."""
        return self.name + _suffix(self.number)


def all_services(settings: Settings) -> tuple[Service, ...]:
    """Return the services in the order in which they are started."""
    return (_serving(settings), *replicas(settings), _board(settings), _rest(settings), _jupyter(settings))


def replicas(settings: Settings) -> tuple[Service, ...]:
    """Return the model servers other than the first."""
    return tuple(_serving(settings, ports, number) for number, ports in enumerate(settings.replicas, start=2))


def model_servers(settings: Settings) -> str:
    """Return the gateway's list of model servers: a line `GRPC_ADDRESS INVENTORY_ADDRESS` for each."""
    servers: tuple[Ports | ReplicaPorts, ...] = (settings.ports, *settings.replicas)
    return "".join(f"{HOST}:{ports.serving} {HOST}:{ports.inventory}\n" for ports in servers)


def monitor(settings: Settings) -> Service:
    """Return the monitor of the other programs, which is started, stopped and logged like a service of the lab."""
    path = f"PYTHONPATH={ROOT / '.deploy'}"
    command = ("env", path, str(settings.python), "-B", "-m", "lab_engine.local.monitor")
    return Service("lab", (Program("monitor", command, probe=""),))


def environment(settings: Settings, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of every program of the lab, and of the commands that `exec` runs."""
    kept = {name: value for name, value in environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    path = [str(settings.venv / "bin"), kept.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    return {**kept, "PATH": os.pathsep.join(path), **_own_variables(settings)}


def _own_variables(settings: Settings) -> dict[str, str]:
    ports = settings.ports
    return {
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "LAB_HOME": str(settings.home),
        "LAB_ID": settings.lab_id,
        "TENSOR_REST_LAB_ID": settings.lab_id,
        "LAB_MODELS": str(settings.models),
        "LAB_LOGS": str(settings.logs),
        "LAB_DATA": str(settings.data),
        "LAB_FEEDBACK": str(settings.feedback),
        "KERAS_HOME": str(settings.data / "keras-home"),
        "LAB_REST_URL": settings.url(ports.rest, ""),
        "LAB_BOARD_URL": settings.url(ports.board),
        **{f"LAB_{name.upper()}_PORT": str(port) for name, port in vars(ports).items()},
        "LAB_WORKSPACE": str(settings.workspace),
        "JUPYTER_TOKEN_FILE": str(settings.token_file),
        "JUPYTER_CONFIG_DIR": str(settings.run / "jupyter" / "config"),
        "JUPYTER_DATA_DIR": str(settings.run / "jupyter" / "data"),
        "JUPYTER_RUNTIME_DIR": str(settings.run / "jupyter" / "runtime"),
        "IPYTHONDIR": str(settings.run / "jupyter" / "ipython"),
        "TENSOR_REST_HOST": HOST,
        "TENSOR_REST_PORT": str(ports.rest),
        "TENSOR_REST_RUN_DIR": str(settings.run / "rest"),
        "TENSOR_REST_FRONT": "nginx" if find_nginx() else "uwsgi",
        "TENSOR_REST_FEEDBACK_DIR": str(settings.feedback),
        "TENSOR_REST_RULES": str(settings.config / "rules.json"),
        "TENSOR_REST_BOARD_SERVER": f"{HOST}:{ports.board}",
        "TENSOR_REST_BOARD_URL": settings.url(ports.board),
        "TENSOR_REST_JUPYTER_URL": settings.url(ports.jupyter),
        "TF_SERVER_HOST_PORT": f"{HOST}:{ports.serving}",
        "TF_SERVER_INVENTORY_URL": settings.url(ports.inventory),
    }


def supervisor_config(settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """Return the configuration of supervisord for these services; it includes the file for further model servers.

    The lab's variables are in it as comments, so that a changed setting changes the configuration.
    """
    services = [service for service in (*all_services(settings), monitor(settings)) if service.number == 1]
    given = {name: value for name, value in environ.items() if name.startswith(_SETTINGS)}
    variables = sorted((given | _own_variables(settings)).items())
    comments = "".join(f"; {name}={value!r}\n" for name, value in variables)
    root_needs = "user=root\n" if os.getuid() == 0 else ""  # supervisord warns when it runs as root by accident
    head = (
        f"{comments}\n[supervisord]\nlogfile={settings.run}/supervisord.log\nlogfile_maxbytes=10MB\nlogfile_backups=1\n"
        f"pidfile={settings.run}/supervisord.pid\nchildlogdir={settings.run}\n{root_needs}\n"
        f"[unix_http_server]\nfile={settings.run}/supervisor.sock\nchmod=0600\n\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        "\n[include]\nfiles=replicas.conf\n"  # beside this one; a whole path would be split at spaces
    )
    return head + _sections(settings, services)


def replicas_config(settings: Settings) -> str:
    """Return the part of that configuration for the further model servers."""
    return _sections(settings, replicas(settings))


def _sections(settings: Settings, services: Sequence[Service]) -> str:
    groups = (_group_section(service, order) for order, service in enumerate(services))
    programs = (_program_section(settings, program) for service in services for program in service.programs)
    return "".join(groups) + "".join(programs)


def _group_section(service: Service, order: int) -> str:
    names = ",".join(program.name for program in service.programs)
    return f"\n[group:{service.group}]\nprograms={names}\npriority={order}\n"


def _suffix(number: int) -> str:
    return "" if number == 1 else f"-{number}"


def find_nginx() -> str | None:
    """Return nginx's path, or None. Debian installs it in /usr/sbin, which is not on a normal user's PATH."""
    return shutil.which(
        "nginx", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])
    )


def _program_section(settings: Settings, program: Program) -> str:
    command = shlex.join(program.command).replace("%", "%%")
    return (
        f"\n[program:{program.name}]\ncommand={command}\ndirectory={ROOT}\n"
        # Four starts that end within three seconds mean FATAL: `up` reports it, and the monitor tries again later.
        "autorestart=true\nstartsecs=3\nstartretries=3\n"
        f"stopsignal={program.stop_signal}\nstopwaitsecs=10\nstopasgroup=true\nkillasgroup=true\n"
        f"redirect_stderr=true\nstdout_logfile={settings.run}/log/{program.name}.log\n"
        "stdout_logfile_maxbytes=10MB\nstdout_logfile_backups=1\n"
    )


def _serving(settings: Settings, ports: Ports | ReplicaPorts | None = None, number: int = 1) -> Service:
    ports, suffix = ports or settings.ports, _suffix(number)
    config = settings.run / f"models{suffix}.config"
    batching = ROOT / "tensor-serving-gpu" / "tensor_serving" / "batching_parameters.pbtxt"
    python = (str(settings.python), "-m", "tensor_serving")
    watcher = Program(
        f"watcher{suffix}",
        (
            *(*python, "watch", "--models", str(settings.models), "--output", str(config)),
            *("--port", str(ports.inventory), "--server", f"{HOST}:{ports.serving_rest}"),
        ),
        probe=settings.url(ports.inventory),
    )
    server = Program(
        f"model-server{suffix}",
        (
            *(*python, "serve", f"--port={ports.serving}", f"--rest_api_port={ports.serving_rest}"),
            *(f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1"),
            *("--file_system_poll_wait_seconds=1", "--max_num_load_retries=0"),
            f"--load_record_file={settings.run / f'loads{suffix}.json'}",
            # As in `tensor_serving run` (EMBEDDED_FLAGS there has the reasons).
            *(
                "--enable_batching=true",
                f"--batching_parameters_file={batching}",
                "--tensorflow_intra_op_parallelism=1",
            ),
        ),
        probe=f"http2://{HOST}:{ports.serving}",
    )
    # The model server opens its port before it has loaded anything, so the gateway's /readyz shows whether it serves. A
    # further model server is used once it has loaded everything.
    first = (settings.url(ports.inventory, "/healthz"), settings.url(settings.ports.rest, "/readyz"))
    ready = first if number == 1 else (settings.url(ports.inventory, "/readyz"),)
    return Service("tensor-serving", (watcher, server), ready, number=number)


def _board(settings: Settings) -> Service:
    command = (
        *(str(settings.python), "-W", "ignore:pkg_resources is deprecated:UserWarning"),
        *(str(ROOT / "tensor-board" / "serve.py"), "--logdir", str(settings.logs)),
        *("--host", HOST, "--port", str(settings.ports.board)),
        *("--reload_interval", "5", "--reload_multifile", "true"),
    )
    # /data/runs needs a second process, TensorBoard's data server; other paths are answered without it.
    program = Program("tensorboard", command, probe=settings.url(settings.ports.board, "/data/runs"))
    return Service("tensor-board", (program,))


def _rest(settings: Settings) -> Service:
    servers = f"TF_SERVER_HOST_PORT=file:{settings.run / 'model-servers'}"  # which `scale` changes
    python = ("env", servers, str(settings.python), "-m", "tensor_rest")
    nginx = Program(
        "nginx", (*python, "nginx"), probe=settings.url(settings.ports.rest, FILE_OF_NGINX), stop_signal="QUIT"
    )
    fronts = (nginx,) if find_nginx() else ()
    health = settings.url(settings.ports.rest, "/healthz")
    uwsgi = Program("uwsgi", (*python, "uwsgi"), probe=health, behind="nginx" if fronts else "")
    return Service("tensor-rest", (*fronts, uwsgi), lab_id=settings.lab_id)


def _jupyter(settings: Settings) -> Service:
    command = (
        *(str(settings.python), "-m", "jupyterlab"),
        f"--config={ROOT / 'tensor-jupyter' / 'jupyter_server_config.py'}",
        *(("--allow-root",) if os.getuid() == 0 else ()),
    )
    program = Program("jupyterlab", command, probe=settings.url(settings.ports.jupyter, "/api"))
    return Service("tensor-jupyter", (program,))
