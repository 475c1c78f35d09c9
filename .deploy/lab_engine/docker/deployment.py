"""Which images run under which names: the options of `up`, kept for the verbs that follow."""

import os
import platform
from dataclasses import asdict, dataclass

from .. import state
from ..settings import ROOT, Settings
from ..verbs import SERVICES
from . import client

COMPOSE_FILE = ROOT / ".deploy" / "localhost-compose.yml"
SERVING = ("auto", "cpu", "gpu", "embedded")
MORE = "tensor-serving-more"
"""The compose file's service of the model servers beside the first."""

_NAME = "docker.json"
PROJECT = "lab"  # the one lab of a machine
GPU_FILE = ROOT / ".deploy" / "gpu-compose.yml"


@dataclass(frozen=True)
class Deployment:
    """One lab in Docker. `serving` is the variant of the model server: cpu, gpu or embedded; `replicas` of it run."""

    project: str
    files: tuple[str, ...]
    registry: str
    group: str
    tag: str
    serving: str
    replicas: int = 1

    @property
    def counts(self) -> dict[str, int]:
        """How many containers each service has."""
        more = {MORE: self.replicas - 1} if self.replicas > 1 else {}
        return dict.fromkeys(self.containers, 1) | more

    @property
    def images(self) -> dict[str, str]:
        """Image references by service."""
        names = {service: service for service in SERVICES} | {"tensor-serving": f"tensor-serving-{self.serving}"}
        return {service: f"{self.registry}/{self.group}/{name}:{self.tag}" for service, name in names.items()}

    @property
    def prefix(self) -> str:
        """Before the names of containers and volumes: nothing for the one lab of a machine, else the project."""
        return "" if self.project == PROJECT else f"{self.project}-"

    @property
    def device(self) -> str:
        """gpu, or cpu for both variants that run without one."""
        return "gpu" if self.serving == "gpu" else "cpu"

    @property
    def containers(self) -> dict[str, str]:
        """Container names by service."""
        names = {service: service for service in self.images} | {"tensor-serving": f"tensor-serving-{self.device}"}
        return {service: self.prefix + name for service, name in names.items()}

    def environment(self, settings: Settings) -> dict[str, str]:
        """The variables of the compose file."""
        return {
            "LAB_REST_PUBLIC_URL": settings.url(settings.ports.rest, ""),
            **os.environ,
            **({"COMPOSE_PROFILES": "scale"} if self.replicas > 1 else {}),
            "LAB_REGISTRY": self.registry,
            "LAB_GROUP": self.group,
            "LAB_TAG": self.tag,
            "LAB_SERVING": self.serving,
            "LAB_DEVICE": self.device,
            "LAB_PREFIX": self.prefix,
            "LAB_UID": str(notebook_user()),
            "LAB_ID": settings.lab_id,
            "LAB_TOKEN_FILE": str(settings.token_file),
            "LAB_CONFIG_DIR": str(settings.config),
            "LAB_NOTEBOOKS": str(settings.notebooks),
            **{f"LAB_{name.upper()}_PORT": str(port) for name, port in vars(settings.ports).items()},
        }

    def save(self, settings: Settings) -> None:
        settings.make_home()
        state.write(settings.home / _NAME, asdict(self))


def load(settings: Settings) -> Deployment | None:
    """The lab that `up` started in Docker last; None if it never did. Raises EngineError."""
    found = state.read(settings.home / _NAME)
    try:
        return Deployment(**{**found, "files": tuple(found["files"])}) if found else None
    except (KeyError, TypeError):
        raise state.damaged(settings.home / _NAME, "does not describe a deployment") from None


def notebook_user() -> int:
    """The uid JupyterLab runs under: the caller's own, who then owns the notebooks; for root the image's 1000."""
    return os.getuid() or 1000


def best_serving(settings: Settings, registry: str, group: str, tag: str) -> str:
    """cpu where TensorFlow Serving's image is here or can be pulled, else embedded. Takes seconds per registry."""
    if platform.machine() not in ("x86_64", "AMD64"):  # TensorFlow Serving is published for no other
        return "embedded"
    ours, theirs = f"{registry}/{group}/tensor-serving-cpu:{tag}", settings.versions["TF_SERVING_IMAGE"]
    had = client.has_image(ours) or client.has_image(theirs) or client.can_pull(ours) or client.can_pull(theirs)
    return "cpu" if had else "embedded"
