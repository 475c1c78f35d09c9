"""A Kubernetes of two nodes on this machine, in a network namespace of its own; for root.

components/main.go is every part of it that is written in Go. Each node is a kubelet and a containerd (Debian's). The
pods of both are on one bridge, so that the reference network plugins do. kube-proxy and CoreDNS run once for both.
"""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.running import ROOT, wait_until

COMPONENTS = Path(__file__).with_name("components")
NAMESPACE = "lab-kube"
ADDRESS = "10.78.0.2"
_CABLE, _HOST = "lab-kube", "10.78.0.1"
_API = f"https://{ADDRESS}:6443"
_PODS = "10.88.0.0/16"
NODES = {"node1": "10.78.0.11", "node2": "10.78.0.12"}
_METRICS_PORT = 4443
_DNS_TTL = 5  # seconds; docs/kubernetes.md names it
_NEEDED = ("go", "containerd", "docker-registry", "iptables", "ip", "nsenter", "openssl")


def obstacle() -> str:
    """Why no cluster can be started here; "" if one can."""
    if os.geteuid() != 0:
        return "it makes network namespaces: for root"
    missing = [name for name in _NEEDED if not shutil.which(name)]
    if not Path("/usr/lib/cni/bridge").exists():
        missing.append("containernetworking-plugins")
    return f"not installed: {', '.join(missing)}" if missing else ""


class Cluster:
    """The running cluster. `kubeconfig` is a file that makes its reader an administrator."""

    def __init__(self, folder: Path, registry_port: int) -> None:
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self.release = _release()
        self._registry = f"localhost:{registry_port}"
        self._program = ROOT / ".lab" / "kubernetes" / "components"
        self._token = secrets.token_hex(16)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def inside(self, *command: str) -> list[str]:
        """The command, run in the cluster's network."""
        # nsenter, since `ip netns exec` mounts /sys anew, and containerd would not see its control groups.
        return ["nsenter", f"--net=/run/netns/{NAMESPACE}", *command]

    def start(self) -> None:
        """Bring it up, until both nodes are ready. The image of pause is in the registry by then."""
        self._write_files()
        self._run("docker-registry", "docker-registry", "serve", str(self.folder / "registry.yml"))
        self._go("etcd", "--data-dir", f"{self.folder}/etcd", "--unsafe-no-fsync")
        self._start_control_plane()
        for name in NODES:
            self.start_node(name)
        self._go("coredns", "-conf", str(self.folder / "Corefile"))
        connections = ("max-per-core", "tcp-timeout-established", "tcp-timeout-close-wait")  # settings of the machine's
        self._go(
            "kube-proxy",
            f"--kubeconfig={self.kubeconfig}",
            f"--hostname-override={next(iter(NODES))}",
            f"--cluster-cidr={_PODS}",
            "--proxy-mode=iptables",
            *(f"--conntrack-{name}=0" for name in connections),
        )
        wait_until(lambda: self.ready_nodes() == list(NODES), 90, f"the nodes; the logs are in {self.folder}")
        self._start_metrics()

    def start_node(self, name: str) -> None:
        """A node's containerd and kubelet; what of it runs already is left alone."""
        folder = self.folder / name
        if f"containerd-{name}" not in self._processes:
            self._run(f"containerd-{name}", "containerd", "--config", str(folder / "containerd.toml"))
        self._go("kubelet", f"--config={folder}/kubelet.json", f"--kubeconfig={self.kubeconfig}",
                 f"--root-dir={folder}/kubelet", f"--cert-dir={folder}/pki", f"--hostname-override={name}",
                 f"--node-ip={NODES[name]}", log=f"kubelet-{name}")  # fmt: skip

    def stop_kubelet(self, name: str) -> None:
        """The kubelet alone, at once: the node's containers go on, and nobody reports or looks after them."""
        self._stop(f"kubelet-{name}", signal.SIGKILL)

    def kubectl(self, *words: str, given: str | None = None) -> str:
        """What kubectl prints; AssertionError with its reason."""
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def ready_nodes(self) -> list[str]:
        """The names of the nodes that are Ready."""
        lines = [line.split() for line in self.kubectl("get", "nodes", "--no-headers").splitlines()]
        return sorted(name for name, state, *_ in lines if state == "Ready")

    def stop(self) -> None:
        """End every process and container, and unmount what they mounted."""
        for name in reversed(list(self._processes)):
            self._stop(name, signal.SIGTERM)
        for pid in subprocess.run(["pgrep", "--full", str(self.folder)], capture_output=True, text=True).stdout.split():
            _kill_tree(int(pid))
        inside = subprocess.run(["ip", "netns", "pids", NAMESPACE], capture_output=True, text=True, check=False)
        for pid in inside.stdout.split():
            _kill_tree(int(pid))
        _unmount(f"{self.folder}/")

    def _start_control_plane(self) -> None:
        local = ("--bind-address=127.0.0.1", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false")
        key = self.folder / "account.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], capture_output=True, check=True)
        self._go("kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", f"--bind-address={ADDRESS}",
                 f"--advertise-address={ADDRESS}", f"--cert-dir={self.folder}/api",
                 f"--token-auth-file={self.folder}/tokens.csv", "--authorization-mode=Node,RBAC",
                 "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
                 f"--service-account-signing-key-file={key}", "--service-cluster-ip-range=10.96.0.0/16",
                 "--kubelet-preferred-address-types=InternalIP")  # fmt: skip
        wait_until(self._answers, 90, f"the API server; its log is in {self.folder}")
        # A node counts as lost after 20 s in place of 50: the test waits for that.
        self._go("kube-controller-manager", *local, f"--cert-dir={self.folder}/manager",
                 f"--service-account-private-key-file={key}", "--node-monitor-grace-period=20s")  # fmt: skip
        self._go("kube-scheduler", *local, f"--cert-dir={self.folder}/scheduler")

    def _front_proxy(self) -> list[str]:
        """Flags by which the API server passes calls on to metrics-server, which knows it by a certificate."""
        key, certificate = self.folder / "front.key", self.folder / "front.crt"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=front", "-days", "30"]
        subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], capture_output=True, check=True)
        return [
            f"--proxy-client-key-file={key}",
            f"--proxy-client-cert-file={certificate}",
            f"--requestheader-client-ca-file={certificate}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--enable-aggregator-routing",
        ]

    def _start_metrics(self) -> None:
        """What autoscalers read; known to the API server from when it answers."""
        configs = [f"--{name}kubeconfig={self.kubeconfig}" for name in ("", "authentication-", "authorization-")]
        self._go(
            "metrics-server",
            *configs,
            f"--cert-dir={self.folder}/metrics",
            f"--bind-address={ADDRESS}",
            f"--secure-port={_METRICS_PORT}",
            "--kubelet-insecure-tls",
            "--kubelet-use-node-status-port",
            "--kubelet-preferred-address-types=InternalIP",
        )
        self.kubectl("apply", "--filename", "-", given=json.dumps(_metrics()))

    def _write_files(self) -> None:
        self.kubeconfig.write_text(json.dumps(_kubeconfig(self._token)))
        self.kubeconfig.chmod(0o600)
        (self.folder / "tokens.csv").write_text(f"{self._token},admin,admin,system:masters\n")
        zone = f"kubernetes cluster.local {{\n kubeconfig {self.kubeconfig} lab\n ttl {_DNS_TTL}\n }}"
        (self.folder / "Corefile").write_text(f".:53 {{\n errors\n {zone}\n}}\n")
        storage = f"storage: {{filesystem: {{rootdirectory: {ROOT}/.lab/registry/data}}}}"
        (self.folder / "registry.yml").write_text(f"version: 0.1\n{storage}\nhttp: {{addr: {self._registry}}}\n")
        network = self.folder / "cni"
        network.mkdir()
        (network / "lab.conflist").write_text(json.dumps(_network(self.folder)))
        for name, address in NODES.items():
            folder = self.folder / name
            folder.mkdir()
            (folder / "containerd.toml").write_text(_containerd(folder, network, f"{self._registry}/lab/pause:1"))
            (folder / "kubelet.json").write_text(json.dumps(_kubelet(folder, address)))

    def _go(self, name: str, *flags: str, log: str = "") -> None:
        self._run(log or name, str(self._program), name, *flags)

    def _run(self, name: str, *command: str) -> None:
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
        assert self._processes["kube-apiserver"].poll() is None, (self.folder / "kube-apiserver.log").read_text()[
            -3000:
        ]
        try:
            # The account is what a pod without a ServiceAccount of its own needs.
            self.kubectl("get", "--raw", "/readyz")
        except AssertionError:
            return False
        return True


@contextmanager
def started(registry_port: int) -> Iterator[Cluster]:
    """A cluster that pulls from this clone's registry (bin/registry.sh) under the same port."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="lab-kube-"))  # short: sockets have paths of at most 107 characters
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        _wire()
        stack.callback(_run, "ip", "netns", "delete", NAMESPACE)
        cluster = Cluster(folder, registry_port)
        stack.callback(cluster.stop)
        cluster.start()
        yield cluster


def build() -> None:
    """Compile what is written in Go: minutes the first time, seconds from then on; and pause's image, pushed."""
    folder = ROOT / ".lab" / "kubernetes"
    folder.mkdir(parents=True, exist_ok=True)
    release = _release()
    major, minor, _ = release.removeprefix("v").split(".")
    facts = {"gitVersion": release, "gitMajor": major, "gitMinor": minor}  # which kubectl and the parts compare
    flags = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in facts.items())
    environment = {**os.environ, "CGO_ENABLED": "0"}
    for name, package in (("components", "."), ("pause", "./pause")):
        command = ["go", "build", "-trimpath", "-ldflags", f"-s -w {flags}", "-o", str(folder / name), package]
        subprocess.run(command, cwd=COMPONENTS, env=environment, check=True)


def _release() -> str:
    """Of Kubernetes, as go.mod has it: v1.34.2."""
    found = re.search(r"^\s+k8s\.io/kubernetes (v\S+)$", (COMPONENTS / "go.mod").read_text(), re.MULTILINE)
    assert found
    return found[1]


def push_pause(registry: str) -> None:
    """The image of the process that holds a pod's namespaces."""
    name = f"{registry}/lab/pause:1"
    file = 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n'
    folder = ROOT / ".lab" / "kubernetes"
    _run("docker", "build", "--quiet", "--tag", name, "--file", "-", str(folder), given=file)
    _run("docker", "push", "--quiet", name)
    _run("docker", "rmi", name)


def _wire() -> None:
    """The namespace, and a cable from it to this machine, for kubectl."""
    _run("ip", "netns", "add", NAMESPACE)
    _run("ip", "link", "add", _CABLE, "type", "veth", "peer", "name", "eth0", "netns", NAMESPACE)
    _run("ip", "addr", "add", f"{_HOST}/24", "dev", _CABLE)
    _run("ip", "link", "set", _CABLE, "up")
    for address in (ADDRESS, *NODES.values()):
        _run("ip", "-n", NAMESPACE, "addr", "add", f"{address}/24", "dev", "eth0")
    for device in ("eth0", "lo"):
        _run("ip", "-n", NAMESPACE, "link", "set", device, "up")
    _run("ip", "-n", NAMESPACE, "route", "add", "default", "via", _HOST)


def _kubeconfig(token: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": _API, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
        "current-context": "lab",
    }


def _metrics() -> dict[str, object]:
    """The registration of metrics-server, which is no pod here."""
    name, port = {"name": "metrics-server", "namespace": "kube-system"}, {"port": _METRICS_PORT, "protocol": "TCP"}
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


def _network(folder: Path) -> dict[str, object]:
    """One bridge for the pods of both nodes."""
    addresses = {
        "type": "host-local",
        "dataDir": f"{folder}/addresses",
        "ranges": [[{"subnet": _PODS}]],
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
        "clusterDNS": [ADDRESS],
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


def _run(*command: str, given: str | None = None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
    return done.stdout


def _kill_tree(pid: int) -> None:
    """A process, at once, and all that it started: a shim's containers."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return
    for child in children:
        _kill_tree(int(child))


def _unmount(below: str) -> None:
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in sorted((each for each in mounted if each.startswith(below)), reverse=True):
        subprocess.run(["umount", "--lazy", place], check=False)
