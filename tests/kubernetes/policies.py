"""NetworkPolicies on the tests' cluster: enforced by kube-router, and what pods then reach of each other."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.kubernetes.cluster import PROGRAMS, Cluster
from tests.kubernetes.files import ADDRESS, SERVICES
from tests.kubernetes.lab import NAMESPACE, KubernetesLab
from tests.namespaces import run

MODULE = "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router@v2.1.0"
NODE = "node1"
"""Both nodes have one network, where kube-router polices the pods of the node that it is started for."""

INTERNET = "203.0.113.7"  # stands in for it: kept for examples by RFC 5737
STRANGER, OUTSIDE, CLIENT = "stranger", "outside", "client"
STRANGERS = {STRANGER: (NAMESPACE, {}), OUTSIDE: ("default", {}), CLIENT: ("default", {"tensor-lab/direct": "yes"})}
"""Pods beside the lab's: their namespace and labels. The last has the label of the component direct."""

TARGETS = {
    "tensor-rest": (8080,),
    "tensor-serving": (9000, 9001, 8502),
    "tensor-board": (6006,),
    "tensor-jupyter": (8888,),
}
_OWN = re.compile(r"KUBE-(ROUTER|POD-FW|NWPLCY)")  # kube-router's chains
_LISTEN = """
import socket, sys
with socket.create_server((sys.argv[1], 443)) as server:
    print("ready", flush=True)
    while True:
        server.accept()[0].close()
"""
_CALL = """
import json, socket, sys

def open(name, host, port):
    try:
        if name == "dns":
            return bool(socket.getaddrinfo(host, port))
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True

print(json.dumps([name for name, host, port in json.loads(sys.argv[1]) if open(name, host, port)]))
"""


@dataclass(frozen=True)
class Pod:
    """One that others call, or that calls others."""

    namespace: str
    name: str
    address: str


def gather(lab: KubernetesLab) -> None:
    """Move the lab onto the one node."""
    nodes = [name for name in lab.api.ready_nodes() if name != NODE]
    lab.api.kubectl("cordon", *nodes)
    for node in nodes:
        lab.kubectl("delete", "pods", "--field-selector", f"spec.nodeName={node}")
    for service, count in (("tensor-rest", 2), ("tensor-serving", 2), ("tensor-board", 1), ("tensor-jupyter", 1)):
        lab.wait_for(service, count)


@contextmanager
def strangers(lab: KubernetesLab) -> Iterator[None]:
    """Pods that are none of the lab's, with its smallest image, and an address of the internet that listens."""
    cluster = lab.own()
    image = lab.kubectl("get", "deployment/tensor-board", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    pods = [_stranger(name, namespace, labels, image) for name, (namespace, labels) in STRANGERS.items()]
    lab.api.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))
    for name, (namespace, _) in STRANGERS.items():
        lab.api.kubectl("--namespace", namespace, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
    run(*cluster.inside("ip", "addr", "add", f"{INTERNET}/32", "dev", "lo"))
    listener = cluster.inside("python3", "-c", _LISTEN, INTERNET)
    with subprocess.Popen(listener, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout
            assert program.stdout.readline()
            yield
        finally:
            program.kill()
            run(*cluster.inside("ip", "addr", "del", f"{INTERNET}/32", "dev", "lo"))
            for name, (namespace, _) in STRANGERS.items():
                lab.api.kubectl("--namespace", namespace, "delete", "pod", name, "--wait=false")


@contextmanager
def enforced(cluster: Cluster) -> Iterator[None]:
    """kube-router, which does nothing else; compiled first, in minutes the first time."""
    environment = {**os.environ, "CGO_ENABLED": "0", "GOBIN": str(PROGRAMS)}
    subprocess.run(["go", "install", "-trimpath", MODULE], env=environment, check=True)
    command = cluster.inside(str(PROGRAMS / "kube-router"))
    flags = ["--run-firewall", "--run-router=false", "--run-service-proxy=false", "--enable-cni=false",
             f"--kubeconfig={cluster.api.kubeconfig}", f"--hostname-override={NODE}",
             f"--service-cluster-ip-range={SERVICES}"]  # fmt: skip
    with (cluster.folder / "kube-router.log").open("wb") as log:
        program = subprocess.Popen([*command, *flags], stdout=log, stderr=log)
        try:
            yield
        finally:
            program.terminate()
            program.wait(20)
            rules = run(*cluster.inside("iptables-save")).splitlines(keepends=True)
            run(*cluster.inside("iptables-restore"), given="".join(line for line in rules if not _OWN.search(line)))


def reached(lab: KubernetesLab) -> set[tuple[str, str]]:
    """Which pod opens a connection to which port of which service, without those of a pod to itself."""
    pods = {service: _pods(lab, NAMESPACE, f"app.kubernetes.io/name={service}") for service in TARGETS}
    sources = {service: found[0] for service, found in pods.items()}
    sources |= {name: _pods(lab, namespace, f"run={name}")[0] for name, (namespace, _) in STRANGERS.items()}
    found = set()
    for name, source in sources.items():
        calls: list[tuple[str, str, int]] = [
            ("dns", "kubernetes.default.svc.cluster.local", 443),
            ("internet", INTERNET, 443),
            ("API server", ADDRESS, 6443),
        ]
        for service, ports in TARGETS.items():
            target = pods[service][-1]  # of two it is the other one
            calls += [(f"{service}:{port}", target.address, port) for port in ports if target != source]
        exec_ = ("--namespace", source.namespace, "exec", source.name, "--")
        opened = json.loads(lab.api.kubectl(*exec_, "python3", "-c", _CALL, json.dumps(calls)))
        found |= {(name, target) for target in opened}
    return found


def _pods(lab: KubernetesLab, namespace: str, label: str) -> list[Pod]:
    items = json.loads(lab.api.kubectl("--namespace", namespace, "get", "pods", "-l", label, "-o", "json"))["items"]
    return [Pod(namespace, each["metadata"]["name"], each["status"]["podIP"]) for each in items]


def _stranger(name: str, namespace: str, labels: dict[str, str], image: str) -> dict[str, Any]:
    container = {
        "name": name,
        "image": image,
        "command": ["sleep", "3600"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {each: {"cpu": "100m", "memory": "64Mi"} for each in ("requests", "limits")},
    }
    pod = {
        "nodeName": NODE,
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    metadata = {"name": name, "namespace": namespace, "labels": {"run": name, **labels}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}
