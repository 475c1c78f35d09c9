"""Rendering the manifests: an overlay, components, and the images and settings of this clone and environment.

The choice becomes a kustomization of its own in a temporary folder, on top of the overlay; nothing in
.deploy/kubernetes is changed. It is written as JSON, which is valid YAML.
"""

import contextlib
import json
import math
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..docker.deployment import COMPOSE_FILE
from ..errors import EngineError
from ..settings import ROOT, Settings
from .kubectl import Kubectl

FOLDER = ROOT / ".deploy" / "kubernetes"
NAMESPACE = "tensor-lab"
KEYS_FILE = "TENSOR_REST_API_KEYS_FILE"
KEYS_MOUNTED = "/run/secrets/tensor-rest/api-keys"
ROUTE_KEY = "tensor-route-key"
"""The Secret with the key of clients' tokens, for the component direct."""
_DRAIN, _AFTER_DRAIN = "TENSOR_REST_DRAIN_SECONDS", 20  # seconds for requests in flight and the exit, doubled
_MAX_DRAIN = 300  # as in the gateway's settings
_IMAGES = ("tensor-board", "tensor-jupyter", "tensor-rest", "tensor-serving-cpu", "tensor-serving-gpu")

LABELS = {"app.kubernetes.io/part-of": "tensor-lab"}
"""Of every object of the lab: `delete` finds them by it."""
_SYNC = "tensor-sync"  # its ConfigMap is in no manifest
_STORE = ("LAB_STORE", "AWS_REGION", "AWS_ENDPOINT_URL", "AZURE_STORAGE_ACCOUNT_NAME")

_IN_NAMESPACE = {
    "source": {"kind": "ScaledObject", "name": "tensor-serving", "fieldPath": "metadata.namespace"},
    "targets": [
        {
            "select": {"kind": "ScaledObject"},
            "fieldPaths": ["spec.triggers.0.metadata.query"],
            "options": {"delimiter": '"', "index": 1},
        }
    ],
}
"""Sets the namespace in KEDA's query to this lab's."""


@dataclass(frozen=True)
class Choice:
    """What is rendered.

    host: the name that the Ingress or route answers to; "" for the overlay's own. gateway: the Gateway, `NAME` or
    `NAMESPACE/NAME`, that the route of the component gateway-api belongs to; "" for `tensor-lab`.
    """

    overlay: str
    components: tuple[str, ...] = ()
    namespace: str = NAMESPACE
    host: str = ""
    gateway: str = ""


def names(kind: str) -> list[str]:
    """Return the names of the overlays or components."""
    return sorted(path.parent.name for path in (FOLDER / kind).glob("*/kustomization.yaml"))


def render(kubectl: Kubectl, choice: Choice, settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """Return the manifests as YAML. Raises EngineError with kustomize's reason."""
    with tempfile.TemporaryDirectory(prefix="tensor-lab-") as name:
        folder = Path(name).resolve()
        document = kustomization(choice, settings, environ, folder)
        (folder / "kustomization.yaml").write_text(json.dumps(document, indent=1), encoding="utf-8")
        return Kubectl(kubectl.program).output("kustomize", str(folder))


def kustomization(choice: Choice, settings: Settings, environ: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """Return the kustomization on top of the overlay; its paths are relative to `folder`, where it is written."""
    given = passed_on(environ)
    patches = []
    if choice.host:
        rest = given.setdefault("tensor-rest", {})
        names = rest.get("TENSOR_REST_ALLOWED_HOSTS", "").split()
        rest["TENSOR_REST_ALLOWED_HOSTS"] = " ".join(dict.fromkeys([*names, choice.host]))
        patches.append(_patch("Ingress", "/spec/rules/0/host", choice.host))
        patches.append(_patch("HTTPRoute", "/spec/hostnames", [choice.host]))
    if choice.gateway:
        namespace, _, name = choice.gateway.rpartition("/")
        parent = {"name": name, **({"namespace": namespace} if namespace else {})}
        patches.append(_patch("HTTPRoute", "/spec/parentRefs", [parent]))
    if drain := given.get("tensor-rest", {}).get(_DRAIN):
        seconds = _AFTER_DRAIN + math.ceil(_seconds(drain))
        patches.append(_patch("Deployment", "/spec/template/spec/terminationGracePeriodSeconds", seconds))
    if "sync" in choice.components:
        given[_SYNC] = _store(choice, environ)
    if "models-oci" in choice.components:
        path = "/spec/template/spec/volumes/2/image/reference"
        patches.append(_patch("Deployment", path, models_image(settings, environ), "tensor-serving"))
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": choice.namespace,
        "resources": [os.path.relpath(FOLDER / "overlays" / choice.overlay, folder)],
        "components": [os.path.relpath(FOLDER / "components" / name, folder) for name in _components(choice, settings)],
        "images": [_image(name, settings) for name in _IMAGES],
        "configMapGenerator": [
            {
                "name": service,
                "namespace": NAMESPACE,
                "literals": [f"{name}={value}" for name, value in sorted(values.items())],
                **({"options": {"labels": LABELS}} if service == _SYNC else {"behavior": "merge"}),
            }
            for service, values in given.items()
        ],
        "patches": patches,
        "replacements": [_IN_NAMESPACE] if "keda" in choice.components else [],
    }


def passed_on(environ: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return, by service, the set environment variables that Compose passes on unchanged."""
    text = COMPOSE_FILE.read_text(encoding="utf-8")
    named = re.findall(r"^ {4,6}((?:TENSOR_REST|TENSOR_SERVING|TF_SERVER)_[A-Z_]+):(?: *#.*)?$", text, re.MULTILINE)
    found: dict[str, dict[str, str]] = {}
    for name in named:
        if value := environ.get(name):
            service = "tensor-serving" if name.startswith("TENSOR_SERVING_") else "tensor-rest"
            found.setdefault(service, {})[name] = KEYS_MOUNTED if name == KEYS_FILE else value
    return found


def keys_file(settings: Settings, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file of API keys on this machine, or None; `/config/NAME` is in the config folder, as in Compose."""
    text = environ.get(KEYS_FILE)
    if not text:
        return None
    path = Path(text).expanduser()
    return settings.config / path.name if path.parent == Path("/config") else path


def models_image(settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """Return the image with the models, for models-oci: LAB_MODELS_IMAGE, else this lab's tensor-models."""
    values = settings.versions
    own = f"{values['LAB_REGISTRY']}/{values['LAB_GROUP']}/tensor-models:{tag(settings)}"
    return environ.get("LAB_MODELS_IMAGE") or own


def _store(choice: Choice, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the pod that pulls models: the store and its provider's address; no secrets."""
    if not environ.get("LAB_STORE"):
        raise EngineError("The component sync needs the address of the models: LAB_STORE=s3://bucket/prefix")
    if "models-oci" in choice.components:
        raise EngineError("sync fills the volume of models, and models-oci serves an image in its place: choose one.")
    return {name: value for name in _STORE if (value := environ.get(name))}


def tag(settings: Settings) -> str:
    """Return LAB_TAG, or the release instead of `latest`, which may have changed by the time a pod restarts."""
    given = settings.versions["LAB_TAG"]
    return settings.version if given == "latest" else given


def _components(choice: Choice, settings: Settings) -> list[str]:
    """Return the chosen components, and gpu if LAB_SERVING is gpu, unless the overlay is gpu, which includes it.

    They are sorted by name, because production changes what monitoring adds.
    """
    wanted = [*choice.components, *(["gpu"] if settings.versions["LAB_SERVING"] == "gpu" else [])]
    return [name for name in sorted(set(wanted)) if name != choice.overlay]


def _image(name: str, settings: Settings) -> dict[str, str]:
    values = settings.versions
    embedded = name == "tensor-serving-cpu" and values["LAB_SERVING"] == "embedded"
    new = "tensor-serving-embedded" if embedded else name
    return {
        "name": f"localhost:5000/lab/{name}",
        "newName": f"{values['LAB_REGISTRY']}/{values['LAB_GROUP']}/{new}",
        "newTag": tag(settings),
    }


def _patch(kind: str, path: str, value: object, name: str = "tensor-rest") -> dict[str, Any]:
    operation = {"op": "replace", "path": path, "value": value}
    return {"target": {"kind": kind, "name": name}, "patch": json.dumps([operation])}


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= (seconds := float(text)) <= _MAX_DRAIN:  # false for "nan"
            return seconds
    raise EngineError(f"{_DRAIN}={text!r} is not a number of seconds from 0 to {_MAX_DRAIN}")
