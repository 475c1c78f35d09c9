"""Which engine runs the lab, and why: Docker where the lab can really run there, else local processes."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from . import memory, model_servers
from .docker import client, deployment, images
from .docker.deployment import Deployment
from .docker.lab import DockerLab
from .errors import EngineError
from .local.lab import LocalLab
from .settings import Settings
from .verbs import Lab


@dataclass(frozen=True)
class Choice:
    """A lab to act on, and the words that say why it is this one."""

    lab: Lab
    why: str


def for_up(settings: Settings, options: argparse.Namespace) -> Choice:
    """Return the lab that `up` starts. Raises EngineError if it cannot run, or already runs on the other engine."""
    local, last = LocalLab(settings), memory.recall(settings)
    in_docker = last.engine == "docker" and last.up
    if local.is_running() and options.engine == "docker":
        raise EngineError("the lab is running as local processes: stop it first, with bin/compose.sh down")
    if local.is_running() or options.engine == "local":
        if in_docker and _runs_in_docker(settings):
            raise EngineError("the lab is running in Docker: stop it first, with bin/compose.sh down")
        return Choice(
            local, "local processes, as requested" if options.engine == "local" else "local processes, as it runs"
        )
    obstacle = engine_obstacle()
    if obstacle is None:
        running = deployment.load(settings) if in_docker else None
        requested = _requested(settings, options, running)
        wanted = _deployment(settings, requested, running)
        obstacle = images.obstacle(wanted, settings)
        if obstacle is None:
            why = (
                "Docker, as requested"
                if options.engine == "docker"
                else "Docker: it answers, and the images can be had"
            )
            return Choice(DockerLab(settings, wanted), why + _about_serving(settings, requested.serving, wanted))
    if options.engine == "docker":
        raise EngineError(f"the lab cannot run in Docker: {obstacle}")
    if in_docker:
        raise EngineError(f"the lab was started in Docker, and now {obstacle}: fix that, or use --engine local")
    return Choice(local, f"local processes: {obstacle}")


def for_running(settings: Settings, engine: str) -> Lab:
    """The lab that the other verbs act on: the one `up` started last, unless an engine is named."""
    if engine == "local" or (engine == "auto" and memory.recall(settings).engine == "local"):
        return LocalLab(settings)
    remembered = deployment.load(settings)
    if remembered is None:
        raise EngineError("no lab was started in Docker here; start it with: bin/compose.sh --engine docker up")
    if obstacle := engine_obstacle():
        raise EngineError(f"the lab runs in Docker, and {obstacle}")
    return DockerLab(settings, remembered)


def engine_obstacle() -> str | None:
    """Why no lab can run in Docker on this machine, or None."""
    if obstacle := client.engine_obstacle():
        return obstacle
    if client.compose_command() is None:
        return "Docker has no Compose here (neither its plugin nor docker-compose)"
    return None


def _runs_in_docker(settings: Settings) -> bool:
    remembered = deployment.load(settings)
    return remembered is not None and engine_obstacle() is None and DockerLab(settings, remembered).is_running()


def _about_serving(settings: Settings, requested: str, wanted: Deployment) -> str:
    """Return why the embedded model server is used although it was not requested; else an empty string."""
    if wanted.serving != "embedded" or requested == "embedded":
        return ""
    return f"; the embedded model server, because {settings.versions['TF_SERVING_IMAGE']} cannot be had"


def _requested(settings: Settings, options: argparse.Namespace, running: Deployment | None) -> Deployment:
    """Return what the options select; `serving` may still be auto.

    Options that are not given keep the values of a running lab; otherwise they have their defaults.
    """
    versions = settings.versions
    files, registry, group = (str(deployment.COMPOSE_FILE),), versions["LAB_REGISTRY"], versions["LAB_GROUP"]
    last = running or Deployment(
        versions["LAB_PROJECT"], files, registry, group, versions["LAB_TAG"], versions["LAB_SERVING"]
    )
    if running and options.project not in (None, running.project):
        raise EngineError(f"the lab {running.project} is up: stop it first, with bin/compose.sh down")
    for file in options.file or []:
        if not Path(file).is_file():
            raise EngineError(f"{file} is not there: -f names a compose file")
    given = {
        "project": options.project,
        "files": tuple(str(Path(file).absolute()) for file in options.file or ()),
        "registry": options.registry,
        "tag": options.tag,
        "serving": "gpu" if options.gpu else options.serving,
    }
    return replace(last, **{name: value for name, value in given.items() if value})


def _deployment(settings: Settings, requested: Deployment, running: Deployment | None) -> Deployment:
    """Return the deployment with the model server's variant, the files that this takes, and the number of servers."""
    serving = requested.serving
    if serving not in deployment.SERVING:
        raise EngineError(f"LAB_SERVING={serving!r} is not one of {', '.join(deployment.SERVING)}")
    if serving == "auto":
        serving = deployment.best_serving(settings, requested.registry, requested.group, requested.tag)
    files = tuple(file for file in requested.files if file != str(deployment.GPU_FILE))
    if serving == "gpu":
        files = (*files, str(deployment.GPU_FILE))
    replicas = running.replicas if running else model_servers.at_start(settings, serving, client.cores())
    return replace(requested, files=files, serving=serving, replicas=replicas)
