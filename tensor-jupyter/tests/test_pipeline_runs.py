"""Whole runs in processes of their own: by doit, killed and resumed, and by the commands of the Argo manifests."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
import yaml
from pipeline_kit import MEASURED, small, write_sources
from typer.testing import CliRunner

from tensor_jupyter.cli import app
from tensor_jupyter.pipeline import containers, runner, stamps
from tensor_jupyter.pipeline.argo import ARGO_MODULE, NAME, Target, manifests
from tensor_jupyter.pipeline.execute import root_of
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.pipeline.steps import NAMES, STEPS, named

LONG = bool(os.environ.get("LAB_LONG_TESTS"))
FOLDERS = ("models", "data", "logs", "feedback")
KILLS = 20 if LONG else 1
TRAINED = ("gather-mnist", "gather-notmnist", "gather-feedback", "train-classifier", "train-concept")
REPEATED = MEASURED if LONG else ("gather-mnist", "gather-notmnist", "train-concept")
"""Steps of the manifests that are run: each is a process that imports TensorFlow."""

PROGRAMS = Path(__file__).parent / "programs"


def environment(folder: Path, parameters: Parameters) -> dict[str, str]:
    folders = {f"LAB_{name.upper()}": str(folder / name) for name in FOLDERS}
    python_path = str(Path(__file__).parents[1])
    return {**os.environ, **folders, **parameters.environment(), "LAB_OFFLINE": "1", "PYTHONPATH": python_path}


def start(folder: Path, parameters: Parameters, steps: tuple[str, ...]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAMS / "run_pipeline_steps.py"), ",".join(steps)],
        env=environment(folder, parameters),
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(process: subprocess.Popen[str]) -> dict[str, str]:
    said, _ = process.communicate(timeout=500)
    found: dict[str, str] = json.loads(said)
    return found


def outputs(folder: Path, parameters: Parameters, steps: tuple[str, ...]) -> dict[str, stamps.Stamp | None]:
    settings = runner.Settings(**{name: folder / name for name in ("models", "logs", "data")})
    return {name: stamps.read(root_of(parameters, settings) / name) for name in steps}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, str]:
    import gzip
    import struct

    def write(path, array):
        path.parent.mkdir(parents=True, exist_ok=True)
        head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        packed = gzip.compress(head + array.astype("uint8").tobytes(), mtime=0)
        path.with_name(f"{path.name}.gz").write_bytes(packed)
        return path

    return write_sources(tmp_path_factory.mktemp("sources"), write)


@pytest.fixture(scope="module")
def clean(sources, tmp_path_factory) -> tuple[dict[str, stamps.Stamp | None], float]:
    """The stamps of a run that nobody disturbed, and how long it took."""
    folder, begin = tmp_path_factory.mktemp("clean"), time.monotonic()
    assert set(finished(start(folder, small(sources), TRAINED)).values()) == {"done"}
    seconds = time.monotonic() - begin
    assert set(finished(start(folder, small(sources), TRAINED)).values()) == {"unchanged"}
    return outputs(folder, small(sources), TRAINED), seconds


@pytest.mark.timeout(3600 if LONG else 600)
def test_a_run_killed_at_any_moment_is_resumed_to_the_same_bytes(clean, sources, tmp_path):
    wanted, seconds = clean
    moments = random.Random(7)
    for number in range(KILLS):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = start(folder, small(sources), TRAINED)
        try:
            process.wait(moments.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the runner and its steps
        process.communicate()
        assert set(finished(start(folder, small(sources), TRAINED)).values()) <= {"done", "unchanged"}
        assert outputs(folder, small(sources), TRAINED) == wanted


def test_a_step_that_fails_stops_what_depends_on_it_and_nothing_else(sources, tmp_path, settings, monkeypatch):
    (tmp_path / "broken").mkdir()
    parameters = small({**sources, "mnist_data_dir": str(tmp_path / "broken")})
    for name, value in environment(tmp_path, parameters).items():
        monkeypatch.setenv(name, value)
    results = runner.Run(runner.Plan(TRAINED), parameters, settings, lambda *_: None).start()
    assert {name: result.state for name, result in results.items()} == {
        "gather-mnist": "failed",
        "gather-notmnist": "done",
        "gather-feedback": "not run",
        "train-classifier": "not run",
        "train-concept": "not run",
    }
    assert "has no" in results["gather-mnist"].last
    assert runner.code_of([*results.values()], None) == runner.FAILED


@pytest.fixture
def gather(tmp_path, settings, monkeypatch):
    """gather(parameters): the result of a run of the step gather-mnist alone, in the folder tmp_path."""
    for name, value in environment(tmp_path, Parameters()).items():
        monkeypatch.setenv(name, value)
    for name in Parameters().environment():
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run(parameters: Parameters) -> runner.Result:
        return runner.Run(runner.Plan(("gather-mnist",)), parameters, settings, print).start()["gather-mnist"]

    return run


def test_step_of_a_run_has_only_the_run_s_parameters(gather, sources, tmp_path, settings, monkeypatch):
    (tmp_path / "pipeline.yaml").write_text(f"mnist_data_dir: {sources['mnist_data_dir']}\n")
    monkeypatch.setenv("MNIST_DATA_DIR", sources["mnist_data_dir"])
    monkeypatch.setenv("LAB_PIPELINE_SUBSET", "0.5")
    assert gather(Parameters()).state == "done"
    assert runner.explain(runner.Plan(("gather-mnist",)), Parameters(), settings) == {"gather-mnist": ""}


def test_step_with_output_after_its_last_line_is_done(gather, sources, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import atexit\natexit.register(print, 'a library ends')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ['PYTHONPATH']}")
    result = gather(Parameters(**sources))
    assert (result.last, result.state) == ("a library ends", "done")


def test_a_dry_run_says_why(monkeypatch, tmp_path, settings):
    for name in ("models", "logs", "data"):
        monkeypatch.setenv(f"LAB_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["pipeline", "run", "--dry-run", "--only", "gather-mnist"])
    assert said.stdout == "gather-mnist       would run: it was requested explicitly\n"
    said = CliRunner().invoke(app, ["pipeline", "run", "--dry-run"])
    assert said.stdout.count("would run: it has not run yet") == len(STEPS)
    assert CliRunner().invoke(app, ["pipeline", "run", "--from", "nowhere"]).exit_code == 1


def test_a_run_that_needs_a_lab_wants_one_before_anything_runs(monkeypatch, tmp_path, dead_mirror):
    monkeypatch.setenv("LAB_REST_URL", dead_mirror)
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "data"))
    said = CliRunner().invoke(app, ["pipeline", "run"])
    assert said.exit_code == 1
    assert "does not answer" in said.stderr
    assert not (tmp_path / "data").exists()


def test_exit_codes():
    done, failed = runner.Result("promote", "done"), runner.Result("test", "failed")
    assert runner.code_of([done], {"promoted": True}) == 0
    assert runner.code_of([done], {"promoted": False}) == 3
    assert runner.code_of([done, failed], {"promoted": True}) == 1
    assert runner.code_of([runner.Result("evaluate", "done")], {"promoted": False}) == 0


# ---- Argo


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


def test_the_containers_commands_leave_the_same_stamps_as_a_run(clean, sources, tmp_path):
    (document,) = manifests(small(sources), Target())["workflow.yaml"]
    values = {each["name"]: each["value"] for each in document["spec"]["arguments"]["parameters"]}
    for template in document["spec"]["templates"]:
        if template["name"] not in REPEATED:
            continue
        container = template["container"]
        variables = {each["name"]: each["value"] for each in container["env"]}
        for name, value in values.items():
            placeholder = f"{{{{workflow.parameters.{name}}}}}"
            variables = {key: value if given == placeholder else given for key, given in variables.items()}
        for name in FOLDERS:  # the mounted volumes
            variables[f"LAB_{name.upper()}"] = str(tmp_path / variables[f"LAB_{name.upper()}"].strip("/"))
        assert container["command"] == ["lab"]
        variables |= {"PATH": os.environ["PATH"], "LAB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(
            [sys.executable, "-m", "tensor_jupyter", *container["args"]],
            env=variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    wanted, _ = clean
    for name, found in outputs(tmp_path, small(sources), REPEATED).items():
        assert found is not None
        assert name not in wanted or found == wanted[name]


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
