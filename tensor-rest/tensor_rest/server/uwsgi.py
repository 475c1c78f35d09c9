"""uWSGI: the worker processes behind nginx's socket, or alone with its own HTTP."""

import os
import resource
import sys
from pathlib import Path

from tensor_rest.settings import Settings

_PROJECT = Path(__file__).parents[2]
_MAX_QUEUE = 512
_FILES = 256  # besides two per request: a socket from nginx and one to the model server
_SOCKET_TIMEOUT_S = 6
"""Maximum seconds without any data of a large body."""

_KILL_AFTER_S = 3
"""Seconds from INT (uWSGI adds two) until workers are killed: a starting worker misses INT. uWSGI's default is 60."""


def run(settings: Settings) -> None:
    """Replace this process with uWSGI, in the foreground; never returns."""
    folder = settings.run_dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)  # the socket's path is relative: an absolute one may exceed 107 characters
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's threads would not survive the fork, and have no work
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")  # else every few threads keep a heap of their own
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "65536")  # bytes; else a large request's memory is never given back
    _allow_files(2 * (settings.concurrency + settings.waiting) + _FILES)
    # A fresh interpreter: modules loaded by this one would stay in the master's memory unused.
    os.execv(sys.executable, [sys.executable, "-c", "import pyuwsgi; pyuwsgi.run()", *options(settings)])


def _allow_files(number: int) -> None:
    """Raise the soft limit of open files, as far as the hard one lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def options(settings: Settings) -> list[str]:
    """uWSGI's command line."""
    return [
        *_listen_options(settings),
        *("--module", "tensor_rest.wsgi:application", "--pythonpath", str(_PROJECT)),
        *("--master", "--need-app", "--vacuum", "--strict"),
        # TERM finishes the requests in flight, INT does not.
        *("--hook-master-start", "unix_signal:15 gracefully_kill_them_all"),
        *("--shared-import", "tensor_rest.server.preload"),  # libraries, before the fork
        "--lazy-apps",  # the application after it: threads and open files do not survive one
        *("--gevent", str(settings.concurrency + settings.waiting), "--processes", str(settings.processes)),
        "--enable-threads",  # for runtime/offload.py
        *("--socket-timeout", str(_SOCKET_TIMEOUT_S)),
        *("--harakiri", str(settings.longest_request)),  # a worker that is stuck is replaced
        *("--worker-reload-mercy", str(_KILL_AFTER_S)),
        *("--forkbomb-delay", "0"),  # else the master sleeps for 2 s when two workers end within 2 s
        *("--buffer-size", "65535"),  # bytes of all headers; nginx lets 32 KiB through
        *("--procname-prefix", "tensor-rest "),
        *("--auto-procname", "--no-orphans"),
        *("--listen", str(_listen_queue())),
        "--disable-logging",  # nginx writes the access log, or middleware/guard.py where there is no nginx
    ]


def _listen_options(settings: Settings) -> list[str]:
    if settings.front == "uwsgi":
        # The router closes after each answer and must announce it, or clients reuse a closed connection.
        closing = ["--add-header", "Connection: close"]
        return ["--http", settings.listen, "--http-timeout", str(settings.longest_request), *closing]
    return ["--socket", settings.socket.name, "--socket", settings.probe_socket.name, "--chmod-socket=600"]


def _listen_queue() -> int:
    """Return how many requests may wait for a worker: enough for a burst. The worker refuses those that are too old."""
    try:
        most = int(Path("/proc/sys/net/core/somaxconn").read_text())
    except OSError:
        most = _MAX_QUEUE  # not Linux: the kernel limits it by itself
    return min(_MAX_QUEUE, most)
