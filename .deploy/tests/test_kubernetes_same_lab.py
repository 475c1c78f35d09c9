"""The lab on Kubernetes is Compose's: names, ports, variables, volumes, limits; its probes call paths that exist."""

import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube_kit import COMPOSE, OVERLAYS, VERSIONS, config, containers, objects, of_kind, pods

from lab_engine.docker.deployment import MORE
from lab_engine.kubernetes.manifests import ROUTE_KEY
from lab_engine.settings import ROOT
from tensor_rest.runtime.headers import PROBES
from tensor_rest.settings import Settings as Gateway
from tensor_serving.inventory import InventoryServer

SERVICES = ("tensor-board", "tensor-jupyter", "tensor-rest", "tensor-serving")
"""Those of Compose's that the manifests run."""

FOLDERS = {name: ROOT / name for name in SERVICES} | {"tensor-serving": ROOT / "tensor-serving-gpu"}
LEFT_OUT = {
    "tensor-rest": {
        "LAB_ID",  # identifies one of several labs on a machine
        "TENSOR_REST_LAB_ID",
        "TENSOR_REST_BOARD_URL",  # links to addresses that only a port-forward has
        "TENSOR_REST_JUPYTER_URL",
        "TENSOR_REST_BOARD_SERVER",  # TensorBoard is reached by a port-forward of its own
        "TENSOR_REST_GRPC_PORT",  # in the overlay local a NetworkPolicy lets notebooks reach the model server itself
        "TENSOR_REST_INVENTORY_PORT",
    },
    "tensor-serving": {"LAB_ID"},
    "tensor-board": {"LAB_ID"},
    "tensor-jupyter": {"LAB_ID", "LAB_OFFLINE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"}
    | {"no_proxy", "NO_PROXY"},
}
ADDED = {"TENSOR_REST_DRAIN_SECONDS", "TENSOR_REST_TRUSTED_PROXIES"}  # Compose hands these on if they are set


def compose(service: str) -> dict[str, str | None]:
    """The variables of a service in the compose file; None is handed on from the host."""
    return dict(COMPOSE["services"][service]["environment"])


def test_images_are_those_of_versions_env() -> None:
    images = {container["image"] for pod in pods(objects("local")).values() for container in containers(pod)}
    start = f"{VERSIONS['LAB_REGISTRY']}/{VERSIONS['LAB_GROUP']}/"
    names = {"tensor-rest", "tensor-board", "tensor-jupyter", "tensor-serving-cpu"}
    assert images == {f"{start}{name}:{VERSIONS['LAB_VERSION']}" for name in names}
    base = (ROOT / ".deploy" / "kubernetes" / "base" / "kustomization.yaml").read_text()
    assert {each["newName"] + ":" + each["newTag"] for each in yaml.safe_load(base)["images"]} == images


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_services_and_volumes_have_composes_names(overlay: str) -> None:
    found = objects(overlay)
    assert (
        set(of_kind(found, "Deployment")) == set(of_kind(found, "Service")) == set(SERVICES) <= set(COMPOSE["services"])
    )
    mounts = (mount.partition(":")[0] for name in SERVICES for mount in COMPOSE["services"][name].get("volumes", []))
    volumes = set(mounts) & set(COMPOSE["volumes"]) - {"tensor-serving-state"}  # a pod's own
    assert set(of_kind(found, "PersistentVolumeClaim")) == volumes | {"tensor-notebooks"}


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_composes_and_the_images(service: str) -> None:
    ports = {each["containerPort"] for each in pods(objects("local"))[service]["containers"][0]["ports"]}
    (exposed,) = re.findall(r"^EXPOSE (.*)$", (FOLDERS[service] / "Dockerfile").read_text(), re.MULTILINE)
    assert ports == {int(port) for port in exposed.split()}
    published = {int(each.rpartition(":")[2]) for each in COMPOSE["services"][service]["ports"]}
    assert ports - published == ({int(VERSIONS["LAB_INVENTORY_PORT"])} if service == "tensor-serving" else set())


@pytest.mark.parametrize("service", SERVICES)
def test_variables_are_composes(service: str) -> None:
    given, wanted = config(objects("local"), service), compose(service)
    assert set(given) <= set(wanted)
    missing = {name for name, value in wanted.items() if value is not None and name not in given}
    handed_on = {name for name, value in wanted.items() if value is None}
    assert missing | (LEFT_OUT[service] & handed_on) == LEFT_OUT[service]
    fixed = {
        name: value for name, value in wanted.items() if value and "${" not in value and name not in LEFT_OUT[service]
    }
    if service == "tensor-jupyter":
        fixed["TF_SERVER_HOST_PORT"] = "tensor-serving:9000"  # not by way of the gateway
    assert {name: value for name, value in given.items() if value and name in fixed} == fixed
    assert {name for name in given if given[name] and wanted[name] is None} <= ADDED


@pytest.mark.parametrize("components", [(), ("production",)])
def test_the_gateway_takes_its_settings(components: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    given = config(objects("eks", components), "tensor-rest")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = Gateway()
    assert found.server == "tensor-serving:9000"
    assert found.inventory_url.host == "tensor-serving"  # the same name: the list of each pod is read
    service = of_kind(objects("eks", components), "Service")["tensor-serving"]["spec"]
    assert service["clusterIP"] == "None"
    assert not service.get("publishNotReadyAddresses")
    assert {each["port"] for each in service["ports"]} == {9000, found.inventory_url.port}
    assert found.trusted_proxies
    grace = pods(objects("eks"))["tensor-rest"]["terminationGracePeriodSeconds"]
    assert found.drain_seconds + 8 + 8 <= grace
    ready = pods(objects("eks"))["tensor-rest"]["containers"][0]["readinessProbe"]
    assert ready["periodSeconds"] * (ready["failureThreshold"] - 1) >= found.grace_seconds
    assert bool(found.api_keys_file) is bool(components)


@pytest.mark.parametrize("service", SERVICES)
def test_memory_and_folders_are_composes(service: str) -> None:
    wanted, pod = COMPOSE["services"][service], pods(objects("local"))[service]
    container = pod["containers"][0]
    (gigabytes,) = re.findall(r":-(\d+)g}$", wanted["mem_limit"])
    assert container["resources"]["limits"]["memory"] == f"{gigabytes}Gi"
    mounted = {each["mountPath"]: bool(each.get("readOnly")) for each in container["volumeMounts"]}
    for volume in wanted.get("volumes", []):
        place, read_only = re.findall(r":(/[^:]+?)(:ro)?$", volume)[0]
        assert mounted[place] is bool(read_only), place
    assert "/tmp" in mounted


def test_clients_with_tokens_reach_the_model_servers_port() -> None:
    """The component direct: the image's command with the flags behind, and one key for both services."""
    found = objects("eks", ("direct",))
    by_name = pods(found)
    serving = by_name["tensor-serving"]["containers"][0]
    text = (FOLDERS["tensor-serving"] / "Dockerfile.embedded").read_text()
    command = json.loads(re.findall(r"^CMD (.*)$", text, re.MULTILINE)[0])
    assert serving["args"][: len(command) + 1] == [*command, "--"]
    flags = dict(flag.split("=") for flag in serving["args"][len(command) + 1 :])
    port = Gateway().route_port
    key = config(found, "tensor-rest")["TENSOR_REST_ROUTE_KEY_FILE"]
    assert flags == {"--direct_port": str(port), "--direct_key_file": key}
    assert port in {each["containerPort"] for each in serving["ports"]}
    for name in ("tensor-rest", "tensor-serving"):
        (volume,) = (each for each in by_name[name]["volumes"] if each["name"] == "route-key")
        assert volume["secret"]["secretName"] == ROUTE_KEY
    policy = of_kind(found, "NetworkPolicy")["direct-to-serving"]["spec"]
    assert policy["ingress"][0]["ports"] == [{"port": port}]


def test_gpu_is_composes() -> None:
    wanted = yaml.safe_load((ROOT / ".deploy" / "gpu-compose.yml").read_text())["services"]
    for found in (objects("gpu"), objects("eks", ("gpu",))):
        given = config(found, "tensor-serving")
        assert wanted["tensor-serving"]["environment"].items() <= given.items()
        by_name = {name: pod["containers"][0] for name, pod in pods(found).items()}
        with_gpu = [name for name, each in by_name.items() if "nvidia.com/gpu" in each["resources"]["limits"]]
        assert with_gpu == [name for name in wanted if name != MORE]
        assert "/tensor-serving-gpu:" in by_name["tensor-serving"]["image"]


@pytest.mark.parametrize("service", ["tensor-board", "tensor-jupyter", "tensor-rest"])
def test_probes_call_what_the_images_health_check_calls(service: str) -> None:
    container = pods(objects("local"))[service]["containers"][0]
    paths = {container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe")}
    check = (FOLDERS[service] / "healthcheck.py").read_text()
    assert paths == set(re.findall(r'request\("GET", "(\S+)"\)', check))
    assert container["readinessProbe"]["httpGet"]["path"] in (PROBES if service == "tensor-rest" else paths)


class Watched:
    """A watcher whose models can all be called."""

    inventory = b"{}"

    def stale(self) -> str:
        return ""

    def not_ready(self) -> list[str]:
        return []


@pytest.fixture
def inventory() -> Iterator[str]:
    server = InventoryServer("127.0.0.1", 0, Watched())  # type: ignore[arg-type]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_readiness_of_the_model_server_is_the_watchers(inventory: str) -> None:
    probe = pods(objects("local"))["tensor-serving"]["containers"][0]["readinessProbe"]["httpGet"]
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(inventory + probe["path"], timeout=5) as got:
        assert got.status == 200
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(inventory + "/ready", timeout=5)


@pytest.mark.parametrize(("code", "lives"), [(0, True), (1, False), (2, False), (3, True)])
def test_a_model_server_that_a_new_start_would_not_mend_lives(code: int, lives: bool, tmp_path: Path) -> None:
    (tmp_path / "python3").write_text(f'#!/bin/sh\n[ "$3" = /opt/tensor-serving/healthcheck.py ] && exit {code}\n')
    (tmp_path / "python3").chmod(0o755)
    command = pods(objects("local"))["tensor-serving"]["containers"][0]["livenessProbe"]["exec"]["command"]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, env={"PATH": path}, capture_output=True, check=False)
    assert (done.returncode == 0) is lives
    assert "COPY healthcheck.py /opt/tensor-serving/" in (FOLDERS["tensor-serving"] / "Dockerfile").read_text()


def test_an_empty_volume_is_seeded_once(tmp_path: Path) -> None:
    seed = pods(objects("local"))["tensor-serving"]["initContainers"][0]
    assert {"name": "models", "mountPath": "/models"} in seed["volumeMounts"]
    command = [str(tmp_path) if word == "/models" else word for word in seed["command"]]
    environment = {**os.environ, "PYTHONPATH": str(FOLDERS["tensor-serving"])}
    for _ in range(2):
        subprocess.run([sys.executable, *command[1:]], env=environment, capture_output=True, check=True)
        assert [each.name for each in tmp_path.iterdir() if each.name != ".staging"] == ["mnist-net"]
    assert (tmp_path / "mnist-net" / "1" / "saved_model.pb").is_file()


def test_changed_notebooks_stay_and_new_ones_come(tmp_path: Path) -> None:
    image, volume = tmp_path / "image", tmp_path / "volume"
    for place, text in ((image, "new"), (volume, "mine")):
        (place / "MNIST").mkdir(parents=True)
        (place / "MNIST" / "MnistNet.ipynb").write_text(text)
    (image / "Other.ipynb").write_text("new")
    script = pods(objects("local"))["tensor-jupyter"]["initContainers"][0]["command"][2]
    script = script.replace("/opt/tensor-jupyter/notebook", str(image)).replace("/notebook/", f"{volume}/")
    subprocess.run(["sh", "-c", script], check=True)
    assert (volume / "MNIST" / "MnistNet.ipynb").read_text() == "mine"
    assert (volume / "Other.ipynb").read_text() == "new"


def test_production_serves_and_nothing_else() -> None:
    found = objects("eks", ("production",))
    assert set(of_kind(found, "Deployment")) == {"tensor-rest", "tensor-serving"}
    assert set(of_kind(found, "PersistentVolumeClaim")) == {"tensor-models", "tensor-feedback"}
    volumes: dict[str, Any] = {each["name"]: each for each in pods(found)["tensor-rest"]["volumes"]}
    assert volumes["api-keys"]["secret"]["optional"] is False
    mounts = {each["name"]: each["mountPath"] for each in pods(found)["tensor-rest"]["containers"][0]["volumeMounts"]}
    assert config(found, "tensor-rest")["TENSOR_REST_API_KEYS_FILE"].startswith(mounts["api-keys"] + "/")
    assert "tensor-jupyter" not in json.dumps([each for each in found if each["kind"] != "NetworkPolicy"])
