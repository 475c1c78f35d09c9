"""The table of steps is whole, and parameters are checked before anything runs."""

import importlib

import pytest

from tensor_jupyter.errors import LabError
from tensor_jupyter.pipeline.bodies.evaluate import thresholds
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.pipeline.steps import NAMES, STEPS, after, named
from tensor_jupyter.publishing.release_gate import Thresholds


def test_steps_need_only_earlier_steps_and_read_what_those_write():
    outputs: set[str] = set()
    before: dict[str, set[str]] = {}
    for step in STEPS:
        assert set(step.needs) <= before.keys()
        before[step.name] = {step.name}.union(*(before[need] for need in step.needs))
        assert set(step.inputs) <= outputs
        assert {path.partition("/")[0] for path in step.inputs} <= before[step.name]
        outputs |= {f"{step.name}/{output}" for output in step.outputs}


def test_every_step_has_a_body_and_known_parameters():
    used = set()
    for step in STEPS:
        module, _, what = step.name.partition("-")
        body = importlib.import_module(f"tensor_jupyter.pipeline.bodies.{module}")
        assert callable(getattr(body, f"run_{what}" if what else "run"))
        used.update(step.params)
    assert used == set(Parameters.model_fields)


def test_only_gathering_is_retried():
    assert [step.name for step in STEPS if step.retries] == ["gather-mnist", "gather-notmnist"]


def test_after_names_the_step_and_what_depends_on_it():
    assert after("train-concept") == ["train-concept", "export-concept", "evaluate", "deploy", "test", "promote"]
    assert set(after("gather-mnist")) == set(NAMES) - {"gather-notmnist"}
    with pytest.raises(LabError, match="There is no step 'trian'; the steps are gather-mnist"):
        named("trian")


def test_parameters_file_then_environment_then_flags(tmp_path, monkeypatch):
    file = tmp_path / "pipeline.yaml"
    file.write_text("epochs: 3\nseed: 3\nbatch_size: 3\n")
    monkeypatch.setenv("BATCH_SIZE", "4")  # as in the tutorial
    monkeypatch.setenv("LAB_PIPELINE_SEED", "4")
    monkeypatch.setenv("LEARNING_RATE", "")
    found = Parameters.read(file, epochs=5, network=None)
    assert (found.epochs, found.seed, found.batch_size, found.learning_rate) == (5, 4, 4, None)


def test_pipeline_yaml_of_the_working_folder_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.yaml").write_text("network: dnn\n")
    assert Parameters.read().network == "dnn"


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ("learning_rate: fast", {}, "learning_rate in .*pipeline.yaml is 'fast': Input should be a valid number"),
        ("epohcs: 3", {}, "epohcs in .* is 3: a pipeline has no such setting; it has model, network"),
        ("- 3", {}, "holds a list: settings by name are wanted"),
        ("a: [", {}, "cannot be read: while parsing"),
        ("", {"LEARNING_STEPS": "many"}, "LEARNING_STEPS is 'many': Input should be a valid integer"),
        ("", {"LAB_PIPELINE_EPOHCS": "3"}, "LAB_PIPELINE_EPOHCS is '3': a pipeline has no such setting"),
        ("", {"MNIST_DATA_DIR": "/none"}, "mnist_data_dir is '/none': there is no such folder"),
        ("model: No Name", {}, "model in .* is 'No Name': .*wanted are 1 to 55 lower-case letters"),
    ],
)
def test_a_wrong_parameter_is_named(tmp_path, monkeypatch, text, variables, expected):
    file = tmp_path / "pipeline.yaml"
    file.write_text(text)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LabError, match=expected):
        Parameters.read(file)


def test_the_environment_of_a_step_gives_the_same_parameters(monkeypatch):
    given = Parameters(epochs=3, learning_rate=0.5, network="dnn")
    for name, value in given.environment().items():
        monkeypatch.setenv(name, value)
    assert Parameters.read() == given


def test_thresholds_of_promotions_are_parameters_of_the_gate(monkeypatch):
    monkeypatch.setenv("LAB_GATE_MAX_ACCURACY_LOSS", "0.2")
    monkeypatch.setenv("LAB_GATE_MAX_DISAGREEMENT", "0.3")
    monkeypatch.setenv("LAB_PIPELINE_GATE_IMAGES", "40")
    monkeypatch.setenv("LAB_GATE_IMAGES", "50")
    given = Parameters.read()
    for name in ("MAX_ACCURACY_LOSS", "MAX_DISAGREEMENT", "IMAGES"):  # as in a container
        monkeypatch.delenv(f"LAB_GATE_{name}")
    found = thresholds(given)
    assert (found.max_accuracy_loss, found.max_disagreement, found.images) == (0.2, 0.3, 40)
    assert thresholds(Parameters()) == Thresholds(min_accuracy=Parameters().min_accuracy), "the same defaults"
    assert set(Thresholds.model_fields) - {"images"} <= set(named("promote").params)


def test_folders_of_another_machine_are_absolute_and_need_not_exist():
    assert Parameters.read_for_remote_run(mnist_data_dir="/data/digits").mnist_data_dir == "/data/digits"
    with pytest.raises(LabError, match="mnist_data_dir is 'digits': expected an absolute path"):
        Parameters.read_for_remote_run(mnist_data_dir="digits")
