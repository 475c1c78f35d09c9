"""Which engine runs the lab, and why: Docker where the lab can really run there, else local processes."""

import argparse
from dataclasses import dataclass
from pathlib import Path

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
    """The lab that `up` starts; raises EngineError when Docker was asked for by name and cannot be had."""
    local = LocalLab(settings)
    if options.engine == "local":
        return Choice(local, "local processes, as asked")
    if options.engine == "auto" and local.is_running():
        return Choice(local, "local processes: the lab is running so")
    obstacle = _engine_obstacle()
    if obstacle is None:
        wanted = _deployment(settings, options)
        obstacle = images.obstacle(wanted, settings)
        if obstacle is None:
            if local.is_running():
                raise EngineError("the lab is running as local processes: stop it first, with bin/compose.sh down")
            why = "Docker, as asked" if options.engine == "docker" else "Docker: it answers, and the images can be had"
            return Choice(DockerLab(settings, wanted), why + _about_serving(settings, options, wanted))
    if options.engine == "docker":
        raise EngineError(f"the lab cannot run in Docker: {obstacle}")
    return Choice(local, f"local processes: {obstacle}")


def for_running(settings: Settings, engine: str) -> Choice:
    """The lab that the other verbs act on: the one `up` started last, unless an engine is named."""
    remembered = deployment.load(settings)
    if engine == "docker" and remembered is None:
        raise EngineError("no lab was started in Docker here; start it with: bin/compose.sh --engine docker up")
    if remembered is not None and engine != "local":
        if obstacle := _engine_obstacle():
            raise EngineError(f"the lab runs in Docker, and {obstacle}")
        return Choice(DockerLab(settings, remembered), "Docker")
    return Choice(LocalLab(settings), "local processes")


def _engine_obstacle() -> str | None:
    if client.engine_version() is None:
        return "no Docker engine answers"
    if client.compose_command() is None:
        return "Docker has no Compose here (neither its plugin nor docker-compose)"
    return None


def _about_serving(settings: Settings, options: argparse.Namespace, wanted: Deployment) -> str:
    """Why the model server is not TensorFlow Serving, where nobody asked for another."""
    asked = options.serving or settings.versions["LAB_SERVING"]
    if wanted.serving != "embedded" or asked == "embedded":
        return ""
    return f"; the embedded model server, because {settings.versions['TF_SERVING_IMAGE']} cannot be had"


def _deployment(settings: Settings, options: argparse.Namespace) -> Deployment:
    registry, tag = options.registry or settings.versions["LAB_REGISTRY"], options.tag or settings.versions["LAB_TAG"]
    group = settings.versions["LAB_GROUP"]
    serving = "gpu" if options.gpu else options.serving or settings.versions["LAB_SERVING"]
    if serving not in deployment.SERVING:
        raise EngineError(
            f"LAB_SERVING={serving!r} is no model server: set it to one of {', '.join(deployment.SERVING)}"
        )
    if serving == "auto":
        serving = deployment.best_serving(settings, registry, group, tag)
    named = [str(Path(file).absolute()) for file in options.file or []]
    files = named or [str(deployment.COMPOSE_FILE), *([str(deployment.GPU_FILE)] if serving == "gpu" else [])]
    project = options.project or settings.versions["LAB_PROJECT"]
    return Deployment(project, tuple(files), registry, group, tag, serving)
