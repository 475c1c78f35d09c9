"""What the engines are given: the manifests for Argo, and the arguments of `docker run`."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from tensor_jupyter.cli import app
from tensor_jupyter.pipeline import containers
from tensor_jupyter.pipeline.argo import ARGO_MODULE, NAME, Target, manifests
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.pipeline.steps import NAMES, STEPS, named

LONG = bool(os.environ.get("LAB_LONG_TESTS"))
FOLDERS = ("models", "data", "logs", "feedback")


def strict_schema(kind: str) -> dict:
    """hera's schema of a manifest, in which no unknown field passes."""
    from hera.workflows import models

    schema = getattr(models, kind).model_json_schema(by_alias=True)
    for each in [schema, *schema["$defs"].values()]:
        if "properties" in each:
            each["additionalProperties"] = False
    return schema


def test_the_manifests_are_valid_against_the_strict_schema():
    found = manifests(Parameters(), Target())
    for file, kind in (("workflow.yaml", "Workflow"), ("cron-workflow.yaml", "CronWorkflow")):
        (document,) = yaml.safe_load(yaml.safe_dump(found[file]))
        checked = jsonschema.Draft202012Validator(strict_schema(kind))
        assert not [*checked.iter_errors(document)]
        document["spec"]["entrypont"] = "steps"
        assert [error.message for error in checked.iter_errors(document)] == [
            "Additional properties are not allowed ('entrypont' was unexpected)"
        ]


def argo(folder: Path) -> Path:
    """Argo's own command, built from its Go module; without its pages, which the module does not hold."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if not go:
        pytest.skip("Go is not installed")
    download = [go, "mod", "download", "-json", ARGO_MODULE]
    done = subprocess.run(download, capture_output=True, text=True, check=False, cwd="/")
    found = json.loads(done.stdout or "{}")
    if "Dir" not in found:
        pytest.skip(f"{ARGO_MODULE} cannot be had: {found.get('Error') or done.stderr}")
    source = folder / "source"
    subprocess.run(["cp", "--recursive", "--no-preserve=mode", found["Dir"], source], check=True)
    (source / "ui" / "dist" / "app").mkdir(parents=True)
    (source / "ui" / "dist" / "app" / "index.html").touch()
    subprocess.run([go, "build", "-o", folder / "argo", "./cmd/argo"], cwd=source, check=True)
    return folder / "argo"


@pytest.mark.skipif(not LONG, reason="it builds Argo; set LAB_LONG_TESTS=1")
@pytest.mark.timeout(3600)
def test_argo_itself_accepts_the_manifests(tmp_path):
    found = manifests(Parameters(), Target())
    for name in ("workflow.yaml", "cron-workflow.yaml"):
        (tmp_path / name).write_text(yaml.safe_dump_all(found[name]))
    program = argo(tmp_path)
    lint = [program, "lint", "--offline", tmp_path / "workflow.yaml", tmp_path / "cron-workflow.yaml"]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "workflow.yaml").read_text().replace("entrypoint: ", "entrypoint: no-")
    (tmp_path / "workflow.yaml").write_text(text)
    assert subprocess.run(lint, capture_output=True, text=True, check=False).returncode != 0


def test_the_workflow_has_the_table_s_graph_and_least_rights():
    found = manifests(Parameters(), Target(images="registry.example/lab", tag="7"))
    spec = found["workflow.yaml"][0]["spec"]
    *containers, graph = spec["templates"]
    tasks = {task["name"]: task.get("depends", "") for task in graph["dag"]["tasks"]}
    assert tasks == {step.name: " && ".join(step.needs) for step in STEPS}
    assert [each["name"] for each in containers] == [*NAMES]
    assert {each["container"]["image"] for each in containers} == {"registry.example/lab/tensor-jupyter:7"}
    assert {each["name"] for each in containers if "retryStrategy" in each} == {"gather-mnist", "gather-notmnist"}
    for each in containers:
        context = each["container"]["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
    account, role, binding, network = found["access.yaml"]
    assert network["spec"]["policyTypes"] == ["Egress"]
    assert network["spec"]["egress"] == [{}]
    assert role["rules"] == [
        {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}
    ]
    assert account["metadata"]["name"] == binding["subjects"][0]["name"] == spec["serviceAccountName"] == NAME
    claims = {claim["metadata"]["name"]: claim["spec"]["accessModes"] for claim in found["volumes.yaml"]}
    assert claims == {f"tensor-{name}": ["ReadWriteMany"] for name in FOLDERS}


def test_argo_containers_all_get_every_parameter():
    (document,) = manifests(Parameters(), Target())["workflow.yaml"]
    *containers, _ = document["spec"]["templates"]
    for each in containers:
        variables = {variable["name"] for variable in each["container"]["env"]}
        assert {f"LAB_PIPELINE_{name.upper()}" for name in Parameters.model_fields} <= variables, each["name"]


def test_the_default_images_are_those_that_the_lab_pushes():
    lines = (Path(__file__).parents[2] / "versions.env").read_text().splitlines()
    known = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert Target().images == f"{known['LAB_REGISTRY']}/{known['LAB_GROUP']}"
    assert Target().tag == known["LAB_TAG"]


def test_a_step_s_container_has_the_lab_s_folders_and_no_rights_of_its_own(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_API_KEY", "secret")
    parameters = Parameters(mnist_data_dir=str(tmp_path / "digits"), epochs=3)
    words = containers.command(named("train-classifier"), containers.Images("lab", "7"), parameters, settings)
    assert words[-6:] == ["--entrypoint", "lab", "lab/tensor-jupyter:7", "pipeline", "step", "train-classifier"]
    mounts = [words[place + 1] for place, word in enumerate(words) if word == "--mount"]
    assert mounts == [
        *(f"type=bind,source={getattr(settings, name)},target=/{name}" for name in FOLDERS),
        f"type=bind,source={tmp_path / 'digits'},target={tmp_path / 'digits'},readonly",
    ]
    assert {"--read-only", "no-new-privileges", "LAB_PIPELINE_EPOCHS=3", "LAB_API_KEY"} <= set(words)
    assert not any("secret" in word for word in words)


def test_a_step_s_container_has_the_file_of_the_api_key(settings, tmp_path):
    (tmp_path / "key").write_text("secret")
    given = settings.model_copy(update={"api_key_file": tmp_path / "key"})
    words = containers.command(named("deploy"), containers.Images("lab", "7"), Parameters(), given)
    assert "LAB_API_KEY_FILE=/run/api-key" in words
    assert f"type=bind,source={tmp_path / 'key'},target=/run/api-key,readonly" in words


def test_without_docker_the_engine_is_refused_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    said = CliRunner().invoke(app, ["pipeline", "run", "--engine", "docker", "--only", "gather-mnist"])
    assert said.exit_code == 1
    assert "docker is not installed here" in said.output
