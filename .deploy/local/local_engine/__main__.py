"""The command line of the local engine. bin/compose.sh calls it."""

import argparse
import sys
import xmlrpc.client
from collections.abc import Callable
from typing import Any

from . import console, lab, settings
from .errors import EngineError
from .settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0 done, 1 failed with its reason said, 2 not understood, 130 interrupted."""
    options = _parse(arguments)
    try:
        return _run(options, settings.load())
    except EngineError as error:
        sys.stderr.write(f"{console.bad('error')}: {error}\n")
        return 1
    except xmlrpc.client.Fault as error:
        sys.stderr.write(f"{console.bad('error')}: the process manager refused: {error.faultString}\n")
        return 1
    except OSError as error:
        where = f" {error.filename}:" if error.filename else ""
        reason = f"{where} {error.strerror or error}: is the disk full, or the folder another user's?"
        sys.stderr.write(f"{console.bad('error')}:{reason}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return 130


def _run(options: argparse.Namespace, found: Settings) -> int:
    verbs: dict[str, Callable[[], int | None]] = {
        "install": lambda: lab.install(found, options.tests),
        "up": lambda: lab.up(found),
        "down": lambda: lab.down(found, options.volumes, options.yes),
        "ps": lambda: lab.ps(found),
        "status": lambda: lab.status(found),
        "restart": lambda: lab.restart(found, options.service),
        "logs": lambda: lab.show_logs(found, options.service, options.tail, options.follow),
        "exec": lambda: lab.execute(found, options.service, options.command),
    }
    return verbs[options.verb]() or 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser, verbs = _parsers()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:  # argparse alone would show the usage of the whole, which does not list the verb's options
        verb = verbs.choices[options.verb]
        verb.exit(2, f"{verb.prog}: unknown argument {' '.join(unknown)}\n\n{verb.format_help()}")
    return options


def _parsers() -> tuple[argparse.ArgumentParser, Any]:
    parser = argparse.ArgumentParser(
        prog="bin/compose.sh",
        description="Run the lab: tensor-jupyter, tensor-serving, tensor-board and tensor-rest.",
        epilog="Ports and versions are in versions.env; LAB_REST_PORT, LAB_JUPYTER_PORT, LAB_BOARD_PORT, "
        "LAB_SERVING_PORT, LAB_INVENTORY_PORT and LAB_HOME (the state folder, else .lab) in the environment win.",
    )
    parser.add_argument(
        "--engine", metavar="auto|docker|local", help="where the lab runs; auto, the default, decides and says why"
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    install = verbs.add_parser("install", help="only make the lab's Python environment; up does it too")
    install.add_argument("--tests", action="store_true", help="with what bin/test.sh needs")
    verbs.add_parser("up", help="start the lab, wait until it is healthy, show that it answers")
    down = verbs.add_parser("down", help="stop the lab; models, logs and data stay")
    down.add_argument("-v", "--volumes", action="store_true", help="also remove models, logs and data; asks first")
    down.add_argument("-y", "--yes", action="store_true", help="do not ask")
    verbs.add_parser("ps", help="list the processes, their state and how often each was started again")
    verbs.add_parser("status", help="show health, models and addresses; exit code 1 if anything is not healthy")
    restart = verbs.add_parser("restart", help="stop and start services, and wait until they are healthy")
    restart.add_argument("service", nargs="*", metavar="SERVICE", help="all if none is named")
    logs = verbs.add_parser("logs", help="show the services' logs")
    logs.add_argument("service", nargs="*", metavar="SERVICE", help="all if none is named")
    logs.add_argument("-f", "--follow", action="store_true", help="go on showing what is added")
    logs.add_argument("-n", "--tail", type=int, default=50, metavar="N", help="lines of each log (default: 50)")
    execute = verbs.add_parser("exec", help="run a command with a service's environment")
    execute.add_argument("service", metavar="SERVICE")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    return parser, verbs


if __name__ == "__main__":
    sys.exit(main())
