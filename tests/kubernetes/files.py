"""The files that the cluster's parts read."""

import json
import secrets
from pathlib import Path

ADDRESS = "10.78.0.2"  # of the API server and metrics-server
DNS = "169.254.20.10"  # NodeLocal DNSCache's, which the lab's NetworkPolicies let pods call
NODES = {"node1": "10.78.0.11", "node2": "10.78.0.12"}
PODS = "10.88.0.0/16"
SERVICES = "10.96.0.0/16"
METRICS_PORT = 4443
PAUSE = "lab/pause:1"  # the image of the process that holds a pod's namespaces
_DNS_TTL = 5  # seconds; docs/kubernetes.md names it


def write(folder: Path, registry: str, storage: Path) -> None:
    """All of them into the cluster's folder; `registry` is HOST:PORT, `storage` its data."""
    token = secrets.token_hex(16)
    kubeconfig = folder / "kubeconfig"
    kubeconfig.touch(0o600)
    kubeconfig.write_text(json.dumps(_kubeconfig(token)))
    (folder / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    zone = f"kubernetes cluster.local {{\n kubeconfig {kubeconfig} lab\n ttl {_DNS_TTL}\n }}"
    (folder / "Corefile").write_text(f".:53 {{\n errors\n {zone}\n}}\n")
    place = f"storage: {{filesystem: {{rootdirectory: {storage}}}}}"
    (folder / "registry.yml").write_text(f"version: 0.1\n{place}\nhttp: {{addr: {registry}}}\n")
    network = folder / "cni"
    network.mkdir()
    (network / "lab.conflist").write_text(json.dumps(_network(folder)))
    for name, address in NODES.items():
        node = folder / name
        node.mkdir()
        (node / "containerd.toml").write_text(_containerd(node, network, f"{registry}/{PAUSE}"))
        (node / "kubelet.json").write_text(json.dumps(_kubelet(node, address)))


def metrics() -> dict[str, object]:
    """The Service and APIService of metrics-server, which runs as a process and not in a pod."""
    name, port = {"name": "metrics-server", "namespace": "kube-system"}, {"port": METRICS_PORT, "protocol": "TCP"}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": name, "spec": {"ports": [{**port, "port": 443}]}}
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**name, "labels": {"kubernetes.io/service-name": "metrics-server"}},
        "addressType": "IPv4",
        "ports": [port],
        "endpoints": [{"addresses": [ADDRESS]}],
    }
    registration = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": name,
        },
    }
    return {"apiVersion": "v1", "kind": "List", "items": [service, endpoints, registration]}


def _kubeconfig(token: str) -> dict[str, object]:
    server = {"server": f"https://{ADDRESS}:6443", "insecure-skip-tls-verify": True}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": server}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
        "current-context": "lab",
    }


def _network(folder: Path) -> dict[str, object]:
    """One bridge for the pods of both nodes."""
    addresses = {
        "type": "host-local",
        "dataDir": f"{folder}/addresses",
        "ranges": [[{"subnet": PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "hairpinMode": True, "ipam": addresses}
    return {"cniVersion": "1.0.0", "name": "lab", "plugins": [bridge]}


def _containerd(folder: Path, network: Path, pause: str) -> str:
    # A machine that is a container itself may not lower a process's score for the out-of-memory killer.
    return f"""version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
  address = "{folder}/sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{network}"
"""


def _kubelet(folder: Path, address: str) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "healthzPort": 0,
        "containerRuntimeEndpoint": f"unix://{folder}/sock",
        "clusterDNS": [DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        # Two kubelets on one machine: with control groups for each class of pods, each would remove the other's.
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
    }
