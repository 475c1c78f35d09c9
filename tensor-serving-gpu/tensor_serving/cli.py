"""The commands `generate`, `watch` and `serve`.

They are parsed with argparse because the first two must run on a bare Python.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from types import FrameType

from tensor_serving.inventory import InventoryServer
from tensor_serving.watch import Watcher

log = logging.getLogger("tensor_serving")


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code: 0 done or told to stop, 1 failed, 2 wrong usage."""
    logging.basicConfig(format="%(asctime)s %(levelname).1s %(message)s", level=logging.INFO, stream=sys.stderr)
    # Told to stop while still starting, a command ends at once and in good order.
    on_stop(lambda: sys.exit(0))
    if arguments[:1] == ["serve"]:
        return _serve(arguments[1:])
    given = _parser().parse_args(arguments)
    return _generate(given) if given.command == "generate" else _watch(given)


def on_stop(action: Callable[[], object]) -> None:
    """Do this on TERM and on Ctrl-C, from now on."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        action()

    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tensor_serving", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("generate", "write TF Serving's config file from the models volume, once"),
        ("watch", "keep the config file up to date, and serve the inventory"),
    ):
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.add_argument("--models", type=Path, required=True, help="the models volume")
        command.add_argument("--output", type=Path, required=True, help="the ModelServerConfig file to write")
    watch = commands.choices["watch"]
    watch.add_argument("--host", default="127.0.0.1", help="address of the inventory (default: %(default)s)")
    watch.add_argument("--port", type=int, default=8502, help="its port, 0 for a free one (default: %(default)s)")
    watch.add_argument("--poll-seconds", type=float, default=0.5, help="pause between looks (default: %(default)s)")
    commands.add_parser("serve", help="the embedded model server; takes TF Serving's flags", add_help=False)
    return parser


def _generate(given: argparse.Namespace) -> int:
    return 0 if Watcher(given.models, given.output).poll() else 1


def _watch(given: argparse.Namespace) -> int:
    watcher = Watcher(given.models, given.output)
    try:
        server = InventoryServer(given.host, given.port, lambda: watcher.inventory)
    except (OSError, OverflowError) as error:
        log.error("cannot listen on %s:%s: %s; choose another with --host, --port", given.host, given.port, error)
        return 1
    watcher.poll()
    watcher.start_empty()
    stop = Event()
    on_stop(stop.set)
    Thread(target=server.serve_forever, name="inventory", daemon=True).start()
    log.info("watching %s; inventory on http://%s:%s/", given.models, given.host, server.server_port)
    watcher.run(stop, given.poll_seconds)
    server.shutdown()
    server.server_close()
    return 0


def _serve(arguments: list[str]) -> int:
    # TensorFlow's and gRPC's native halves read these once, when they are imported; what matters of what they would
    # say arrives as exceptions, and is logged as such.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from tensor_serving.embedded.options import parse

    options = parse(arguments)
    from tensor_serving.embedded.server import serve

    return serve(options)
