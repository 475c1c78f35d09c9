"""Run a step in a container of its image, on this machine: `docker run` with what Argo gives to a pod.

The lab's folders are mounted, so the stamps are also valid for a run without containers. The step runs as the user
who started it, with a read-only root and without capabilities, on the host's network, where the gateway is.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tensor_jupyter.errors import LabError
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.pipeline.steps import Step
from tensor_jupyter.settings import Settings

_FOLDERS = ("models", "data", "logs", "feedback")
_PASSED_ON = ("LAB_API_KEY", "LAB_MNIST_MIRRORS", "LAB_NOTMNIST_MIRRORS", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""Variables of this process that a step may need: passed by name only, so that `ps` does not show a key."""

_KEY_FILE = "/run/api-key"


@dataclass(frozen=True)
class Images:
    """Where the images are: `prefix` comes before their names, such as registry.example/lab."""

    prefix: str
    tag: str


def check() -> None:
    """Raise LabError if the command docker is not installed, as in the lab's own containers."""
    if shutil.which("docker") is None:
        raise LabError("docker is not installed here: --engine docker is for the machine that has the Docker engine.")


def command(step: Step, images: Images, parameters: Parameters, settings: Settings) -> list[str]:
    """Return the arguments of `docker run` for a step."""
    variables = {
        **{f"LAB_{name.upper()}": f"/{name}" for name in _FOLDERS},
        **{"LAB_REST_URL": settings.rest_url, "LAB_ID": settings.id, "LAB_OFFLINE": str(settings.offline)},
        **({"LAB_API_KEY_FILE": _KEY_FILE} if settings.api_key_file else {}),
        **parameters.environment(),
    }
    program, *words = step.command
    return [
        *("docker", "run", "--rm", "--init", "--name", f"tensor-pipeline-{step.name}-{uuid.uuid4().hex[:8]}"),
        *("--network", "host", "--user", f"{os.getuid()}:{os.getgid()}"),
        *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *(word for mount in _mounts(parameters, settings) for word in ("--mount", mount)),
        *(word for name, value in variables.items() for word in ("--env", f"{name}={value}")),
        *(word for name in _PASSED_ON if os.environ.get(name) for word in ("--env", name)),
        *("--entrypoint", program, f"{images.prefix}/{step.image}:{images.tag}", *words),
    ]


def _mounts(parameters: Parameters, settings: Settings) -> Iterator[str]:
    """The lab's folders, and read-only the API key's file and the folders of data that the parameters name."""
    for name in _FOLDERS:
        folder: Path = getattr(settings, name).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        yield f"type=bind,source={folder},target=/{name}"
    if settings.api_key_file and settings.api_key_file.is_file():
        yield f"type=bind,source={settings.api_key_file.absolute()},target={_KEY_FILE},readonly"
    for given in {parameters.mnist_data_dir, parameters.notmnist_data_dir} - {""}:
        yield f"type=bind,source={Path(given).absolute()},target={Path(given).absolute()},readonly"
