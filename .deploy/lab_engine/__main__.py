"""The command line of the lab. bin/compose.sh calls it."""

import argparse
import errno
import os
import sys
import xmlrpc.client
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import choice, console, model_servers, settings
from .chaos import faults
from .docker import source
from .docker.deployment import SERVING
from .docker.lab import DockerLab
from .errors import EngineError
from .local.lab import LocalLab
from .settings import Settings
from .verbs import SCALED, SERVICES, Lab, at_least, chosen, confirm

_ANOTHER_USER = f"; the lab may be another user's (you are user {os.getuid()}): set LAB_HOME to a folder of yours"
_ADVICE: dict[int | None, str] = {
    errno.EACCES: _ANOTHER_USER,
    errno.EPERM: _ANOTHER_USER,
    errno.ENOSPC: "; free space there, or set LAB_HOME to a folder on another disk",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; return the exit code: 0 done, 1 failed with a reason printed, 2 wrong usage, 130 interrupted."""
    options = _parse(arguments)
    console.use_json(getattr(options, "json", False))
    try:
        found = settings.load(running=options.verb not in ("up", "install"))
        options.engine = options.engine or found.versions["LAB_ENGINE"]
        return _run(options, found)
    except EngineError as error:
        return _fail(str(error))
    except xmlrpc.client.Fault as error:
        return _fail(f"the process manager refused: {error.faultString}")
    except BrokenPipeError:  # `bin/compose.sh ... | head`
        sys.stdout = None  # so that Python does not flush it at exit
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}{_ADVICE.get(error.errno, '')}")
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return 130


def _run(options: argparse.Namespace, found: Settings) -> int:
    if options.verb == "install":
        LocalLab(found).install(options.tests)
        return 0
    if options.verb == "up":
        console.say(console.bold(f"tensor-lab {found.version}"))
        chosen = choice.for_up(found, options)
        console.say(f"  engine      {chosen.why}")
        chosen.lab.up()
        return 0
    if options.verb == "version":
        commit = source.commit(settings.ROOT)
        console.say(f"tensor-lab {found.version}, commit {commit or 'unknown'}, tensorflow {found.tensorflow}")
    lab = choice.for_running(found, options.engine)
    if options.verb == "down" and options.volumes:
        where = "in Docker" if isinstance(lab, DockerLab) else f"in {found.home}"
        confirm(options.yes, f"stop the lab {where} and remove every model, log and data file of it")
    if options.verb == "restore":
        confirm(options.yes, "remove the models, logs, data, feedback, config and notebooks that the lab has now")
    verbs: dict[str, Callable[[], int | None]] = {
        "down": lambda: lab.down(options.volumes),
        "ps": lab.ps,
        "status": lab.status,
        "restart": lambda: _restart(lab, options.service),
        "scale": lambda: lab.scale(options.replicas),
        "logs": lambda: lab.logs(options.service, options.tail, options.follow),
        "upgrade": lab.upgrade,
        "backup": lambda: lab.backup(options.file),
        "restore": lambda: lab.restore(options.file),
        "version": lab.version,
        "chaos": lambda: faults.run(found, options.engine, options.fault, options.yes),
        "exec": lambda: lab.execute(options.service, options.command),
    }
    return verbs[options.verb]() or 0


def _restart(lab: Lab, services: Sequence[str]) -> None:
    lab.restart(services)
    console.document({"restarted": list(chosen(services))})


def _fail(reason: str) -> int:
    sys.stderr.write(f"{console.bad('error')}: {reason}\n")
    return 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser, verbs = _parsers()
    options, unknown = parser.parse_known_args(arguments)
    if options.verb == "exec" and not options.command:  # argparse accepts an empty remainder
        verbs.choices["exec"].error("a command is missing, as in: exec tensor-jupyter python --version")
    if unknown:  # argparse itself would print the usage without the verb's options
        verb = verbs.choices[options.verb]
        verb.exit(2, f"{verb.prog}: unknown argument {' '.join(unknown)}\n\n{verb.format_help()}")
    return options


def _parsers() -> tuple[argparse.ArgumentParser, Any]:
    parser = argparse.ArgumentParser(
        prog="bin/compose.sh",
        description=f"Run the lab: {', '.join(SERVICES)}.",
        epilog="Ports and other defaults are in versions.env; environment variables of the same names, such as "
        "LAB_REST_PORT, override them. LAB_HOME names the state folder (default: .lab in the clone).",
    )
    release = settings.read_env_file(settings.ROOT / "versions.env")["LAB_VERSION"]
    parser.add_argument("--version", action="version", version=f"tensor-lab {release}")
    _add_engine(parser, default=None)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_up(
        verbs.add_parser(
            "up",
            help="start the lab, or the stopped parts of it; wait until it is healthy, show that it answers",
        )
    )
    down = verbs.add_parser("down", help="stop the lab; models, logs, data and feedback stay")
    down.add_argument(
        "-v", "--volumes", action="store_true", help="also remove models, logs, data and feedback; asks first"
    )
    down.add_argument("-y", "--yes", action="store_true", help="do not ask")
    _add_json_verbs(verbs)
    scale = verbs.add_parser("scale", help=f"run 1 to {model_servers.MAX} model servers, while the lab answers")
    scale.add_argument("replicas", type=_replicas, metavar=f"{SCALED}=N", help=f"how many, 1 to {model_servers.MAX}")
    logs = verbs.add_parser("logs", help="show the services' logs")
    logs.add_argument("service", nargs="*", metavar="SERVICE", help="all if none is named")
    logs.add_argument("-f", "--follow", action="store_true", help="keep showing new lines")
    logs.add_argument("-n", "--tail", type=at_least(0), default=50, metavar="N", help="lines of each log (default: 50)")
    execute = verbs.add_parser("exec", help="run a command with a service's environment")
    execute.add_argument("service", metavar="SERVICE")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="with its arguments")
    _add_maintenance(verbs)
    chaos = verbs.add_parser("chaos", help="stage a fault on the running lab, and show what it costs under load")
    chaos.add_argument(
        "fault", choices=faults.FAULTS, help="; ".join(f"{n}: {f.about}" for n, f in faults.FAULTS.items())
    )
    chaos.add_argument("-y", "--yes", action="store_true", help="do not ask")
    install = verbs.add_parser("install", help="only make the Python environment of the local engine; up does it too")
    install.add_argument("--tests", action="store_true", help="with what bin/test.sh needs")
    for verb in verbs.choices.values():  # --engine is accepted before and after the verb
        _add_engine(verb, default=argparse.SUPPRESS)
    return parser, verbs


def _add_maintenance(verbs: Any) -> None:
    """Add the verbs for releases and backups."""
    verbs.add_parser("upgrade", help="run what this clone holds now, after a git pull; the lab's files stay")
    backup = verbs.add_parser("backup", help="write models, logs, data, feedback, config and notebooks to a new file")
    backup.add_argument("file", type=Path, metavar="FILE", help="such as lab.tar.gz; readable for you alone")
    restore = verbs.add_parser("restore", help="replace models, logs, data, feedback, config and notebooks; asks first")
    restore.add_argument("file", type=Path, metavar="FILE", help="a backup, of a lab in Docker or of local processes")
    restore.add_argument("-y", "--yes", action="store_true", help="do not ask")
    verbs.add_parser(
        "version", help="show release and commit; in Docker also whether each image was built from this clone's source"
    )


def _replicas(text: str) -> int:
    """Return N of tensor-serving=N."""
    service, _, word = text.partition("=")
    count = model_servers.number(word)
    if service != SCALED or count is None:
        raise argparse.ArgumentTypeError(
            f"invalid value {text!r} (expected {SCALED}=N, N from 1 to {model_servers.MAX})"
        )
    return count


def _add_json_verbs(verbs: Any) -> None:
    """Add the verbs that can print JSON."""
    ps = verbs.add_parser("ps", help="list what runs, its state, since when, and how often each was started again")
    status = verbs.add_parser(
        "status", help="show health, models and addresses; exit code 1 if anything is not healthy"
    )
    restart = verbs.add_parser("restart", help="stop and start services, and wait until they are healthy")
    restart.add_argument("service", nargs="*", metavar="SERVICE", help="all if none is named")
    for verb in (ps, status, restart):
        verb.add_argument("--json", action="store_true", help="one JSON document on stdout; all else goes to stderr")


def _add_engine(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--engine",
        choices=("auto", "docker", "local"),
        default=default,  # None: LAB_ENGINE
        help="where the lab runs; auto (default): in Docker if an engine answers and the images can be had, else as "
        "local processes; the other verbs use the engine that up used",
    )


def _add_up(up: argparse.ArgumentParser) -> None:
    docker = up.add_argument_group("in Docker", "An option that is not given keeps its value in a lab that is up.")
    docker.add_argument("-f", "--file", action="append", metavar="FILE", help="compose file instead of the lab's own")
    docker.add_argument(
        "-p",
        "--project",
        help="Compose's project (default: LAB_PROJECT); if it is not lab, all names begin with it",
    )
    docker.add_argument("-r", "--registry", help="where the images are (default: LAB_REGISTRY)")
    docker.add_argument("-t", "--tag", help="the images' tag (default: LAB_TAG)")
    docker.add_argument(
        "--serving",
        choices=SERVING,
        help="the model server (default: LAB_SERVING); auto: TensorFlow Serving if its image can be had, else embedded",
    )
    docker.add_argument("--gpu", action="store_true", help="the same as --serving gpu")


if __name__ == "__main__":
    sys.exit(main())
