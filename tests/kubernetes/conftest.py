"""The cluster, and the lab on it; all tests of the folder share them."""

import datetime
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.chaos.scene import dump, machine
from tests.kubernetes import cluster as clusters
from tests.kubernetes import report
from tests.kubernetes.cluster import NODES, Cluster
from tests.kubernetes.lab import KubernetesLab

TAGS = ("one", "two")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster on this machine that pulls the images of the tests' registry, each under two tags."""
    if not os.environ.get("LAB_LONG_TESTS"):
        pytest.skip("half an hour: bin/test.sh --kubernetes")
    if obstacle := clusters.obstacle():
        pytest.skip(obstacle)
    images: dict[str, str] = request.getfixturevalue("images")
    registry: str = request.getfixturevalue("registry")
    clusters.build()
    clusters.push_pause(registry)
    for name in images.values():
        for tag in TAGS:
            tagged = f"{name.rpartition(':')[0]}:{tag}"
            for command in (["tag", name, tagged], ["push", "--quiet", tagged], ["rmi", tagged]):
                subprocess.run(["docker", *command], check=True, stdout=subprocess.DEVNULL)
    with clusters.started(int(registry.rpartition(":")[2])) as started:
        yield started


@pytest.fixture(scope="session")
def lab(cluster: Cluster, registry: str) -> Iterator[KubernetesLab]:
    """The lab, applied by bin/kube.sh. What the loads on it measured is kept for docs/kubernetes.md."""
    made = KubernetesLab(cluster, registry)
    made.prepare()
    made.applied = made.kube("apply", "--yes", "--overlay", "local")
    yield made
    record = {
        "kubernetes": cluster.release,
        "nodes": len(NODES),
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "loads": made.loads,
    }
    report.RECORD.write_text(dump(record))
