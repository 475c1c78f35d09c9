"""The lab on a real Kubernetes: applied, called, scaled, rolled, and with parts of it lost, at 50 requests a second."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.keys import api_key
from tests.kubernetes.lab import REST, SERVING, KubernetesLab
from tests.running import ROOT, SAMPLES, wait_until

pytestmark = pytest.mark.timeout(1800)
PROOF = r"mnist_2_\S+ -> mnist-net: it is a 2 "


def test_apply_brings_a_lab_that_answers(lab: KubernetesLab) -> None:
    """Onto empty volumes: the shipped model is seeded."""
    assert re.search(PROOF, lab.applied)
    assert len(set(lab.pods(SERVING).values())) == min(2, len(lab.api.ready_nodes()))  # a node each
    assert "tensor-lab.internal" in lab.kube("status")
    assert re.search(PROOF, lab.kube("test"))


def test_every_sample_is_answered(lab: KubernetesLab) -> None:
    answers = [lab.answer(index) for index in range(len(SAMPLES))]
    assert [answer.status for answer in answers] == [200] * len(SAMPLES)
    best = [answer.json()["classification_result"][0]["digit"] for answer in answers]
    right = sum(str(digit) == path.name.split("_")[1] for digit, path in zip(best, SAMPLES, strict=True))
    assert right >= 98


def test_calls_are_spread_over_the_model_servers(lab: KubernetesLab) -> None:
    with lab.load("nothing happens", 100) as load:
        shares = _shares(lab, 30)
    assert load.figures["calls"] >= 3000
    assert load.failed == 0, load.figures
    assert min(shares.values()) >= 0.25, shares


def test_scaling_costs_no_request(lab: KubernetesLab) -> None:
    before = set(lab.pods(SERVING))
    with lab.load("model servers are scaled from 2 to 3 and back") as load:
        lab.kubectl("scale", "deployment", SERVING, "--replicas=3")
        lab.wait_for(SERVING, 3)
        (new,) = set(lab.pods(SERVING)) - before
        wait_until(lambda: _shares(lab, 2)[new] > 0.2, 20, "the third to be called")
        lab.kubectl("scale", "deployment", SERVING, "--replicas=2")
        lab.wait_for(SERVING, 2)
    assert load.failed == 0, load.figures


def test_the_autoscaler_adds_a_gateway(lab: KubernetesLab) -> None:
    """The manifests' own, with bounds that fit this machine."""
    scaler = lab.autoscaler(REST)
    scaler["spec"] |= {"minReplicas": 2, "maxReplicas": 3}
    with lab.load("the autoscaler adds a gateway", 200) as load:
        lab.api.kubectl("apply", "--filename", "-", given=json.dumps(scaler))
        try:
            lab.wait_for(REST, 3)
        finally:
            lab.kubectl("delete", "horizontalpodautoscaler", REST)
            lab.kubectl("scale", "deployment", REST, "--replicas=2")
        lab.wait_for(REST, 2)
    assert load.failed == 0, load.figures


@pytest.mark.parametrize("service", [REST, SERVING])
def test_a_deleted_pod_costs_no_request(lab: KubernetesLab, service: str) -> None:
    pod = min(lab.pods(service))
    with lab.load(f"a pod of {service} is deleted") as load:
        lab.kubectl("delete", "pod", pod, "--wait=false")
        wait_until(lambda: pod not in lab.pods(service), 30, f"{pod} to end")
        lab.wait_for(service, 2)
    assert load.failed == 0, load.figures


def test_a_new_model_version_takes_over_without_a_failed_request(lab: KubernetesLab) -> None:
    with lab.load("a model version is published, and taken away") as load:
        with lab.published(2):
            wait_until(lambda: _version(lab) == "2", 60, "the new version")
            wait_until(lambda: all(_version(lab) == "2" for _ in range(20)), 10, "it from all gateways")
        wait_until(lambda: _version(lab) == "1", 60, "the old version again")
    assert load.failed == 0, load.figures


def test_images_are_rolled_without_a_failed_request(lab: KubernetesLab) -> None:
    """Every Deployment at once, as an upgrade does."""
    if len(set(lab.tags)) == 1:
        pytest.skip("the cluster has images of one tag")
    with lab.load("every image is replaced") as load:
        lab.kube("apply", "--yes", "--overlay", "local", tag=lab.tags[1])
        for service in (REST, SERVING):
            lab.wait_for(service, 2)
    images = lab.kubectl("get", "deployments", "-o", "jsonpath={.items[*].spec.template.spec.containers[*].image}")
    assert {image.rpartition(":")[2] for image in images.split()} == {lab.tags[1]}
    assert load.failed == 0, load.figures


def test_a_version_that_one_replica_cannot_load_is_not_served(lab: KubernetesLab) -> None:
    """The others have it; the version that all have goes on answering, until that replica is replaced."""
    lab.own()
    pod = min(lab.pods(SERVING))
    with lab.load("a version cannot be loaded by one of two model servers, which is then replaced") as load:
        lab.spoil_next_version(pod)
        with lab.published(2):
            other = max(lab.pods(SERVING))
            wait_until(lambda: 2 in lab.versions(other), 60, "the other to have it")
            assert {_version(lab) for _ in range(40)} == {"1"}
            lab.kubectl("delete", "pod", pod, "--wait=false")
            wait_until(lambda: _version(lab) == "2", 90, "the new version")
            lab.wait_for(SERVING, 2)
        wait_until(lambda: _version(lab) == "1", 60, "the old version again")
    assert load.failed == 0, load.figures


def test_a_lost_kubelet_costs_no_request(lab: KubernetesLab) -> None:
    """Its pods run on, and count as lost after a while."""
    cluster = lab.own()
    with lab.load("the kubelet of one node is stopped, and started again") as load:
        cluster.stop_kubelet("node2")
        try:
            wait_until(lambda: lab.api.ready_nodes() == ["node1"], 90, "the node to be counted as lost")
            wait_until(lambda: set(lab.pods(SERVING).values()) == {"node1"}, 30, "its pods too")
        finally:
            cluster.start_node("node2")
        wait_until(lambda: lab.api.ready_nodes() == ["node1", "node2"], 90, "the node to be back")
        lab.wait_for(SERVING, 2)
    assert load.failed == 0, load.figures


def test_the_component_modern_is_taken(lab: KubernetesLab) -> None:
    with lab.load("the component modern is applied") as load:
        lab.kube("apply", "--yes", "--overlay", "local", "--component", "modern", tag=lab.tags[1])
        lab.wait_for(SERVING, 2)
    hook = "jsonpath={.items[*].spec.containers[0].lifecycle.preStop.sleep.seconds}"
    pods = lab.kubectl("get", "pods", "-l", f"app.kubernetes.io/name={SERVING}", "-o", hook)
    assert len(pods.split()) == 2
    assert load.failed == 0, load.figures


def test_clients_with_a_token_call_model_servers_themselves(lab: KubernetesLab) -> None:
    cluster = lab.own()
    lab.kube("apply", "--yes", "--overlay", "local", "--component", "direct", tag=lab.tags[1])
    lab.wait_for(SERVING, 2)
    routes = wait_until(lambda: _routes(lab), 30, "both model servers in the routes")
    for endpoint in routes:
        token = str(lab.get("/tf/route?model=mnist-net")["token"])
        for given, status in ((token, "OK"), (token[:-2], "UNAUTHENTICATED"), ("", "UNAUTHENTICATED")):
            command = cluster.inside(sys.executable, "-m", "tests.kubernetes.direct", endpoint, given)
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            assert done.stdout.strip() == status


def test_production_requires_a_key(lab: KubernetesLab, tmp_path: Path) -> None:
    key, line = api_key("cluster")
    file = tmp_path / "keys"
    file.write_text(line + "\n")
    given = {"TENSOR_REST_API_KEYS_FILE": str(file), "LAB_API_KEY": key}
    said = lab.kube("apply", "--yes", "--overlay", "local", "--component", "production", tag=lab.tags[1], **given)
    assert "JupyterLab" not in said
    assert lab.answer().status == 401
    assert lab.answer(key=key).status == 200


def test_delete_leaves_the_volumes(lab: KubernetesLab) -> None:
    lab.kube("delete", "--yes")
    wait_until(lambda: not lab.pods(REST), 90, "the pods to end")
    assert "tensor-models" in lab.kubectl("get", "persistentvolumeclaims", "-o", "name")
    if lab.cluster:
        assert (lab.volume("tensor-models") / "mnist-net" / "1").exists()


def _routes(lab: KubernetesLab) -> set[str] | None:
    """The endpoints of many routes, once there are two."""
    found = {str(lab.get("/tf/route?model=mnist-net")["endpoint"]) for _ in range(20)}
    return found if len(found) == 2 else None


def _version(lab: KubernetesLab) -> str | None:
    """The version that answers a call."""
    version: str | None = lab.answer().headers["X-Model-Version"]
    return version


def _shares(lab: KubernetesLab, seconds: float) -> dict[str, float]:
    """How the model servers' work in so many seconds is spread over them."""
    before = {pod: lab.work(pod) for pod in lab.pods(SERVING)}
    time.sleep(seconds)  # what is measured is a time
    spent = {pod: lab.work(pod) - begin for pod, begin in before.items()}
    return {pod: each / sum(spent.values()) for pod, each in spent.items()}
