"""What each pod can connect to, and kube-router, which enforces NetworkPolicies.

kube-router does so for the pods of one node. Both nodes of the tests' cluster share a network, so everything is
gathered on the first. What starts here runs as long as the cluster.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from tests.kubernetes import files
from tests.kubernetes.cluster import PROGRAMS
from tests.kubernetes.lab import NAMESPACE, REST, SERVING, KubernetesLab
from tests.namespaces import run
from tests.running import ROOT

BOARD, JUPYTER = "tensor-board", "tensor-jupyter"
STRANGER, OUTSIDER, CLIENT = "stranger", "outsider", "client"
DNS, API, INTERNET, METADATA = "DNS", "API server", "internet", "cloud metadata"
_SERVICES = (REST, SERVING, BOARD, JUPYTER)
_OTHERS: dict[str, tuple[str, dict[str, str]]] = {  # pods that are not the lab's: namespace and labels
    STRANGER: (NAMESPACE, {}),
    OUTSIDER: ("default", {}),
    CLIENT: ("default", {"tensor-lab/direct": "yes"}),  # as the component direct wants it
}
_LISTENERS = {INTERNET: "203.0.113.1", METADATA: "169.254.169.254"}  # an address for documentation; the clouds' own
_KUBE_ROUTER = "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router@v2.1.0"
_NODE, _OTHER_NODE = files.NODES


@dataclass(frozen=True)
class Reach:
    """Tries connections from pods of every kind to every port that another kind, or the world outside, has.

    Not among pods of one kind: to kube-router a policy that lets calls in also lets its own pods make them.
    """

    callers: dict[str, str]  # kind of pod -> a process in its network
    targets: dict[str, str]  # name -> address and port; a pod's begins with its kind

    def measured(self) -> dict[str, set[str]]:
        """The names of the targets that accept a connection, for each kind of pod."""
        programs = {caller: self._started(caller) for caller in self.callers}
        return {caller: set(json.loads(program.communicate()[0])) for caller, program in programs.items()}

    def everything(self) -> dict[str, set[str]]:
        """What is measured where nothing is enforced."""
        return {caller: {name for name in self.targets if not name.startswith(caller)} for caller in self.callers}

    def _started(self, caller: str) -> subprocess.Popen[str]:
        tried = [f"{name}={self.targets[name]}" for name in sorted(self.everything()[caller])]
        inside = ["nsenter", "--net", "--target", self.callers[caller]]
        command = [*inside, sys.executable, "-m", "tests.kubernetes.reach", *tried]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def reach(lab: KubernetesLab) -> Reach:
    """Of the lab's pods, which are gathered on one node for it, and of pods that are not the lab's."""
    _gather(lab)
    _add_others(lab)
    _listen(lab)
    targets = {DNS: f"{files.DNS}:53", API: f"{files.ADDRESS}:6443"}
    targets |= {name: f"{address}:80" for name, address in _LISTENERS.items()}
    callers = {name: lab.process(name, namespace) for name, (namespace, _) in _OTHERS.items()}
    for service in _SERVICES:
        pod = min(lab.pods(service))
        callers[service] = lab.process(pod)
        targets |= _ports(lab, pod)
    return Reach(callers, targets)


def build() -> None:
    """Compile kube-router: minutes the first time, seconds from then on."""
    environment = {**os.environ, "GOBIN": str(PROGRAMS), "CGO_ENABLED": "0"}
    subprocess.run(["go", "install", _KUBE_ROUTER], env=environment, check=True)


def enforce(lab: KubernetesLab) -> None:
    """Start kube-router."""
    lab.own().run(
        "kube-router",
        str(PROGRAMS / "kube-router"),
        f"--kubeconfig={lab.api.kubeconfig}",
        f"--hostname-override={_NODE}",
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        f"--service-cluster-ip-range={files.SERVICES}",
        "--health-port=0",
    )


def _gather(lab: KubernetesLab) -> None:
    lab.api.kubectl("cordon", _OTHER_NODE)
    counts = {service: len(lab.pods(service)) for service in _SERVICES}
    moved = [pod for service in _SERVICES for pod, node in lab.pods(service).items() if node == _OTHER_NODE]
    if moved:
        lab.kubectl("delete", "pod", *moved)  # returns when they are gone
    for service, count in counts.items():
        lab.wait_for(service, count)


def _add_others(lab: KubernetesLab) -> None:
    """Pods of the model server's image that only wait."""
    image = lab.kubectl("get", "deployment", SERVING, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    for name, (namespace, labels) in _OTHERS.items():
        pod = _pod(name, labels, image)
        lab.api.kubectl("--namespace", namespace, "apply", "--filename", "-", given=json.dumps(pod))
        lab.api.kubectl("--namespace", namespace, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")


def _pod(name: str, labels: dict[str, str], image: str) -> dict[str, Any]:
    container = {
        "name": name,
        "image": image,
        "command": ["sleep", "infinity"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}},
    }
    spec = {"nodeName": _NODE, "automountServiceAccountToken": False, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def _listen(lab: KubernetesLab) -> None:
    """Stand in for addresses outside the cluster."""
    cluster = lab.own()
    for address in _LISTENERS.values():
        run(*cluster.inside("ip", "addr", "add", f"{address}/32", "dev", "lo"))
        cluster.run(f"http-{address}", sys.executable, "-m", "http.server", "80", "--bind", address)


def _ports(lab: KubernetesLab, pod: str) -> dict[str, str]:
    """Each port that the pod's containers name: `tensor-rest:8080` and where it is."""
    found = json.loads(lab.kubectl("get", "pod", pod, "-o", "json"))
    service, address = found["metadata"]["labels"]["app.kubernetes.io/name"], found["status"]["podIP"]
    ports = [port["containerPort"] for each in found["spec"]["containers"] for port in each.get("ports", [])]
    return {f"{service}:{port}": f"{address}:{port}" for port in ports}
