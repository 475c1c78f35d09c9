"""The pipeline as an Argo Workflow, by Argo's own controller, next to the lab: from data to a promoted model."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import bars
from tests.kubernetes import argo
from tests.kubernetes.lab import NAMESPACE, KubernetesLab
from tests.running import ROOT, wait_until

pytestmark = pytest.mark.timeout(2400)
MODEL = "bars"


def test_the_workflow_trains_deploys_and_promotes(lab: KubernetesLab, tmp_path: Path) -> None:
    cluster = lab.own()
    bars.write(lab.volume("tensor-data") / "sources")
    subprocess.run(["chown", "--recursive", "1000:100", str(lab.volume("tensor-data"))], check=True)
    write_manifests(tmp_path, lab)
    with argo.controller(cluster, NAMESPACE, lab.registry) as controller:
        lab.kubectl("apply", "--filename", str(tmp_path / "access.yaml"))
        name = lab.kubectl("create", "--filename", str(tmp_path / "workflow.yaml"), "--output", "name").strip()

        def ended() -> Any:
            assert controller.poll() is None, (cluster.folder / "workflow-controller.log").read_text()[-2000:]
            status = json.loads(lab.kubectl("get", name, "--output", "json")).get("status", {})
            return status if status.get("phase") in ("Succeeded", "Failed", "Error") else None

        status = wait_until(ended, 1500, f"the end of {name}")
        failed = {each["displayName"]: each.get("message") for each in status["nodes"].values()}
        assert status["phase"] == "Succeeded", failed
    wait_until(lambda: {"stable": 1} in labels(lab), 30, "every gateway to know the label")


def labels(lab: KubernetesLab) -> list[dict[str, int]]:
    return [model["labels"] for model in lab.get("/tf/models")["models"] if model["name"] == MODEL]


def write_manifests(folder: Path, lab: KubernetesLab) -> None:
    """As `lab pipeline argo` writes them, for the pods' own folders."""
    command = [sys.executable, "-m", "tensor_jupyter", "pipeline", "argo", str(folder), "--model", MODEL]
    where = ["--images", f"{lab.registry}/lab", "--tag", lab.tags[0]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tensor-jupyter")}
    subprocess.run([*command, *where, *bars.flags("/data/sources")], env=environment, check=True)
    file = folder / "workflow.yaml"
    document = yaml.safe_load(file.read_text())
    for template in document["spec"]["templates"]:
        if container := template.get("container"):  # a step may ask for two cores, which a node here has in all
            container["resources"]["requests"] = {"cpu": "100m", "memory": "512Mi"}
    file.write_text(yaml.safe_dump(document))
