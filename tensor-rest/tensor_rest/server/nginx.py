"""nginx: HTTP in front of uWSGI's socket, with limits, request ids, a JSON access log and the gateway's errors."""

import contextlib
import importlib.util
import ipaddress
import os
import resource
import shutil
import signal
import sys
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from tensor_rest.runtime import headers, request_id
from tensor_rest.settings import Settings

_FILES = 8192
_FOLDERS = {"static": "tensor_rest.web", "swaggerui": "flask_restx"}
"""The pages' static files: first part of their URLs, and the package whose folder `static` holds them."""


def run(settings: Settings) -> None:
    """Replace this process with nginx, in the foreground; never returns. Exits with a message if nginx is missing."""
    folder = settings.run_dir.resolve()
    (folder / "nginx").mkdir(parents=True, exist_ok=True)  # temporary files, and links to the files it serves itself
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        sys.exit("nginx is not installed. Install it, or set TENSOR_REST_FRONT=uwsgi: then uwsgi alone is enough.")
    for name, package in _FOLDERS.items():
        _link(folder / "nginx" / name, package)
    for name, file in (("ca", settings.ca), ("certificate", settings.certificate), ("key", settings.key)):
        if file:
            _symlink(folder / "nginx" / f"{name}.pem", file.resolve())
    _write(folder / "nginx.conf", render(settings))
    _write_no_pid(folder / "nginx.pid")
    _end_orphans(folder)
    os.chdir(folder)  # the configuration has a relative socket path: an absolute one may exceed 107 characters
    os.execv(program, [program, "-e", "stderr", "-p", f"{folder}/", "-c", "nginx.conf"])


def _write(file: Path, text: str) -> None:
    """Write a file, unless it already holds this text: so the gateway can start again on a full disk."""
    with contextlib.suppress(OSError):
        if file.read_text(encoding="utf-8") == text:
            return
    file.write_text(text, encoding="utf-8")


def _write_no_pid(file: Path) -> None:
    """Link nginx's mandatory pid file to /dev/null: nothing reads it, and with a full disk nginx would not start."""
    _symlink(file, Path(os.devnull))


def _link(place: Path, package: str) -> None:
    """Link `place`, below the run folder, to a package's files: so nginx.conf has no unusual path to quote."""
    found = importlib.util.find_spec(package)  # without importing it: that takes a second
    assert found is not None
    assert found.origin is not None
    _symlink(place, Path(found.origin).parent / "static")


def _symlink(place: Path, where: Path) -> None:
    place.unlink(missing_ok=True)
    place.symlink_to(where)


def _end_orphans(folder: Path) -> None:
    """End workers whose master was killed: they hold the port, and a new master could not listen on it."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "comm").read_text() == "nginx\n" and (process / "cwd").resolve() == folder:
                os.kill(int(process.name), signal.SIGKILL)


def _files() -> int:
    """How many files nginx may have open: the system's limit, at most 8192."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)


def _resolver(file: Path) -> str:
    """Return the first DNS server in `file`, which nginx does not read, in nginx's syntax; empty if there is none.

    nginx does not accept link-local addresses, which name an interface (fe80::1%eth0).
    """
    with contextlib.suppress(OSError):
        for line in file.read_text(encoding="utf-8").splitlines():
            name, value, *_ = *line.split(), "", ""
            with contextlib.suppress(ValueError):
                if name == "nameserver" and "%" not in value:
                    address = ipaddress.ip_address(value)
                    return f"[{address}]" if address.version == 6 else str(address)
    return ""


def render(settings: Settings, resolv_conf: Path = Path("/etc/resolv.conf")) -> str:
    """nginx.conf as text; its paths are relative to the run folder."""
    places = settings.concurrency * settings.processes
    environment = Environment(loader=PackageLoader("tensor_rest.server"), undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("nginx.conf").render(
        listen=settings.listen,
        max_body=settings.max_upload_bytes,
        request_id=request_id.PATTERN,
        requests=settings.requests_per_second,
        connections=settings.connections_per_client,
        # How many bodies may be in flight: medium and chunked ones in nginx's memory, large ones in the workers'.
        medium_bodies=3 * places,
        large_bodies=max(1, places // 2),  # so that a worker can take other requests
        chunked_bodies=max(1, settings.body_memory_bytes // (4 * settings.max_upload_bytes)),
        proxies=settings.trusted_proxies,
        origins=settings.cors_origins,
        folders=_FOLDERS,
        probes=headers.PROBES,
        headers=headers.SECURITY,
        key_name=headers.KEY_NAME,
        files=_files(),
        read_timeout=settings.longest_request + 5,
        repeat_timeout=settings.longest_request // 2,
        board=settings.board_server,
        resolver=_resolver(resolv_conf),
        grpc_listen=settings.listen_at(settings.grpc_port),
        serving=settings.server,
        serving_name=settings.server.rpartition(":")[0].strip("[]"),
        tls=settings.ca is not None,
        shown=settings.certificate is not None,
        max_message=settings.max_message_bytes,
        inventory_listen=settings.listen_at(settings.inventory_port),
        inventory=f"{settings.inventory_url.host}:{settings.inventory_url.port}",
        socket=settings.socket.name,
        probe_socket=settings.probe_socket.name,
        # If root starts nginx, its workers would change to a user without access to root's socket.
        user="root" if os.geteuid() == 0 else "",
    )
