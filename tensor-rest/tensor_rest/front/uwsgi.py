"""uWSGI: the worker processes behind nginx's socket, or alone with its own HTTP."""

import os
import sys
from pathlib import Path

from ..settings import Settings

_PROJECT = Path(__file__).parents[2]


def run(settings: Settings) -> None:
    """Become uWSGI, in the foreground; never returns."""
    folder = settings.run_dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)  # the socket is named relative to here: absolute names end at 107 characters
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else every restart of serving logs connection details
    # A fresh interpreter: what this one has loaded would sit in the master for nothing.
    os.execv(sys.executable, [sys.executable, "-c", "import pyuwsgi; pyuwsgi.run()", *options(settings)])


def options(settings: Settings) -> list[str]:
    """uWSGI's command line."""
    return [
        *_door(settings),
        *("--module", "tensor_rest.wsgi:application", "--pythonpath", str(_PROJECT)),
        *("--master", "--need-app", "--die-on-term", "--vacuum", "--strict"),
        "--lazy-apps",  # load after the fork: gRPC's threads do not survive one
        *("--enable-threads", "--threads", str(settings.threads), "--processes", str(settings.processes)),
        *("--harakiri", str(settings.longest_request)),  # a worker that is stuck is replaced
        *("--buffer-size", "65535"),  # bytes of all headers; nginx lets 32 KiB through
        *("--procname-prefix", "tensor-rest "),
        *("--auto-procname", "--no-orphans"),
    ]


def _door(settings: Settings) -> list[str]:
    if settings.front == "uwsgi":
        # The router closes after each answer and must say so, or clients reuse a connection that is gone.
        closing = ["--add-header", "Connection: close"]
        return ["--http", settings.listen, "--http-timeout", str(settings.longest_request), *closing]
    # nginx writes the access log.
    return ["--socket", settings.socket.name, "--chmod-socket=600", "--disable-logging"]
