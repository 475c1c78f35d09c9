"""A cluster as its API shows it, started here or given."""

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lab_engine import settings
from lab_engine.kubernetes.kubectl import find


@dataclass(frozen=True)
class Api:
    """kubectl, with the rights of a kubeconfig that names one cluster."""

    kubeconfig: Path

    def kubectl(self, *words: str, given: str | None = None) -> str:
        """What kubectl prints; AssertionError with its reason."""
        command = [_program(), "--kubeconfig", str(self.kubeconfig), *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def ready_nodes(self) -> list[str]:
        """The names of the nodes that are Ready."""
        lines = [line.split() for line in self.kubectl("get", "nodes", "--no-headers").splitlines()]
        return sorted(name for name, state, *_ in lines if state == "Ready")


def of_context(name: str, folder: Path) -> Api:
    """The cluster of a context of the user's kubeconfig, of which a copy is put into the folder."""
    command = [_program(), "config", "view", "--raw", "--flatten", "--minify", "--context", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    copy = folder / "kubeconfig"
    copy.touch(0o600)
    copy.write_text(done.stdout)
    return Api(copy)


@cache
def _program() -> str:
    """The kubectl that bin/kube.sh takes: the user's own, else the pinned one."""
    return find(settings.load()).program
