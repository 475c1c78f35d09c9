"""The labs that the end-to-end and browser tests share: one of each engine, started by the command the README gives."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.running import Lab, new_lab


def docker_answers() -> bool:
    """True if a Docker engine can be asked."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "version"], capture_output=True, timeout=30, check=False).returncode == 0


@pytest.fixture(scope="session", params=["local", "docker"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A started lab; every test that uses it runs on both engines, with all of one engine's tests together."""
    if request.param == "docker":
        if not docker_answers():
            pytest.skip("no Docker engine answers")
        request.getfixturevalue("images")
    with new_lab(request.param) as started:
        started.said = started.compose("up")
        yield started
