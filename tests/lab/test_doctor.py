"""`lab doctor` and `lab watch` where they are used: in the running lab, and in one that is down."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.running import SAMPLES, Lab, new_lab, wait_until

ELSEWHERE = ("disk", "memory", "GPU", "models")  # the machine may be short of space; others' tests leave models behind
LAB = ("python", "-m", "tensor_jupyter")


def examined(lab: Lab) -> dict[str, list[dict[str, Any]]]:
    """The doctor's findings by check."""
    output = lab.compose("exec", "tensor-jupyter", *LAB, "doctor", "--json", code=None)
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(output)["findings"]:
        found.setdefault(finding["check"], []).append(finding)
    return found


@pytest.fixture
def without_model_server(lab: Lab) -> Iterator[None]:
    """The model server is stopped, and started at the end."""
    lab.stop_model_server()
    yield
    lab.compose("up")


def test_a_lab_as_it_comes_up_is_well(lab: Lab) -> None:
    found = examined(lab)
    ill = [each for check, findings in found.items() for each in findings if check not in ELSEWHERE]
    assert [each for each in ill if each["level"] != "ok"] == []
    for check in ("gateway", "model server", "watcher", "TensorBoard", "JupyterLab", "ports", "models", "secrets"):
        assert found[check], check
    assert "mnist-net" in found["models"][0]["found"]
    assert (lab.home / "jupyter.token").read_text() not in json.dumps(found)


@pytest.mark.usefixtures("without_model_server")
def test_a_stopped_model_server_is_reported_with_its_remedy(lab: Lab) -> None:
    def problems() -> list[dict[str, Any]]:
        return [each for each in examined(lab)["model server"] if each["level"] == "problem"]

    (finding,) = wait_until(problems, 30, "the gateway to notice")
    assert finding["fix"] == "bin/compose.sh restart tensor-serving"


def test_a_lab_that_is_down_gets_the_command_up() -> None:
    with new_lab() as lab:
        (finding,) = examined(lab)["lab"]
    assert (finding["level"], finding["fix"]) == ("problem", "bin/compose.sh up")


def test_what_the_served_model_does_is_a_curve_in_tensorboard(lab: Lab) -> None:
    assert lab.post_image("/tf/mnist/mnist-net", SAMPLES[0]).status == 200
    lab.compose("exec", "tensor-jupyter", *LAB, "watch", "--once", "--every", "1")

    def curves() -> Any:
        return lab.get("BOARD", "/data/plugin/scalars/tags").json().get("serving/mnist-net")

    assert "outcome/200" in wait_until(curves, 30, "TensorBoard to show the run")
