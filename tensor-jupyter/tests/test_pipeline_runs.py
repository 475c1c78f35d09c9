"""Whole runs in processes of their own: by doit, killed and resumed, and by the commands of the Argo manifests."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pipeline_kit import MEASURED, small, write_sources
from typer.testing import CliRunner

from tensor_jupyter.cli import app
from tensor_jupyter.pipeline import runner, stamps
from tensor_jupyter.pipeline.argo import Target, manifests
from tensor_jupyter.pipeline.execute import root_of
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.pipeline.steps import STEPS

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
