"""What bin/kube.sh takes from the environment and its options: images, settings, names."""

from pathlib import Path

import pytest
import yaml
from kube_kit import KUBECTL, VERSIONS

from lab_engine import settings
from lab_engine.docker.deployment import COMPOSE_FILE
from lab_engine.errors import EngineError
from lab_engine.kubernetes import manifests
from lab_engine.kubernetes.kubectl import Kubectl


def test_everything_compose_hands_on_is_handed_on() -> None:
    compose = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
    for service in ("tensor-rest", "tensor-serving"):
        names = {name for name, value in compose[service]["environment"].items() if value is None}
        given = manifests.passed_on(dict.fromkeys(names, "1"))
        assert set(given) == {service}
        assert set(given[service]) == names


def test_environment_chooses_images_and_settings() -> None:
    environ = {
        "LAB_REGISTRY": "r.example",
        "LAB_GROUP": "g",
        "LAB_TAG": "2",
        "LAB_SERVING": "embedded",
        "LAB_HOME": "/no",
    }
    more = {"TENSOR_REST_DRAIN_SECONDS": "30", "TENSOR_REST_WAITING": "7", "TENSOR_SERVING_ALLOWED_OPS": "ReadFile"}
    choice = manifests.Choice("local", ("modern",), "mine", "lab.example")
    text = manifests.render(Kubectl(str(KUBECTL)), choice, settings.load(environ), more)
    found = list(yaml.safe_load_all(text))
    assert {each["metadata"].get("namespace", each["metadata"]["name"]) for each in found} == {"mine"}
    for image in ("tensor-rest", "tensor-board", "tensor-jupyter", "tensor-serving-embedded"):
        assert f"image: r.example/g/{image}:2\n" in text
    maps = {key: value for each in found if each["kind"] == "ConfigMap" for key, value in each["data"].items()}
    assert maps["TENSOR_REST_WAITING"] == "7"
    assert maps["TENSOR_REST_ALLOWED_HOSTS"] == "lab.example"
    assert maps["TENSOR_SERVING_ALLOWED_OPS"] == "ReadFile"
    grace = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in found if each["kind"] == "Deployment"
    }
    assert grace["tensor-rest"]["terminationGracePeriodSeconds"] == 50


@pytest.mark.parametrize("text", ["soon", "nan", "inf", "-1", "301"])
def test_a_drain_that_is_no_number_is_named(text: str) -> None:
    with pytest.raises(EngineError, match=f"TENSOR_REST_DRAIN_SECONDS='{text}' is not a number of seconds from 0 to"):
        manifests.kustomization(
            manifests.Choice("local"), settings.load({}), {"TENSOR_REST_DRAIN_SECONDS": text}, Path("/tmp")
        )


@pytest.mark.parametrize(("given", "wanted"), [("", "a.example"), ("b.example", "b.example a.example")])
def test_host_is_added_to_the_names_that_are_set(given: str, wanted: str) -> None:
    choice, environ = manifests.Choice("local", host="a.example"), {"TENSOR_REST_ALLOWED_HOSTS": given}
    made = manifests.kustomization(choice, settings.load({}), environ, Path("/tmp"))
    assert made["configMapGenerator"][0]["literals"] == [f"TENSOR_REST_ALLOWED_HOSTS={wanted}"]


def test_latest_becomes_the_release() -> None:
    assert manifests.tag(settings.load({"LAB_TAG": "latest"})) == VERSIONS["LAB_VERSION"]
    assert manifests.tag(settings.load({"LAB_TAG": "2"})) == "2"
