"""A cluster as its API shows it, whoever started it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Api:
    """kubectl, with the rights of a kubeconfig that names one cluster."""

    kubeconfig: Path

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


def of_context(name: str, folder: Path) -> Api:
    """The cluster of a context of the user's kubeconfig, of which a copy is put into the folder."""
    command = ["kubectl", "config", "view", "--raw", "--flatten", "--minify", "--context", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    copy = folder / "kubeconfig"
    copy.touch(0o600)
    copy.write_text(done.stdout)
    return Api(copy)
