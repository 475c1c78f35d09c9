"""Upgrade and restore in Docker, with a program in docker's place: which images and files a failure leaves behind."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab_engine import archive, settings
from lab_engine.docker import source
from lab_engine.docker.deployment import Deployment
from lab_engine.docker.lab import DockerLab
from lab_engine.errors import EngineError
from tests.running import free_ports

STAND_IN = r"""#!{python}
import json, os, pathlib, subprocess, sys
folder, words = pathlib.Path({folder!r}), sys.argv[1:]
images = json.loads((folder / "images").read_text())
if words[:2] == ["image", "inspect"]:
    if words[-1] not in images:
        sys.exit(1)
    print(json.dumps({{{label!r}: images[words[-1]]}}) if "Labels" in words[3] else words[-1])
elif words[0] == "tag":
    images[words[2]] = images[words[1]]
elif words[0] == "pull":
    images[words[-1]] = "new"
elif words[0] == "run":  # in the container / has the volumes
    at = words.index("--entrypoint=") + 2
    script = words[-1].replace(" /", " " + str(folder) + "/")
    sys.exit(subprocess.run([*words[at:-1], script]).returncode)
elif words == ["compose", "version"]:
    print("Docker Compose version v2")
elif words[:2] == ["container", "inspect"]:
    print((folder / "containers").read_text())
elif words[0] == "compose" and "down" in words:
    (folder / "down").write_text(" ".join(words))
elif words[0] == "compose" and "up" in words:
    sys.exit(1)
(folder / "images").write_text(json.dumps(images))
"""


@dataclass
class Docker:
    """The stand-in's folder, in which its volumes are too."""

    folder: Path

    def have(self, deployment: Deployment, source_hash: str) -> None:
        known = json.loads((self.folder / "images").read_text())
        known |= dict.fromkeys(deployment.images.values(), source_hash)
        (self.folder / "images").write_text(json.dumps(known))

    def sources(self, deployment: Deployment) -> set[str]:
        known = json.loads((self.folder / "images").read_text())
        return {known.get(image, "") for image in deployment.images.values()}


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "images").write_text("{}")
    (folder / "containers").write_text("[]")
    text = STAND_IN.format(python=sys.executable, folder=str(folder), label=source.HASH)
    (folder / "docker").write_text(text)
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(source, "source_hash", lambda _: "new")
    return Docker(folder)


@pytest.fixture
def found(tmp_path: Path) -> settings.Settings:
    names = ("REST", "JUPYTER", "BOARD", "SERVING", "SERVING_REST", "INVENTORY")
    ports = {f"LAB_{name}_PORT": str(port) for name, port in zip(names, free_ports(len(names)), strict=True)}
    return settings.load({"LAB_HOME": str(tmp_path / "home"), **ports})


LATEST = Deployment("lab", ("a.yml",), "r:1", "g", "latest", "cpu")
BEFORE = Deployment("lab", ("a.yml",), "r:1", "g", "latest-before", "cpu")


def fails_to_upgrade(found: settings.Settings, running: Deployment) -> None:
    with pytest.raises(EngineError, match=r"To return to the previous images: bin/compose\.sh up --tag latest-before"):
        DockerLab(found, running).upgrade()


@pytest.mark.parametrize(
    ("drain", "seconds"), [("", 10), ("0.5", 11), ("120", 130), ("soon", 10), ("inf", 10), ("-5", 10)]
)
def test_down_lets_the_gateway_drain(docker: Docker, found: settings.Settings, drain: str, seconds: int) -> None:
    variables = [f"TENSOR_REST_DRAIN_SECONDS={drain}", "PATH=/bin"]
    running = {
        "Config": {"Env": variables, "Labels": {"com.docker.compose.project": "lab"}},
        "State": {"Status": "running"},
    }
    (docker.folder / "containers").write_text(json.dumps([running]))
    DockerLab(found, LATEST).down(remove_volumes=False)
    assert f" down --timeout {seconds} " in (docker.folder / "down").read_text()


def test_second_upgrade_keeps_the_previous_images(docker: Docker, found: settings.Settings) -> None:
    docker.have(LATEST, "old")
    for _ in range(2):
        fails_to_upgrade(found, LATEST)
        assert docker.sources(LATEST) == {"new"}
        assert docker.sources(BEFORE) == {"old"}


def test_upgrade_of_a_lab_that_went_back_keeps_its_images(docker: Docker, found: settings.Settings) -> None:
    docker.have(LATEST, "broken")
    docker.have(BEFORE, "old")
    fails_to_upgrade(found, BEFORE)
    assert docker.sources(LATEST) == {"new"}
    assert docker.sources(BEFORE) == {"old"}


def test_restore_that_failed_while_swapping_can_be_repeated(
    docker: Docker, found: settings.Settings, tmp_path: Path
) -> None:
    docker.have(LATEST, "new")
    for name in archive.VOLUMES:
        (docker.folder / name / "present").mkdir(parents=True)
        (docker.folder / name / "present" / "file").write_text("present")
        (tmp_path / "other" / name / "present").mkdir(parents=True)
        (tmp_path / "other" / name / "present" / "file").write_text("restored")
    backup = tmp_path / "lab.tar.gz"
    archive.write(backup, archive.about(found, "docker"), [archive.folders_command(tmp_path / "other")])
    moves = docker.folder / "mv"
    moves.write_text('#!/bin/sh\n[ "$2" != . ] && exec /bin/mv "$@"\nexit 1\n')
    moves.chmod(0o755)
    with pytest.raises(EngineError, match="could not be replaced"):
        DockerLab(found, LATEST).restore(backup)
    assert (next((docker.folder / "models").glob(".replaced*")) / "present" / "file").read_text() == "present"
    moves.unlink()
    (docker.folder / "models" / "present").mkdir()  # as of a swap that was cut short later
    DockerLab(found, LATEST).restore(backup)
    for name in archive.VOLUMES:
        assert [path.name for path in (docker.folder / name).iterdir()] == ["present"]
        assert (docker.folder / name / "present" / "file").read_text() == "restored"
