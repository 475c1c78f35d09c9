"""Custom resources: valid by the definitions that their projects publish, with unknown fields refused.

The definitions are in the projects' Go modules: where Go is installed, its proxy has them.
"""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from kube_kit import KUBECTL, STORE, Object, objects, of_kind, pods

from lab_engine import settings
from lab_engine.errors import EngineError
from lab_engine.kubernetes import manifests
from lab_engine.kubernetes.kubectl import Kubectl
from tensor_jupyter.cli import app
from tensor_rest.observability import metrics

DEFINITIONS = {
    "HTTPRoute": ("sigs.k8s.io/gateway-api@v1.4.0", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"),
    "ScaledObject": ("github.com/kedacore/keda/v2@v2.18.0", "config/crd/bases/keda.sh_scaledobjects.yaml"),
    "ServiceMonitor": (
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
    "PrometheusRule": (
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
}
ALL = ("gateway-api", "keda", "monitoring", "production")


@cache
def module(name: str) -> Path:
    """The folder of a Go module, downloaded once."""
    command = ["go", "mod", "download", "-json", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    found = json.loads(done.stdout or "{}")
    if "Dir" not in found:
        pytest.skip(f"{name} cannot be had: {found.get('Error') or done.stderr}")
    return Path(found["Dir"])


def strict(schema: Any) -> Any:
    """The schema with fields that it does not name refused, as the API server's strict validation does."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {name: strict(each) for name, each in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        inside.setdefault("additionalProperties", False)
    return inside


def schema_of(kind: str, version: str) -> Any:
    name, path = DEFINITIONS[kind]
    definition = yaml.safe_load((module(name) / path).read_text())
    (found,) = (each for each in definition["spec"]["versions"] if each["name"] == version)
    whole = strict(found["schema"]["openAPIV3Schema"])
    whole["properties"]["metadata"] = {"type": "object"}
    return whole


@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")
@pytest.mark.parametrize("kind", DEFINITIONS)
def test_custom_resources_are_as_their_projects_define_them(kind: str) -> None:
    (found,) = of_kind(objects("eks", ALL), kind).values()
    check = jsonschema.Draft7Validator(schema_of(kind, found["apiVersion"].partition("/")[2]))
    assert not [error.message for error in check.iter_errors(found)]
    assert not check.is_valid({**found, "spec": {**found["spec"], "unknown": 1}})


def test_keda_scales_on_a_metric_of_the_gateway() -> None:
    scaled = of_kind(objects("eks", ALL), "ScaledObject")["tensor-serving"]["spec"]
    (query,) = (each["metadata"]["query"] for each in scaled["triggers"] if each["type"] == "prometheus")
    gauges = {each._name for each in metrics.METRICS}
    assert set(re.findall(r"tensor_\w+", query)) <= gauges
    before = of_kind(objects("eks"), "HorizontalPodAutoscaler")["tensor-serving"]["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (before["minReplicas"], before["maxReplicas"])
    assert scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == before["behavior"]


def rendered(**choice: Any) -> list[Object]:
    chosen = manifests.Choice("local", ("gateway-api", "keda"), **choice)
    text = manifests.render(Kubectl(str(KUBECTL)), chosen, settings.load({"LAB_HOME": "/nowhere"}), {})
    return list(yaml.safe_load_all(text))


def test_route_and_query_follow_namespace_host_and_gateway() -> None:
    found = rendered(namespace="team", host="lab.example.org", gateway="edge/public")
    route = of_kind(found, "HTTPRoute")["tensor-rest"]["spec"]
    assert route["hostnames"] == ["lab.example.org"]
    assert route["parentRefs"] == [{"name": "public", "namespace": "edge"}]
    trigger = of_kind(found, "ScaledObject")["tensor-serving"]["spec"]["triggers"][0]
    assert 'tensor_rest_in_flight{namespace="team"}' in trigger["metadata"]["query"]
    assert "replicas" not in of_kind(found, "Deployment")["tensor-serving"]["spec"]


def test_models_come_from_an_image() -> None:
    chosen = manifests.Choice("eks", ("models-oci",))
    text = manifests.render(
        Kubectl(str(KUBECTL)), chosen, settings.load({"LAB_HOME": "/nowhere"}), {"LAB_MODELS_IMAGE": "r/models:7"}
    )
    pod = pods(list(yaml.safe_load_all(text)))["tensor-serving"]
    (models,) = (each for each in pod["volumes"] if each["name"] == "models")
    assert models["image"] == {"reference": "r/models:7", "pullPolicy": "IfNotPresent"}
    assert "initContainers" not in pod, "an image is not seeded"


def test_models_are_pulled_by_a_pod_that_shares_no_network_with_model_servers() -> None:
    found = objects("eks", ("sync",))
    maps, policies = of_kind(found, "ConfigMap"), of_kind(found, "NetworkPolicy")
    (given,) = (each["data"] for name, each in maps.items() if name.startswith("tensor-sync-"))
    assert given == STORE
    (container,) = pods(found)["tensor-sync"]["containers"]
    assert container["image"] == pods(found)["tensor-jupyter"]["containers"][0]["image"]
    command = typer.main.get_command(app).commands["models"].commands["pull"]  # type: ignore[attr-defined]
    options = {word for word in container["args"] if word.startswith("--")}
    assert options <= {option for parameter in command.params for option in parameter.opts}
    mounted = {each["name"]: each.get("readOnly", False) for each in container["volumeMounts"]}
    assert mounted["models"] is False
    serving = pods(found)["tensor-serving"]["containers"][0]["volumeMounts"]
    assert {each["name"]: each.get("readOnly", False) for each in serving}["models"] is True
    assert "egress" not in policies["tensor-serving"]["spec"]


@pytest.mark.parametrize(
    ("components", "store", "reason"),
    [(("sync",), {}, "LAB_STORE=s3://"), (("models-oci", "sync"), STORE, "choose one")],
)
def test_models_have_one_source(components: tuple[str, ...], store: dict[str, str], reason: str) -> None:
    chosen, found = manifests.Choice("local", components), settings.load({"LAB_HOME": "/nowhere"})
    with pytest.raises(EngineError, match=reason):
        manifests.render(Kubectl(str(KUBECTL)), chosen, found, store)


def test_the_lab_s_own_gateway_is_the_default() -> None:
    assert of_kind(rendered(), "HTTPRoute")["tensor-rest"]["spec"]["parentRefs"] == [{"name": "tensor-lab"}]
