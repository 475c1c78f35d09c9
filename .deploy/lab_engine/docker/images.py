"""The images of a lab: here already, pulled from the registry, or built."""

import subprocess

from .. import console
from ..errors import EngineError
from ..settings import ROOT, Settings
from . import client
from .deployment import Deployment


def obstacle(deployment: Deployment, settings: Settings) -> str | None:
    """Why the images cannot be had, or None; decided in seconds, before anything is pulled or built."""
    missing = [image for image in deployment.images.values() if not client.has_image(image)]
    if not missing or all(client.can_pull(image) for image in missing):
        return None
    bases = [settings.versions["PYTHON_IMAGE"]]
    if deployment.serving != "embedded":
        bases.append(serving_base(deployment, settings))
    for base in bases:
        if not client.has_image(base) and not client.can_pull(base):
            hint = "bin/base-image.sh makes it" if base == bases[0] else "use --serving embedded"
            return f"{missing[0]} is neither here nor in the registry, and its base {base} cannot be had ({hint})"
    return None


def ensure(deployment: Deployment) -> None:
    """Pull what the registry has, build the rest; raises EngineError with the reason."""
    missing = {service: image for service, image in deployment.images.items() if not client.has_image(image)}
    to_build = {service: image for service, image in missing.items() if not client.can_pull(image)}
    for image in (image for service, image in missing.items() if service not in to_build):
        with console.Progress(f"pulling {image}"):
            _run(["docker", "pull", "--quiet", image])
    if to_build:
        console.say(f"neither here nor in the registry, so to be built: {', '.join(to_build.values())}")
    if len(to_build) == len(deployment.images):
        _build(deployment, "push-all-docker.sh")
    else:
        for service in to_build:
            _build(deployment, "push-docker.sh", {"tensor-serving": "tensor-serving-gpu"}.get(service, service))


def _build(deployment: Deployment, script: str, *folder: str) -> None:
    options = ["--registry", deployment.registry, "--group", deployment.group, "--tag", deployment.tag]
    command = [str(ROOT / "bin" / script), *folder, "--no-push", "--serving", deployment.serving, *options]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise EngineError("the images could not be built; the last lines above say why")


def serving_base(deployment: Deployment, settings: Settings) -> str:
    """TensorFlow Serving's image for the variant."""
    return settings.versions["TF_SERVING_IMAGE"] + ("-gpu" if deployment.serving == "gpu" else "")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(f"{' '.join(command[:2])} failed: {done.stderr.strip()[-500:]}")
