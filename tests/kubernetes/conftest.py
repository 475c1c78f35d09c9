"""The lab on a cluster; all tests of the folder share it.

The cluster is one that is started here, or that of the context LAB_KUBERNETES_CONTEXT: then LAB_REGISTRY and LAB_TAG
say which images it has, and port 30080 of its nodes is reached at 127.0.0.1 (kind: extraPortMappings).
"""

import datetime
import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.chaos.scene import dump, machine
from tests.conftest import setting
from tests.kubernetes import cluster as clusters
from tests.kubernetes import report
from tests.kubernetes.api import of_context
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.files import PAUSE
from tests.kubernetes.lab import NAMESPACE, KubernetesLab

TAGS = ("one", "two")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster on this machine that pulls the images of the tests' registry, each under two tags."""
    if obstacle := clusters.obstacle():
        pytest.skip(obstacle)
    images: dict[str, str] = request.getfixturevalue("images")
    registry: str = request.getfixturevalue("registry")
    clusters.build()
    clusters.push_program(clusters.PROGRAMS / "pause", f"{registry}/{PAUSE}")
    for name in images.values():
        for tag in TAGS:
            tagged = f"{name.rpartition(':')[0]}:{tag}"
            for command in (["tag", name, tagged], ["push", "--quiet", tagged], ["rmi", tagged]):
                subprocess.run(["docker", *command], check=True, stdout=subprocess.DEVNULL)
    with clusters.started(int(registry.rpartition(":")[2])) as started:
        yield started


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesLab]:
    """The lab, applied by bin/kube.sh. What the loads on it measured is kept for docs/kubernetes.md."""
    if not os.environ.get("LAB_LONG_TESTS"):
        pytest.skip("a quarter of an hour: bin/test.sh --kubernetes")
    if context := os.environ.get("LAB_KUBERNETES_CONTEXT"):
        api = of_context(context, tmp_path_factory.mktemp("cluster"))
        if NAMESPACE in api.kubectl("get", "namespaces", "--output", "name").replace("namespace/", "").split():
            pytest.exit(f"{context} has a namespace {NAMESPACE} already; the tests would delete it", 2)
        made = KubernetesLab(api, setting("LAB_REGISTRY"), (setting("LAB_TAG"),) * 2)
    else:
        own: Cluster = request.getfixturevalue("cluster")
        made = KubernetesLab(own.api, request.getfixturevalue("registry"), TAGS, own)
    made.prepare()
    try:
        made.applied = made.kube("apply", "--yes", "--overlay", "local")
        yield made
    finally:
        if made.cluster is None:
            made.api.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    if made.cluster and not request.session.testsfailed and set(made.loads) == set(report.LOADS):
        _record(made)  # figures are of whole runs that met every bar


def _record(lab: KubernetesLab) -> None:
    nodes = json.loads(lab.api.kubectl("get", "nodes", "--output", "json"))["items"]
    record = {
        "kubernetes": nodes[0]["status"]["nodeInfo"]["kubeletVersion"],
        "nodes": len(nodes),
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "loads": lab.loads,
    }
    report.RECORD.write_text(dump(record))
