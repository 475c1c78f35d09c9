"""The verbs: what `bin/compose.sh up`, `down`, `ps` and the others do on the local engine."""

import os
import subprocess
import sys
from collections.abc import Sequence

from . import console, environment, health, logs, preflight, sample, services, volumes
from .errors import EngineError
from .manager import Manager, exclusive
from .services import Service
from .settings import ROOT, Settings, find_nginx

NOTEBOOK = "/lab/tree/notebook/MNIST/MnistNet.ipynb"


def install(settings: Settings, tests: bool) -> None:
    """Make the Python environment; with `tests`, add what bin/test.sh needs."""
    _check_room(settings)
    with exclusive(settings, "install"):
        _ensure_environment(settings)
        if tests:
            environment.install(settings, ROOT / "tests" / "requirements.txt", "installing the test tools")


def up(settings: Settings) -> None:
    """Start the lab, wait until it is healthy, and show that it answers."""
    _say_what_was_resolved(settings)
    _check_room(settings)
    with exclusive(settings, "up"):
        _ensure_environment(settings)
        manager = Manager(settings)
        _start(settings, manager)
        health.wait_for(settings, manager, services.all_services(settings))
        _say_how_to_go_on(settings)


def down(settings: Settings, remove_volumes: bool, sure: bool) -> None:
    """Stop every process of the lab; with `remove_volumes`, and a yes, also remove what it holds."""
    if remove_volumes and not sure and not _user_agrees(settings):
        raise EngineError("nothing was stopped and nothing removed")
    if not settings.home.exists():
        console.say("there is no lab here: nothing to stop")
        return
    with exclusive(settings, "down"), console.Progress("stopping the lab"):
        Manager(settings).stop()
    if remove_volumes:
        volumes.remove(settings)
        console.say(f"removed the models, logs and data in {settings.home}")
    else:
        console.say(f"models, logs and data stay in {settings.home}")


def ps(settings: Settings) -> None:
    """Show every process: is it running, since when, how often was it started again."""
    processes = Manager(settings).processes()
    if not processes:
        console.say("the lab is not running; start it with: bin/compose.sh up")
        return
    lines = [
        [
            process.service,
            process.program,
            process.state.lower(),
            str(process.pid or "-"),
            _duration(process.uptime),
            str(process.restarts),
            process.why,
        ]
        for process in processes
    ]
    console.table(["SERVICE", "PROCESS", "STATE", "PID", "UP", "RESTARTS", ""], lines)


def status(settings: Settings) -> int:
    """Show each service's health and what is served; returns 0 if all are healthy, else 1."""
    found = services.all_services(settings)
    healthy = {service.name: health.is_healthy(service) for service in found} if Manager(settings).is_running() else {}
    if not healthy:
        console.say("the lab is not running; start it with: bin/compose.sh up")
        return 1
    console.say("engine: local processes, state in " + str(settings.home))
    console.rows(
        (name, console.good("healthy") if fine else console.bad("not healthy")) for name, fine in healthy.items()
    )
    console.say("models:")
    console.rows(_models(settings))
    console.say("open:")
    console.rows(_addresses(settings))
    return 0 if all(healthy.values()) else 1


def restart(settings: Settings, names: Sequence[str]) -> None:
    """Stop and start the named services, all if none is named, and wait until they are healthy."""
    chosen = _choose(settings, names)
    manager = _running_manager(settings)
    with exclusive(settings, "restart"):
        for service in chosen:
            manager.restart(service.name)
        health.wait_for(settings, manager, chosen)


def show_logs(settings: Settings, names: Sequence[str], count: int, follow: bool) -> None:
    """Print the services' logs."""
    logs.show(settings, _choose(settings, names), count, follow)


def execute(settings: Settings, name: str, command: Sequence[str]) -> int:
    """Run a command as the service would see it: its environment, its folders; returns the command's exit code."""
    _choose(settings, [name])
    if not environment.is_current(settings):
        raise EngineError("the lab's environment is not made yet: run bin/compose.sh up first")
    volumes.prepare(settings)
    try:
        return subprocess.run(command, env=services.environment(settings), check=False).returncode
    except OSError as error:
        raise EngineError(f"{command[0]} cannot be run: {error.strerror}") from None


def _check_room(settings: Settings) -> None:
    current = environment.is_current(settings)
    preflight.check_folder(settings, preflight.SPACE_TO_RUN if current else preflight.SPACE_FOR_ENVIRONMENT)


def _ensure_environment(settings: Settings) -> None:
    if not environment.is_current(settings):
        Manager(settings).stop()  # a running lab runs from the environment that is about to be replaced
    environment.ensure(settings)


def _start(settings: Settings, manager: Manager) -> None:
    config = services.supervisor_config(settings)
    variables = services.environment(settings) | {"TENSOR_LAB_SUPERVISED": str(settings.home)}
    if manager.is_running_with(config, variables):
        manager.start_stopped()
        return
    if manager.is_running():
        console.say("the settings have changed since the lab was started: starting it anew")
    manager.stop()
    preflight.check_ports(settings)
    for name in volumes.prepare(settings):
        console.say(f"put the shipped model {name} into {settings.models}")
    manager.start(config, variables)


def _say_what_was_resolved(settings: Settings) -> None:
    ports = settings.ports
    front = f"nginx ({find_nginx()}) and uWSGI" if find_nginx() else "uWSGI's own HTTP (nginx is not installed)"
    console.say(console.bold(f"tensor-lab {settings.version}"))
    console.rows(
        [
            ("engine", "local processes (the one engine of this release)"),
            ("python", f"{sys.version.split()[0]} ({sys.executable})"),
            ("tensorflow", settings.tensorflow),
            ("gateway", front),
            ("state", str(settings.home)),
            ("ports", ", ".join(f"{name} {port}" for name, port in vars(ports).items()) + " on 127.0.0.1"),
        ]
    )


def _say_how_to_go_on(settings: Settings) -> None:
    if sample.MODEL in sample.served_models(settings):
        answer = sample.classify(settings)
        best = answer[0]
        console.say(
            f"\n{sample.picture().name} -> {sample.MODEL}: it is a {console.bold(str(best['digit']))} "
            f"(probability {best['probability']:.4f})"
        )
    console.say("\nThe lab is up. Open:")
    console.rows(_addresses(settings))
    picture = os.path.relpath(sample.picture())
    console.say(
        "\nTry:\n"
        f"  curl -F image=@{picture} {settings.url(settings.ports.rest, f'/tf/mnist/{sample.MODEL}')}\n"
        "  Run All Cells in the notebook, then ask the new version the same\n"
        "  bin/compose.sh status | logs -f | restart tensor-serving | down"
    )


def _addresses(settings: Settings) -> list[tuple[str, str]]:
    ports = settings.ports
    return [
        ("the page", settings.url(ports.rest)),
        ("Swagger UI", settings.url(ports.rest, "/tf/")),
        ("JupyterLab", settings.url(ports.jupyter, f"{NOTEBOOK}?token={volumes.token(settings)}")),
        ("TensorBoard", settings.url(ports.board)),
    ]


def _models(settings: Settings) -> list[tuple[str, str]]:
    try:
        models = sample.served_models(settings)
    except OSError as error:
        return [("unknown", f"the watcher does not answer: {error}")]
    return [(name, "version " + ", ".join(map(str, versions))) for name, versions in models.items()] or [("none", "")]


def _choose(settings: Settings, names: Sequence[str]) -> list[Service]:
    known = {service.name: service for service in services.all_services(settings)}
    for name in names:
        if name not in known:
            raise EngineError(f"unknown service '{name}'; the services are {', '.join(sorted(known))}")
    return [known[name] for name in names or known]


def _running_manager(settings: Settings) -> Manager:
    manager = Manager(settings)
    if not manager.is_running():
        raise EngineError("the lab is not running; start it with: bin/compose.sh up")
    return manager


def _user_agrees(settings: Settings) -> bool:
    if not sys.stdin.isatty():
        raise EngineError("--volumes removes every model, log and data file: add --yes if that is meant")
    console.say(f"This removes every model, log and data file in {settings.home}.")
    return input("Type yes to go on: ").strip() == "yes"


def _duration(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds}s"
    return f"{seconds // 60}m" if seconds < 3600 else f"{seconds // 3600}h{seconds % 3600 // 60}m"
