"""The images of a lab: here already, pulled from the registry, or built; and whether they are this clone's source."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .. import console
from ..errors import EngineError
from ..settings import ROOT, Settings
from . import client, source
from .deployment import Deployment

BEFORE = "-before"  # behind the tag of the images that an upgrade replaced


def obstacle(deployment: Deployment, settings: Settings) -> str | None:
    """Return why the images can be neither found, pulled nor built, or None. Nothing is built; may take a minute."""
    missing = {service: image for service, image in deployment.images.items() if not client.has_image(image)}
    try:
        with ThreadPoolExecutor() as pool:  # each may take half a minute
            found = dict(zip(missing, pool.map(_can_be_pulled, missing.values()), strict=True))
    except EngineError as error:  # a registry that may have them, and does not let this machine see
        return str(error)
    for service, image in missing.items():
        base = _base(service, deployment, settings)
        if not found[service] and not client.has_image(base) and not client.can_pull(base):
            hint = _without(deployment) if base != settings.versions["PYTHON_IMAGE"] else "bin/base-image.sh makes it"
            return f"{image} is neither here nor in the registry, and its base {base} cannot be had ({hint})"
    return None


def ensure(deployment: Deployment) -> None:
    """Pull what the registry has, build the rest; raises EngineError with the reason."""
    missing = {service: image for service, image in deployment.images.items() if not client.has_image(image)}
    to_build = [service for service, image in missing.items() if not _pull(image)]
    if to_build:
        listed = ", ".join(missing[service] for service in to_build)
        console.say(f"neither here nor in the registry, so to be built: {listed}")
    _build(deployment, to_build)


def older(deployment: Deployment) -> list[str]:
    """The services whose images are here and were built from another source than this clone's."""
    found = {service: client.image_labels(image) for service, image in deployment.images.items()}
    return [service for service, labels in found.items() if labels is not None and not _is_current(service, labels)]


def keep(deployment: Deployment) -> None:
    """Give the images a second tag, which an upgrade leaves alone; do nothing unless all are here."""
    if all(client.has_image(image) for image in deployment.images.values()):
        for image in deployment.images.values():
            _docker("tag", image, image + BEFORE)


def kept(deployment: Deployment) -> str:
    """Return the tag of the images that an upgrade replaced; an empty string unless all of them are here."""
    here = all(client.has_image(image + BEFORE) for image in deployment.images.values())
    return deployment.tag + BEFORE if here else ""


def renew(deployment: Deployment, services: list[str]) -> None:
    """Replace the services' images by those of this clone's source: pulled if the registry has these, else built."""
    for service in services:
        _pull(deployment.images[service])
    _build(deployment, [service for service in older(deployment) if service in services])


def described(deployment: Deployment) -> list[list[str]]:
    """For every service: image, release, commit, and whether it is of this clone's source."""
    lines = []
    for service, image in deployment.images.items():
        labels = client.image_labels(image)
        if labels is None:
            lines.append([service, image, "-", "-", "not here: bin/compose.sh up gets it"])
            continue
        release, commit = labels.get("org.opencontainers.image.version", "-"), labels.get(source.REVISION, "-")
        word = "this clone's" if _is_current(service, labels) else "another: bin/compose.sh upgrade"
        lines.append([service, image, release, commit[:12], word])
    return lines


def _base(service: str, deployment: Deployment, settings: Settings) -> str:
    """Return the image that a service's image is built from."""
    if service != "tensor-serving" or deployment.serving == "embedded":
        return settings.versions["PYTHON_IMAGE"]
    return settings.versions["TF_SERVING_IMAGE"] + ("-gpu" if deployment.serving == "gpu" else "")


def _without(deployment: Deployment) -> str:
    if deployment.serving == "gpu":
        return "the embedded model server has no GPU variant; --serving embedded runs the lab without a GPU"
    return "use --serving embedded"


def _is_current(service: str, labels: dict[str, str]) -> bool:
    return labels.get(source.HASH) == source.source_hash(_folder(service))


def _folder(service: str) -> Path:
    return ROOT / {"tensor-serving": "tensor-serving-gpu"}.get(service, service)


def _pull(image: str) -> bool:
    """Pull an image; False if it has to be built."""
    with console.Progress(f"looking for {image}"):
        return client.pull(image)


def _can_be_pulled(image: str) -> bool:
    """Return whether the registry has the image.

    `docker manifest` may fail without a reason; then a pull that succeeds, or still runs after 20 s, counts.
    """
    try:
        return client.can_pull(image) or client.pull(image, seconds=20)
    except TimeoutError:
        return True


def _build(deployment: Deployment, services: list[str]) -> None:
    options = ["--registry", deployment.registry, "--group", deployment.group, "--tag", deployment.tag, "--no-push"]
    folders = [[]] if len(services) == len(deployment.images) else [[_folder(service).name] for service in services]
    for folder in folders:
        script = ROOT / "bin" / ("push-docker.sh" if folder else "push-all-docker.sh")
        command = [str(script), *folder, "--serving", deployment.serving, *options]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            raise EngineError("the images could not be built; the last lines above say why")


def _docker(*arguments: str) -> None:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(f"docker {arguments[0]} failed: {done.stderr.strip()[-500:]}")
