"""The lab on a cluster, as the tests use it: its pods, its model volume, loads, and the figures they leave."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.api import Api
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.files import ADDRESS
from tests.kubernetes.load import PATH
from tests.running import FORM, ROOT, SAMPLES, Answer, image_form, request, wait_until

NAMESPACE = "tensor-lab"
REST, SERVING = "tensor-rest", "tensor-serving"
NODE_PORT = 30080
RATE = 50  # requests a second
_CLAIMS = ("tensor-models", "tensor-logs", "tensor-data", "tensor-feedback", "tensor-notebooks")
_INVENTORY = """
import json, urllib.request
print(json.dumps(json.load(urllib.request.urlopen("http://127.0.0.1:8502/"))["models"]))
"""
_PUBLISH = """set -e
mkdir -p /models/.staging
cp -r /models/mnist-net/1 /models/.staging/mnist-net-$1
mv /models/.staging/mnist-net-$1 /models/mnist-net/$1
"""
_SPOIL = """set -e
mkdir -p /tmp/own/2
cp -r /models/mnist-net/1 /tmp/own/
echo spoilt >/tmp/own/2/saved_model.pb
mount --bind /tmp/own /models/mnist-net
"""


@dataclass
class Summary:
    """What a load has measured."""

    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        return int(self.figures["failed"])


@dataclass
class KubernetesLab:
    """The lab on a cluster, in the namespace of its manifests.

    tags: two of its images, all pushed. cluster: the tests' own, with volumes that are folders of this machine; None
    for one that was given.
    """

    api: Api
    registry: str
    tags: tuple[str, str]
    cluster: Cluster | None = None
    applied: str = ""  # what `bin/kube.sh apply` printed
    loads: dict[str, dict[str, Any]] = field(default_factory=dict)  # what is staged -> figures

    def own(self) -> Cluster:
        """The tests' own cluster; skips a test that does what cannot be done to another."""
        if self.cluster is None:
            pytest.skip("on the tests' own cluster")
        return self.cluster

    def prepare(self) -> None:
        """Make a NodePort for the gateways and, on the tests' own cluster, volumes that both nodes can mount."""
        objects = [_entry()]
        if self.cluster:
            for name in _CLAIMS:
                folder = self.volume(name)
                folder.mkdir(parents=True)
                os.chown(folder, 1000, 100)  # the kubelet's fsGroup does not reach into folders of the node
                objects.append(_volume(name, folder))
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        self.api.kubectl("apply", "-f", "-", given=_list([namespace, *objects]))

    def volume(self, name: str) -> Path:
        """The folder of a volume, on the tests' own cluster."""
        return self.own().folder / "volumes" / name

    def kube(self, *words: str, tag: str = "", **variables: str) -> str:
        """What bin/kube.sh prints on both streams, with these variables in its environment."""
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.api.kubeconfig),
            "LAB_REGISTRY": self.registry,
            "LAB_TAG": tag or self.tags[0],
            "LAB_SERVING": os.environ.get("LAB_SERVING", "embedded"),
            **variables,
        }
        done = subprocess.run(
            [str(ROOT / "bin" / "kube.sh"), *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def kubectl(self, *words: str) -> str:
        return self.api.kubectl("--namespace", NAMESPACE, *words)

    def pods(self, service: str) -> dict[str, str]:
        """Name and node of each pod of a service that is ready and not about to end."""
        found = json.loads(self.kubectl("get", "pods", "-l", f"app.kubernetes.io/name={service}", "-o", "json"))
        return {
            each["metadata"]["name"]: each["spec"]["nodeName"]
            for each in found["items"]
            if "deletionTimestamp" not in each["metadata"] and _is_ready(each)
        }

    def wait_for(self, service: str, count: int) -> None:
        """Wait until `count` pods of the service are ready and no others are left."""

        def settled() -> bool:
            listed = self.kubectl("get", "pods", "-l", f"app.kubernetes.io/name={service}", "-o", "name").split()
            return len(self.pods(service)) == len(listed) == count

        wait_until(settled, 240, f"{count} pods of {service}")

    def autoscaler(self, service: str) -> dict[str, Any]:
        """The manifests' autoscaler of a service."""
        documents = yaml.safe_load_all((ROOT / ".deploy" / "kubernetes" / "base" / f"{service}.yaml").read_text())
        found: dict[str, Any] = next(each for each in documents if each["kind"] == "HorizontalPodAutoscaler")
        found["metadata"]["namespace"] = NAMESPACE
        return found

    def answer(self, index: int = 0, key: str = "") -> Answer:
        """The answer to one of the sample images."""
        headers = {**FORM, **({"X-API-Key": key} if key else {})}
        return self._request(PATH, image_form(SAMPLES[index]), headers)

    def get(self, path: str) -> Any:
        """A JSON document of a gateway."""
        return self._request(path).json()

    def work(self, pod: str) -> float:
        """Seconds of CPU that the processes of a pod have used; most of it goes into calls."""
        lines = self._run(pod, "sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null || true").splitlines()
        fields = [line.rpartition(")")[2].split() for line in lines]
        return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")

    @contextmanager
    def load(self, staged: str, rate: float = RATE) -> Iterator[Summary]:
        """Images at a fixed rate, while `staged` happens in the block; the summary is filled at its end."""
        command = [sys.executable, "-m", "tests.kubernetes.load", str(NODE_PORT), str(rate)]
        if self.cluster:
            command = self.cluster.inside(*command)
        paths = os.pathsep.join([str(ROOT), str(ROOT / ".deploy")])
        summary = Summary()
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}, text=True
        ) as program:
            try:
                yield summary
            finally:
                printed, _ = program.communicate()  # closes its input
        assert program.returncode == 0, "the load's program has failed; its errors are above"
        summary.figures = self.loads[staged] = json.loads(printed)

    @contextmanager
    def published(self, version: int) -> Iterator[None]:
        """A new version of the shipped model, as a trainer does it: beside, then one rename; removed at the end."""
        in_workbench = ("exec", "deployment/tensor-jupyter", "--")
        self.kubectl(*in_workbench, "sh", "-c", _PUBLISH, "sh", str(version))
        try:
            yield
        finally:
            self.kubectl(*in_workbench, "rm", "-r", f"/models/mnist-net/{version}")

    def spoil_next_version(self, pod: str) -> None:
        """In this pod alone version 2 of the shipped model is there and cannot be loaded."""
        subprocess.run(["nsenter", "--mount", "--target", self.process(pod), "sh", "-c", _SPOIL], check=True)

    def process(self, pod: str, namespace: str = NAMESPACE) -> str:
        """The ID, on this machine, of a process in a pod's first container."""
        found = json.loads(self.own().api.kubectl("--namespace", namespace, "get", "pod", pod, "-o", "json"))
        container = found["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
        return next(path.parent.name for path in Path("/proc").glob("[0-9]*/cgroup") if container in _text(path))

    def versions(self, pod: str) -> list[int]:
        """The versions of the shipped model that a model server has loaded."""
        printed = self._run(pod, "python3", "-c", _INVENTORY)
        found: list[int] = next(model["serving"] for model in json.loads(printed) if model["name"] == "mnist-net")
        return found

    def _run(self, pod: str, *command: str) -> str:
        """What a command prints in a model server's container."""
        return self.kubectl("exec", pod, "--container", SERVING, "--", *command)

    def _request(self, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}) -> Answer:
        host = ADDRESS if self.cluster else "127.0.0.1"
        url = f"http://{host}:{NODE_PORT}{path}"
        return request(urllib.request.Request(url, body, {**headers, "Host": "localhost"}))


def _volume(name: str, folder: Path) -> dict[str, Any]:
    spec = {
        "capacity": {"storage": "100Gi"},
        "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
        "hostPath": {"path": str(folder)},
        "claimRef": {"namespace": NAMESPACE, "name": name},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def _entry() -> dict[str, Any]:
    spec = {
        "type": "NodePort",
        "selector": {"app.kubernetes.io/name": "tensor-rest"},
        "ports": [{"port": 8080, "nodePort": NODE_PORT}],
    }
    metadata = {"name": "entry", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _list(items: list[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
