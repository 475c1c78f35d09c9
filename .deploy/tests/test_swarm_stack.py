"""The Swarm stack is the lab of the Compose file: the same images, ports, settings and folders."""

import re
from typing import Any

import pytest
import yaml

from lab_engine.docker.deployment import COMPOSE_FILE
from lab_engine.settings import ROOT

STACKS = {name: ROOT / ".deploy" / f"swarm-{name}.yml" for name in ("stack", "sync")}
SAME = ("user", "read_only", "cap_drop", "logging", "image")

LEFT_OUT = {
    "LAB_ID",  # identifies one of several labs on a machine
    "TENSOR_REST_LAB_ID",
    "TENSOR_REST_BOARD_SERVER",  # there is no TensorBoard, and no JupyterLab
    "TENSOR_REST_BOARD_URL",
    "TENSOR_REST_JUPYTER_URL",
    "TENSOR_REST_GRPC_PORT",  # for notebooks
    "TENSOR_REST_INVENTORY_PORT",
    "TENSOR_REST_FEEDBACK_DIR",  # each node would keep its own, and there is no workbench to read it
    "TENSOR_REST_FEEDBACK_MAX_BYTES",
    "TENSOR_REST_FEEDBACK_MAX_SAMPLES",
    "TENSOR_REST_RULES",
}


def services(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(STACKS[name].read_text())["services"]
    return found


@pytest.mark.parametrize("name", ["tensor-serving", "tensor-rest"])
def test_a_service_is_that_of_compose(name: str) -> None:
    ours, theirs = services("stack")[name], yaml.safe_load(COMPOSE_FILE.read_text())["services"][name]
    assert {key: ours[key] for key in SAME} == {key: theirs[key] for key in SAME}
    assert ours["environment"].keys() == theirs["environment"].keys() - LEFT_OUT
    for variable in ("TF_SERVER_HOST_PORT", "TF_SERVER_INVENTORY_URL"):
        assert ours["environment"].get(variable) == theirs["environment"].get(variable)
    assert ours["deploy"]["resources"]["limits"]["memory"] == theirs["mem_limit"]
    folders = {each["source"]: each["target"] for each in ours["volumes"] if each["type"] == "volume"}
    assert folders.items() <= {tuple(each.split(":")[:2]) for each in theirs["volumes"]}


def test_only_the_gateway_is_reached_from_outside() -> None:
    published = {name: service.get("ports", []) for name, service in services("stack").items()}
    assert published["tensor-serving"] == []
    assert [port["target"] for port in published["tensor-rest"]] == [8080]


def test_the_document_has_every_variable_with_its_default() -> None:
    text = "".join(path.read_text() for path in STACKS.values())
    document = (ROOT / "docs" / "swarm.md").read_text()
    for name, default in set(re.findall(r"\$\{(\w+):-(\w*[\w.:]*)\}", text)):
        row = next((line for line in document.splitlines() if line.startswith("|") and f"`{name}`" in line), "")
        assert row, name
        assert (f"`{default}`" if default else "empty") in row, name
    assert "LAB_STORE" in document
