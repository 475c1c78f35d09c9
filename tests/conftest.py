"""What tests of the whole share: a started lab of each engine, by the README's command; the images; a registry."""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.running import ROOT, Lab, free_ports, new_lab

IMAGES = ("tensor-board", "tensor-jupyter", "tensor-rest", "tensor-serving-embedded")


@pytest.fixture(scope="session", params=["local", "docker"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A started lab; every test that uses it runs on both engines, with all of one engine's tests together."""
    if request.param == "docker":
        request.getfixturevalue("images")
    with new_lab(request.param) as started:
        started.said = started.compose("up")
        yield started


@pytest.fixture(scope="session")
def engine() -> None:
    """Skips where there is no engine."""
    if not docker_answers():
        pytest.skip("no Docker engine answers")


@pytest.fixture(scope="session")
def registry(request: pytest.FixtureRequest) -> Iterator[str]:
    """HOST:PORT of a registry: the one that runs where the lab's images go, or else one for these tests."""
    request.getfixturevalue("engine")
    running = script("registry.sh", "status").returncode == 0
    if not running and script("registry.sh", "up").returncode != 0:  # something else has the port
        os.environ["LAB_REGISTRY"] = f"localhost:{free_ports(1)[0]}"
        started = script("registry.sh", "up")
        assert started.returncode == 0, started.stderr
    yield setting("LAB_REGISTRY")
    if not running:
        script("registry.sh", "down")


@pytest.fixture(scope="session")
def images(registry: str) -> dict[str, str]:
    """Name -> reference of every image, built and pushed."""
    done = script("push-all-docker.sh", "--serving", "embedded")
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: f"{registry}/{setting('LAB_GROUP')}/{name}:{setting('LAB_TAG')}" for name in IMAGES}


def setting(name: str) -> str:
    lines = (ROOT / "versions.env").read_text().splitlines()
    return os.environ.get(name) or next(line.partition("=")[2] for line in lines if line.startswith(f"{name}="))


def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script of bin/."""
    command = [str(ROOT / "bin" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)


def docker_answers() -> bool:
    """True if a Docker engine can be asked."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "version"], capture_output=True, timeout=30, check=False).returncode == 0
