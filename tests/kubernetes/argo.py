"""Argo Workflows on the tests' cluster: its controller as a process beside, its executor as an image."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tensor_jupyter.pipeline.argo import ARGO_MODULE
from tests.kubernetes.cluster import PROGRAMS, Cluster, push_program
from tests.namespaces import run
from tests.running import ROOT


@contextmanager
def controller(cluster: Cluster, namespace: str, registry: str) -> Iterator[subprocess.Popen[bytes]]:
    """Its process, which reconciles the Workflows of one namespace; compiled first, in minutes the first time."""
    module = Path(json.loads(run("go", "mod", "download", "-json", ARGO_MODULE))["Dir"])
    _build(module)
    image = f"{registry}/lab/argoexec:{ARGO_MODULE.rpartition('@')[2]}"
    push_program(PROGRAMS / "argoexec", image)
    crds = module / "manifests" / "base" / "crds" / "minimal"
    cluster.api.kubectl("apply", "--server-side", "--kustomize", str(crds))
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "workflow-controller-configmap", "namespace": namespace},
        **_settings(),
    }
    cluster.api.kubectl("apply", "--filename", "-", given=json.dumps(settings))
    command = [str(PROGRAMS / "workflow-controller"), "--kubeconfig", str(cluster.api.kubeconfig), "--namespaced",
               "--namespace", namespace, "--managed-namespace", namespace, "--executor-image", image]  # fmt: skip
    with (cluster.folder / "workflow-controller.log").open("wb") as log:
        program = subprocess.Popen(
            cluster.inside(*command), stdout=log, stderr=log, env={**os.environ, "LEADER_ELECTION_DISABLE": "true"}
        )
    try:
        yield program
    finally:
        program.kill()  # it does not end at TERM
        program.wait()


def _settings() -> dict[str, Any]:
    """What docs/pipeline.md has users set for a namespace whose Pod Security level is `restricted`."""
    blocks = (ROOT / "docs" / "pipeline.md").read_text().split("```yaml\n")[1:]
    found: dict[str, Any] = yaml.safe_load(next(each for each in blocks if "executor:" in each).partition("```")[0])
    return found


def _build(module: Path) -> None:
    source = PROGRAMS / "argo-workflows"
    shutil.rmtree(source, ignore_errors=True)
    run("cp", "--recursive", "--no-preserve=mode", str(module), str(source))
    # The module's archive has no signal_linux.go; what signal_darwin.go calls is POSIX.
    signals = source / "workflow" / "executor" / "osspecific"
    shutil.copyfile(signals / "signal_darwin.go", signals / "signal_linux.go")
    environment = {**os.environ, "CGO_ENABLED": "0"}
    for name in ("workflow-controller", "argoexec"):
        command = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(PROGRAMS / name), f"./cmd/{name}"]
        subprocess.run(command, cwd=source, env=environment, check=True)
