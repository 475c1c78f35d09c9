"""The command line of the lab on Kubernetes. bin/kube.sh calls it."""

import argparse
import sys
from collections.abc import Callable

from .. import console, settings
from ..errors import EngineError
from ..verbs import at_least
from . import cluster, kubectl, manifests
from .manifests import Choice


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; return the exit code: 0 done, 1 failed with a reason printed, 2 wrong usage, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options) or 0
    except EngineError as error:
        return _fail(str(error))
    except BrokenPipeError:  # `bin/kube.sh render | head`
        sys.stdout = None  # so that Python does not flush it at exit
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return 130


def _run(options: argparse.Namespace) -> int | None:
    found = settings.load()
    program = kubectl.find(found)
    if options.verb == "render":
        console.say(manifests.render(program, _choice(options), found).rstrip())
        return 0
    there = cluster.connect(program, options.context, options.namespace)
    verbs: dict[str, Callable[[], int | None]] = {
        "apply": lambda: cluster.apply(there, _choice(options), found, options.yes, options.timeout),
        "status": lambda: cluster.status(there),
        "test": lambda: cluster.test(there, found),
        "logs": lambda: cluster.logs(there, options.service, options.tail, options.follow),
        "delete": lambda: cluster.delete(there, options.yes, options.volumes),
    }
    return verbs[options.verb]()


def _choice(options: argparse.Namespace) -> Choice:
    return Choice(options.overlay, tuple(options.component), options.namespace, options.host, options.gateway)


def _fail(reason: str) -> int:
    sys.stderr.write(f"{console.bad('error')}: {reason}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bin/kube.sh",
        description="Run the lab on a Kubernetes cluster, from 1.25 on. docs/kubernetes.md is the guide.",
        epilog="LAB_REGISTRY, LAB_GROUP, LAB_TAG and LAB_SERVING say which images; the settings of tensor-rest and "
        "tensor-serving are taken from the environment, as bin/compose.sh takes them.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    render = verbs.add_parser("render", help="print the manifests; no cluster is called")
    apply = verbs.add_parser(
        "apply", help="bring the lab onto the cluster, wait until it is ready, show that it answers"
    )
    for verb in (render, apply):
        overlays, components = manifests.names("overlays"), manifests.names("components")
        verb.add_argument("--overlay", choices=overlays, default="local", help="kind of cluster (default: local)")
        verb.add_argument("--component", action="append", choices=components, default=[], help="may be given again")
        verb.add_argument("--host", default="", metavar="NAME", help="the name under which the gateway is reached")
        verb.add_argument(
            "--gateway", default="", metavar="[NAMESPACE/]NAME", help="the Gateway that gateway-api's route belongs to"
        )
    apply.add_argument(
        "--timeout", type=at_least(1), default=600, metavar="SECONDS", help="for each service (default: 600)"
    )
    verbs.add_parser("status", help="show pods, volumes and autoscalers; exit code 1 if anything is not ready")
    verbs.add_parser("test", help="send the sample digit through the gateway")
    logs = verbs.add_parser("logs", help="show the services' logs")
    logs.add_argument("service", nargs="*", metavar="SERVICE", help="all if none is named")
    logs.add_argument("-f", "--follow", action="store_true", help="keep showing new lines")
    logs.add_argument("-n", "--tail", type=at_least(0), default=50, metavar="N", help="lines of each pod (default: 50)")
    delete = verbs.add_parser("delete", help="remove the lab; volumes stay; asks first")
    delete.add_argument("--volumes", action="store_true", help="remove the whole namespace with every model and file")
    for verb in (apply, delete):
        verb.add_argument("-y", "--yes", action="store_true", help="do not ask")
    for name, verb in verbs.choices.items():
        verb.add_argument("--namespace", default=manifests.NAMESPACE, help="default: %(default)s")
        if name != "render":
            verb.add_argument("--context", default="", help="of your kubeconfig (default: the current one)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
