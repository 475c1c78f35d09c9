"""The commands `generate`, `watch`, `run`, `seed` and `serve`.

They are parsed with argparse because all but `serve` must run with the standard library alone.
"""

import argparse
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from types import FrameType

from tensor_serving import __version__
from tensor_serving.environment import set_environment
from tensor_serving.inventory import InventoryServer
from tensor_serving.model_server import ModelServer
from tensor_serving.run import run
from tensor_serving.seed import seed
from tensor_serving.server_process import model_server, server_command
from tensor_serving.watch import MAX_AGE, Watcher

log = logging.getLogger("tensor_serving")


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code: 0 done or stopped by a signal, 1 failed, 2 wrong usage."""
    logging.basicConfig(format="%(asctime)s %(levelname).1s %(message)s", level=logging.INFO, stream=sys.stderr)
    # A command that is still starting exits at once, cleanly, at a stop signal.
    on_stop(lambda: sys.exit(0))
    if arguments[:1] == ["serve"]:
        return _serve(arguments[1:])
    given = _parser().parse_args(arguments)
    return {"generate": _generate, "watch": _watch, "run": _run, "seed": _seed}[given.command](given)


def on_stop(action: Callable[[], object]) -> None:
    """Run this action on TERM and on Ctrl-C, from now on."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        action()

    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tensor_serving", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"tensor-serving {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("generate", "write TF Serving's config file from the models volume, once"),
        ("watch", "keep the config file up to date, and serve the inventory"),
        ("run", "watch, and run the model server on the config file as a child process"),
    ):
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.add_argument("--models", type=Path, required=True, help="the models volume")
        if name != "run":
            command.add_argument("--output", type=Path, required=True, help="the ModelServerConfig file to write")
        if name != "generate":
            command.add_argument(
                "--poll-seconds", type=_seconds, default=0.5, help="between polls (default: %(default)s)"
            )
            text = "address to listen on (default: %(default)s)"
            command.add_argument("--host", type=_host, default="127.0.0.1", help=text)
    watch, run = commands.choices["watch"], commands.choices["run"]
    watch.add_argument("--port", type=int, default=8502, help="0 for a free one (default: %(default)s)")
    watch.add_argument(
        "--server",
        type=_address,
        metavar="HOST:PORT",
        help="the model server's REST API; versions that fail to load there are quarantined (default: none)",
    )
    run.add_argument("--port", type=int, default=9000, help="the model server's gRPC port (default: %(default)s)")
    run.add_argument("--rest-port", type=_port, default=8501, help="its REST port, not 0 (default: %(default)s)")
    run.add_argument("--inventory-port", type=int, default=8502, help="0 for a free one (default: %(default)s)")
    run.add_argument(
        "--state", type=Path, metavar="FOLDER", help="for the record of versions that did not load (default: temporary)"
    )
    run.add_argument("flags", nargs="*", metavar="-- FLAG", help="more flags for the model server, as for TF Serving")
    text = "copy the shipped models into a models volume that holds none"
    commands.add_parser("seed", help=text, description=text, allow_abbrev=False).add_argument(
        "--models", type=Path, required=True, help="the models volume"
    )
    commands.add_parser("serve", help="the embedded model server; takes TF Serving's flags", add_help=False)
    return parser


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    _port(port)
    return text


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, a number from 1 to 65535")
    return int(text)


def _host(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty (expected an address; 0.0.0.0 listens on all)")
    return text


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.01 to 86400")
    return value


def _generate(given: argparse.Namespace) -> int:
    watcher = Watcher(given.models, given.output)
    succeeded = watcher.poll(None)
    while succeeded and not watcher.complete:
        succeeded = watcher.poll(None)
    return 0 if succeeded else 1


def _watch(given: argparse.Namespace) -> int:
    server = ModelServer(given.server) if given.server else None
    watcher = Watcher(given.models, given.output, server, max_age=_max_age(given))
    with _inventory(watcher, given.models, given.host, given.port) as stop:
        watcher.run(stop, given.poll_seconds)
    return 0


def _run(given: argparse.Namespace) -> int:
    with _state_folder(given.state) as folder:
        config = folder / "models.config"
        command = server_command(given.host, given.port, given.rest_port, config, given.flags)
        server = model_server(command, folder / "loads.json")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(given.host, given.host)
        rest = ModelServer(f"{_in_url(host)}:{given.rest_port}")
        watcher = Watcher(given.models, config, rest, server.record, _max_age(given))
        with _inventory(watcher, given.models, given.host, given.inventory_port) as stop:
            return run(watcher, server, stop, given.poll_seconds)


@contextmanager
def _state_folder(wanted: Path | None) -> Iterator[Path]:
    """Yield the given folder if it can be written to, else a temporary one."""
    if wanted and os.access(wanted, os.W_OK | os.X_OK):
        yield wanted
        return
    if wanted:
        log.warning("%s cannot be written to: the record of versions that did not load is lost at a restart", wanted)
    with tempfile.TemporaryDirectory(prefix="tensor-serving-") as folder:
        yield Path(folder)


def _max_age(given: argparse.Namespace) -> float:
    return MAX_AGE + 2 * float(given.poll_seconds)


@contextmanager
def _inventory(watcher: Watcher, models: Path, host: str, port: int) -> Iterator[Event]:
    """Write the config file and serve the inventory. Yields the event that TERM sets; exits with 1 if it cannot."""
    try:
        server = InventoryServer(host, port, watcher)
    except (OSError, OverflowError) as error:
        log.error("cannot listen on %s:%s: %s; choose another address or port", _in_url(host), port, error)
        sys.exit(1)
    watcher.poll()
    try:
        watcher.start_empty()
    except OSError as error:
        log.error("the config file cannot be written: %s", error)
        sys.exit(1)
    stop = Event()
    on_stop(stop.set)
    Thread(target=server.serve_forever, name="inventory", daemon=True).start()
    log.info("watching %s; inventory on http://%s:%s/", models, _in_url(host), server.server_port)
    try:
        yield stop
    finally:
        server.shutdown()
        server.server_close()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _seed(given: argparse.Namespace) -> int:
    try:
        copied = seed(given.models)
    except OSError as error:
        log.error("the shipped models cannot be copied into %s: %s", given.models, error)
        return 1
    log.info("%s: %s", given.models, f"{', '.join(copied)} copied" if copied else "not empty, nothing is copied")
    return 0


def _serve(arguments: list[str]) -> int:
    set_environment()
    from tensor_serving.embedded.options import parse

    options = parse(arguments)
    from tensor_serving.embedded.server import serve

    return serve(options)
