"""A deployment: names of images and containers, what is remembered, which images keep Docker from being chosen."""

import re
from pathlib import Path

import pytest
import yaml

from lab_engine import settings
from lab_engine.docker import client, deployment, images
from lab_engine.docker.deployment import Deployment
from lab_engine.local import services

CPU = Deployment("lab", ("a.yml",), "localhost:5000", "lab", "1.2", "cpu")


def test_names_follow_registry_group_tag_and_variant() -> None:
    assert CPU.images["tensor-rest"] == "localhost:5000/lab/tensor-rest:1.2"
    assert CPU.images["tensor-serving"] == "localhost:5000/lab/tensor-serving-cpu:1.2"
    assert CPU.containers["tensor-serving"] == "tensor-serving-cpu"


def test_another_project_has_names_of_its_own() -> None:
    other = Deployment("mine", ("a.yml",), "r:1", "g", "t", "gpu")
    assert other.containers["tensor-serving"] == "mine-tensor-serving-gpu"
    assert other.environment(settings.load({}))["LAB_PREFIX"] == "mine-"


def test_the_embedded_variant_goes_by_the_name_of_the_cpu_container() -> None:
    embedded = Deployment("lab", (), "r:1", "g", "t", "embedded")
    assert embedded.images["tensor-serving"] == "r:1/g/tensor-serving-embedded:t"
    assert embedded.containers["tensor-serving"] == "tensor-serving-cpu"


def test_what_up_started_is_remembered(tmp_path: Path) -> None:
    found = settings.load({"LAB_HOME": str(tmp_path)})
    assert deployment.load(found) is None
    CPU.save(found)
    assert deployment.load(found) == CPU


@pytest.mark.parametrize(
    ("here", "pullable", "reason"),
    [
        ({"localhost:5000"}, set(), None),  # the images are here
        (set(), {"localhost:5000"}, None),  # the registry has them
        ({"python:"}, {"tensorflow/"}, None),  # they can be built
        ({"python:"}, set(), "its base tensorflow/serving"),
        (set(), {"tensorflow/"}, "lab/tensor-board:1.2 is neither here .*bin/base-image.sh"),
        ({"localhost:5000/lab/tensor-serving-cpu", "python:"}, set(), None),  # its base is not needed
        ({"python:"}, {"localhost:5000/lab/tensor-serving-cpu"}, None),
        ({"python:"}, {"localhost:5000/lab/tensor-board"}, "lab/tensor-serving-cpu:1.2 is neither here"),
    ],
)
def test_docker_is_in_the_way_only_if_the_images_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch, here: set[str], pullable: set[str], reason: str | None
) -> None:
    monkeypatch.setattr(client, "has_image", lambda image: any(image.startswith(start) for start in here))
    monkeypatch.setattr(client, "can_pull", lambda image: any(image.startswith(start) for start in pullable))
    monkeypatch.setattr(client, "pull", lambda _image, **_: False)
    obstacle = images.obstacle(CPU, settings.load({}))
    assert re.search(reason, obstacle) if reason and obstacle else obstacle is reason


def test_both_engines_read_the_rules_from_one_file(tmp_path: Path) -> None:
    found = settings.load({"LAB_HOME": str(tmp_path)})
    found.make_home()
    text = deployment.COMPOSE_FILE.read_text()
    variable, folder = re.findall(r"- \$\{(\w+):-\./\.lab/config\}:(/\w+):ro", text)[0]
    inside = re.findall(r"TENSOR_REST_RULES: (\S+)", text)
    local = Path(services.environment(found, {})["TENSOR_REST_RULES"])
    assert CPU.environment(found)[variable] == str(local.parent)
    assert inside == [f"{folder}/{local.name}"]
    assert local.parent.stat().st_mode & 0o005 == 0o005  # the container's user is another


def test_the_compose_file_stays_within_what_old_compose_takes() -> None:
    text = deployment.COMPOSE_FILE.read_text() + deployment.GPU_FILE.read_text()
    keys = set(re.findall(r"^(\w+):", text, re.MULTILINE))
    assert keys <= {"services", "networks", "volumes", "secrets"}
    assert not re.search(r"required:|start_interval|dockerfile_inline|additional_contexts|gpus:|configs:", text)


def test_swarm_does_not_kill_the_gateway_while_it_drains() -> None:
    service = yaml.safe_load((settings.ROOT / ".deploy" / "swarm-stack.yml").read_text())["services"]["tensor-rest"]
    written = re.sub(r"\$\{TENSOR_REST_DRAIN_SECONDS:-\d+\}", "300", service["stop_grace_period"])
    units = {"s": 1.0, "ms": 0.001}
    assert sum(float(count) * units[unit] for count, unit in re.findall(r"([\d.]+)(s|ms)", written)) >= 308
