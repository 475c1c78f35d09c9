"""The manifests of .deploy/kubernetes as the tests read them: every combination, rendered by the pinned kubectl."""

import functools
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from lab_engine import settings
from lab_engine.docker.deployment import MORE
from lab_engine.kubernetes import manifests
from lab_engine.kubernetes.kubectl import Kubectl
from lab_engine.settings import ROOT

KUBECTL = Path(sys.executable).parent / "kubectl"
OVERLAYS, COMPONENTS = manifests.names("overlays"), manifests.names("components")
EVERY = bool(os.environ.get("LAB_LONG_TESTS"))
_MOST = len(COMPONENTS) - 1  # of sync and models-oci one at most
COUNTS = range(_MOST + 1) if EVERY else (0, 1, _MOST - 1, _MOST)
"""Of components at a time; without LAB_LONG_TESTS none, each alone, all but one, and all."""

COMBINATIONS = [
    (overlay, chosen)
    for overlay in OVERLAYS
    for count in COUNTS
    for chosen in itertools.combinations(COMPONENTS, count)
    if overlay not in chosen and not {"models-oci", "sync"} <= set(chosen)  # either or
]
COMPOSE = yaml.safe_load((ROOT / ".deploy" / "localhost-compose.yml").read_text())
COMPOSE["services"].pop(MORE)  # here the one Deployment has replicas
VERSIONS = settings.read_env_file(ROOT / "versions.env")

Object = dict[str, Any]
STORE = {"LAB_STORE": "s3://models/lab"}


def name_of(combination: tuple[str, tuple[str, ...]]) -> str:
    """An id of a test."""
    return "+".join([combination[0], *combination[1]])


@functools.cache
def objects(overlay: str, components: tuple[str, ...] = ()) -> list[Object]:
    """The objects of one combination, without anything of this machine's environment."""
    choice = manifests.Choice(overlay, components)
    text = manifests.render(Kubectl(str(KUBECTL)), choice, settings.load({"LAB_HOME": "/nowhere"}), STORE)
    return list(yaml.load_all(text, yaml.CSafeLoader))


def of_kind(found: list[Object], kind: str) -> dict[str, Object]:
    """The objects of one kind, by name."""
    return {each["metadata"]["name"]: each for each in found if each["kind"] == kind}


def pods(found: list[Object]) -> dict[str, Object]:
    """The pods' specifications, by the Deployment's name."""
    return {name: each["spec"]["template"]["spec"] for name, each in of_kind(found, "Deployment").items()}


def containers(pod: Object) -> list[Object]:
    """All containers of a pod."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def config(found: list[Object], service: str) -> dict[str, str]:
    """The variables that a service's only container gets."""
    maps = of_kind(found, "ConfigMap")
    container = pods(found)[service]["containers"][0]
    named = [each["configMapRef"]["name"] for each in container.get("envFrom", [])]
    return {name: value for each in named for name, value in maps[each]["data"].items()}


@functools.cache
def error_of(document: str, version: str) -> str:
    """Why an object, as JSON, is not one of this version of Kubernetes; "" if it is."""
    try:
        kubernetes_validate.validate(json.loads(document), version, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        return f"{version}: {error}"
    return ""
