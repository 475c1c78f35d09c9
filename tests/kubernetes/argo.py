"""Argo Workflows on the tests' cluster: its controller as a process beside, its executor as an image."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kubernetes.cluster import Cluster
from tests.namespaces import run
from tests.running import ROOT

MODULE = "github.com/argoproj/argo-workflows/v4"
VERSION = "v4.0.5"
_PROGRAMS = ROOT / ".lab" / "kubernetes"
# docs/pipeline.md has the same for users: Pod Security's level `restricted` holds for the executor's containers too.
_EXECUTOR = """
securityContext:
  allowPrivilegeEscalation: false
  runAsNonRoot: true
  capabilities: { drop: [ALL] }
"""


@contextmanager
def controller(cluster: Cluster, namespace: str, registry: str) -> Iterator[None]:
    """Compile it (minutes the first time), and let it look after the Workflows of one namespace."""
    environment = {**os.environ, "GOBIN": str(_PROGRAMS), "CGO_ENABLED": "0"}
    programs = [f"{MODULE}/cmd/{name}@{VERSION}" for name in ("workflow-controller", "argoexec")]
    subprocess.run(["go", "install", "-trimpath", "-ldflags", "-s -w", *programs], env=environment, check=True)
    image = f"{registry}/lab/argoexec:{VERSION}"
    file = 'FROM scratch\nCOPY argoexec /bin/argoexec\nENTRYPOINT ["/bin/argoexec"]\n'
    run("docker", "build", "--quiet", "--tag", image, "--file", "-", str(_PROGRAMS), given=file)
    run("docker", "push", "--quiet", image)
    run("docker", "rmi", image)
    module = json.loads(run("go", "mod", "download", "-json", f"{MODULE}@{VERSION}"))["Dir"]
    crds = Path(module) / "manifests" / "base" / "crds" / "minimal"
    cluster.api.kubectl("apply", "--server-side", "--kustomize", str(crds))
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "workflow-controller-configmap", "namespace": namespace},
        "data": {"executor": _EXECUTOR},
    }
    cluster.api.kubectl("apply", "--filename", "-", given=json.dumps(settings))
    command = [str(_PROGRAMS / "workflow-controller"), "--kubeconfig", str(cluster.api.kubeconfig), "--namespaced",
               "--namespace", namespace, "--managed-namespace", namespace, "--executor-image", image]  # fmt: skip
    with (cluster.folder / "workflow-controller.log").open("wb") as log:
        program = subprocess.Popen(
            cluster.inside(*command), stdout=log, stderr=log, env={**os.environ, "LEADER_ELECTION_DISABLE": "true"}
        )
    try:
        yield
    finally:
        program.terminate()
        program.wait(20)
