"""A Kubernetes cluster of two nodes on this machine, in a network namespace of its own; requires root.

Run as a program, this module exits with a message if no cluster can be started here.

components/main.go is every part of it that is written in Go. Each node is a kubelet and a containerd (Debian's). The
pods of both are on one bridge, so that the reference network plugins do. kube-proxy and CoreDNS run once for both.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests import namespaces
from tests.kubernetes import files
from tests.kubernetes.api import Api
from tests.kubernetes.files import ADDRESS, NODES
from tests.namespaces import run
from tests.running import ROOT, wait_until

COMPONENTS = Path(__file__).with_name("components")
PROGRAMS = ROOT / ".lab" / "kubernetes"  # compiled ones
NAMESPACE = "lab-kube"
_CABLE, _HOST = "lab-kube", "10.78.0.1"
_NEEDED = ("go", "containerd", "docker", "docker-registry", "iptables", "ipset", "ip", "nsenter", "openssl", "pgrep")


def obstacle() -> str:
    """Why no cluster can be started here; "" if one can."""
    if os.geteuid() != 0:
        return "it makes network namespaces: for root"
    missing = [name for name in _NEEDED if not shutil.which(name)]
    if not Path("/usr/lib/cni/bridge").exists():
        missing.append("containernetworking-plugins")
    return f"not installed: {', '.join(missing)}" if missing else ""


class Cluster:
    """The running cluster, and its API with an administrator's rights."""

    def __init__(self, folder: Path, registry_port: int) -> None:
        self.folder = folder
        self.api = Api(folder / "kubeconfig")
        self.release = _release()
        self._registry = f"localhost:{registry_port}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def inside(self, *command: str) -> list[str]:
        """The command, run in the cluster's network."""
        return namespaces.inside(NAMESPACE, *command)

    def start(self) -> None:
        """Start the cluster and wait until both nodes are ready. The pause image must be in the registry before."""
        files.write(self.folder, self._registry, ROOT / ".lab" / "registry" / "data")
        self.run("docker-registry", "docker-registry", "serve", str(self.folder / "registry.yml"))
        self._start_control_plane()
        for name in NODES:
            self.start_node(name)
        self._go("coredns", f"-conf={self.folder}/Corefile")
        self._go(
            "kube-proxy",
            kubeconfig=self.api.kubeconfig,
            hostname_override=next(iter(NODES)),
            cluster_cidr=files.PODS,
            proxy_mode="iptables",
            conntrack_max_per_core=0,  # this and the next two: the machine's settings stay as they are
            conntrack_tcp_timeout_established=0,
            conntrack_tcp_timeout_close_wait=0,
        )
        wait_until(lambda: self.api.ready_nodes() == list(NODES), 90, f"the nodes; the logs are in {self.folder}")
        self._start_metrics()

    def start_node(self, name: str) -> None:
        """Start a node's kubelet, and its containerd unless that runs already."""
        folder = self.folder / name
        if f"containerd-{name}" not in self._processes:
            self.run(f"containerd-{name}", "containerd", "--config", str(folder / "containerd.toml"))
        self._go(
            "kubelet",
            log=f"kubelet-{name}",
            config=folder / "kubelet.json",
            kubeconfig=self.api.kubeconfig,
            root_dir=folder / "kubelet",
            cert_dir=folder / "pki",
            hostname_override=name,
            node_ip=NODES[name],
        )

    def stop_kubelet(self, name: str) -> None:
        """The kubelet alone, at once: the node's containers run on, unsupervised."""
        self._stop(f"kubelet-{name}", signal.SIGKILL)

    def stop(self) -> None:
        """End every process and container, and unmount what they mounted."""
        for name in reversed(list(self._processes)):
            self._stop(name, signal.SIGTERM)
        namespaces.kill_all(NAMESPACE, self.folder)
        namespaces.unmount(self.folder)

    def _start_control_plane(self) -> None:
        local: dict[str, Any] = {
            "bind_address": "127.0.0.1",
            "kubeconfig": self.api.kubeconfig,
            "leader_elect": "false",
        }
        key, front_key, front = (self.folder / name for name in ("account.key", "front.key", "front.crt"))
        run("openssl", "genrsa", "-out", str(key), "2048")
        made = ("-newkey", "rsa:2048", "-nodes", "-subj", "/CN=front", "-keyout", str(front_key), "-out", str(front))
        run("openssl", "req", "-x509", *made)
        self._go("etcd", data_dir=self.folder / "etcd", unsafe_no_fsync="true")
        self._go(
            "kube-apiserver",
            etcd_servers="http://127.0.0.1:2379",
            bind_address=ADDRESS,
            advertise_address=ADDRESS,
            cert_dir=self.folder / "api",
            token_auth_file=self.folder / "tokens.csv",
            authorization_mode="Node,RBAC",
            service_account_issuer="https://kubernetes.default.svc",
            service_account_key_file=key,
            service_account_signing_key_file=key,
            service_cluster_ip_range=files.SERVICES,
            kubelet_preferred_address_types="InternalIP",
            # It passes calls on to metrics-server, which knows it by this certificate.
            proxy_client_key_file=front_key,
            proxy_client_cert_file=front,
            requestheader_client_ca_file=front,
            requestheader_username_headers="X-Remote-User",
            requestheader_group_headers="X-Remote-Group",
            requestheader_extra_headers_prefix="X-Remote-Extra-",
            enable_aggregator_routing="true",
        )
        wait_until(self._answers, 90, f"the API server; its log is in {self.folder}")
        self._go(
            "kube-controller-manager",
            **local,
            cert_dir=self.folder / "manager",
            service_account_private_key_file=key,
            root_ca_file=self.folder / "api" / "apiserver.crt",  # for pods that call the API server: Argo's
            node_monitor_grace_period="20s",  # in place of 50, which a test would wait for
        )
        self._go("kube-scheduler", **local, cert_dir=self.folder / "scheduler")

    def _start_metrics(self) -> None:
        """What autoscalers read."""
        self._go(
            "metrics-server",
            kubeconfig=self.api.kubeconfig,
            authentication_kubeconfig=self.api.kubeconfig,
            authorization_kubeconfig=self.api.kubeconfig,
            cert_dir=self.folder / "metrics",
            bind_address=ADDRESS,
            secure_port=files.METRICS_PORT,
            kubelet_insecure_tls="true",
            kubelet_use_node_status_port="true",
            kubelet_preferred_address_types="InternalIP",
        )
        self.api.kubectl("apply", "--filename", "-", given=json.dumps(files.metrics()))

    def _go(self, name: str, *words: str, log: str = "", **flags: object) -> None:
        """Start a part that is written in Go: a keyword such as node_ip becomes the flag --node-ip."""
        given = [f"--{flag.replace('_', '-')}={value}" for flag, value in flags.items()]
        self.run(log or name, str(PROGRAMS / "components"), name, *words, *given)

    def run(self, name: str, *command: str) -> None:
        """Start a program in the cluster's network; it ends with the cluster. Its log is NAME.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self.inside(*command), stdout=log, stderr=log, start_new_session=True, cwd=self.folder
            )

    def _stop(self, name: str, by: signal.Signals) -> None:
        process = self._processes.pop(name)
        process.send_signal(by)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)

    def _answers(self) -> bool:
        log = self.folder / "kube-apiserver.log"
        assert self._processes["kube-apiserver"].poll() is None, log.read_text()[-3000:]
        try:
            self.api.kubectl("get", "--raw", "/readyz")
        except AssertionError:
            return False
        return True


@contextmanager
def started(registry_port: int) -> Iterator[Cluster]:
    """A cluster that pulls from this clone's registry (bin/registry.sh) under the same port."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="lab-kube-"))  # short: sockets have paths of at most 107 characters
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        namespaces.remove({NAMESPACE})  # of a run that was killed
        pods = {each for each in namespaces.listed() if each.startswith("cni-")}
        groups = _groups()
        stack.callback(_remove_groups, but=groups)
        stack.callback(lambda: namespaces.remove({NAMESPACE}))
        stack.callback(lambda: namespaces.remove({n for n in namespaces.listed() if n.startswith("cni-")} - pods))
        namespaces.add(NAMESPACE, _CABLE, *(f"{each}/24" for each in (ADDRESS, *NODES.values())), gateway=_HOST)
        run("ip", "-n", NAMESPACE, "addr", "add", f"{files.DNS}/32", "dev", "lo")
        run("ip", "addr", "add", f"{_HOST}/24", "dev", _CABLE)  # for kubectl
        cluster = Cluster(folder, registry_port)
        stack.callback(cluster.stop)
        cluster.start()
        yield cluster


def _groups() -> set[Path]:
    """The control groups of containers; containerd leaves those of containers that were killed."""
    return set(Path("/sys/fs/cgroup").glob("*/k8s.io/*/"))


def _remove_groups(but: set[Path]) -> None:
    for group in _groups() - but:
        group.rmdir()


def build() -> None:
    """Compile what is written in Go: minutes the first time, seconds from then on."""
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    release = _release()
    major, minor, _ = release.removeprefix("v").split(".")
    facts = {"gitVersion": release, "gitMajor": major, "gitMinor": minor}  # which kubectl and the parts compare
    flags = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in facts.items())
    environment = {**os.environ, "CGO_ENABLED": "0"}
    for name, package in (("components", "."), ("pause", "./pause")):
        command = ["go", "build", "-trimpath", "-ldflags", f"-s -w {flags}", "-o", str(PROGRAMS / name), package]
        subprocess.run(command, cwd=COMPONENTS, env=environment, check=True)


def push_program(program: Path, image: str) -> None:
    """An image of nothing but a static program, /bin/NAME, in the registry that its name names."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(program, folder)
        file = f'FROM scratch\nCOPY {program.name} /bin/\nENTRYPOINT ["/bin/{program.name}"]\n'
        run("docker", "build", "--quiet", "--tag", image, "--file", "-", folder, given=file)
    run("docker", "push", "--quiet", image)
    run("docker", "rmi", image)


def _release() -> str:
    """Of Kubernetes, as go.mod has it: v1.34.2."""
    found = re.search(r"^\s+k8s\.io/kubernetes (v\S+)$", (COMPONENTS / "go.mod").read_text(), re.MULTILINE)
    assert found
    return found[1]


if __name__ == "__main__":
    sys.exit(f"no cluster can be started here: {reason}" if (reason := obstacle()) else 0)
