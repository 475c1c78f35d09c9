"""What tests of the whole share: a started lab of each engine, by the README's command; the images; a registry."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from lab_engine import choice, settings
from lab_engine.docker.deployment import Deployment
from lab_engine.docker.images import obstacle as obstacle_of
from lab_engine.verbs import SERVICES
from tests.running import ROOT, Lab, free_ports, new_lab

IMAGES = tuple("tensor-serving-embedded" if name == "tensor-serving" else name for name in SERVICES)


@pytest.fixture(scope="session", params=["local", "docker"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A started lab; every test that uses it runs on both engines, with all of one engine's tests together."""
    if request.param == "docker":
        request.getfixturevalue("images")
    with new_lab(request.param) as started:
        started.output = started.compose("up")
        yield started


@pytest.fixture(scope="session")
def engine() -> None:
    """Skips, with the reason, where no lab can run in Docker."""
    if obstacle := choice.engine_obstacle():
        pytest.skip(obstacle)


@pytest.fixture(scope="session")
def registry(request: pytest.FixtureRequest) -> Iterator[str]:
    """HOST:PORT of a registry of the tests' own, which all of bin/ uses from here on."""
    request.getfixturevalue("engine")
    os.environ["LAB_REGISTRY"] = f"localhost:{free_ports(1)[0]}"
    started = script("registry.sh", "up")
    if started.returncode:
        pytest.skip(started.stderr)
    yield os.environ["LAB_REGISTRY"]
    script("registry.sh", "down")
    del os.environ["LAB_REGISTRY"]


@pytest.fixture(scope="session")
def images(registry: str) -> Iterator[dict[str, str]]:
    """Name -> reference of every image, built and pushed under names of the tests' own, which go at the end."""
    deployment = Deployment("lab", (), registry, "lab", "latest", "embedded")
    if obstacle := obstacle_of(deployment, settings.load()):
        pytest.skip(obstacle)
    done = script("push-all-docker.sh", "--serving", "embedded")
    assert done.returncode == 0, done.stdout + done.stderr
    references = {name: f"{registry}/{setting('LAB_GROUP')}/{name}:{setting('LAB_TAG')}" for name in IMAGES}
    yield references
    subprocess.run(["docker", "rmi", *references.values()], capture_output=True, check=False)


def setting(name: str) -> str:
    lines = (ROOT / "versions.env").read_text().splitlines()
    return os.environ.get(name) or next(line.partition("=")[2] for line in lines if line.startswith(f"{name}="))


def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script of bin/."""
    command = [str(ROOT / "bin" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
