"""The image scripts of bin/: what they refuse, print and do, on throw-away folders that are built in no time."""

import json
import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.running import ROOT, free_ports

SCRIPTS = ("base-image.sh", "registry.sh", "push-docker.sh", "push-all-docker.sh")
with_engine = pytest.mark.usefixtures("engine")
TINY = "FROM scratch\nCOPY hello /\n"


@dataclass
class Clone:
    """A repository with the real scripts and folders of the test's own; its images have a group of their own."""

    root: Path
    group: str

    def folder(self, name: str, dockerfile: str = TINY) -> Path:
        made = self.root / name
        made.mkdir()
        (made / "Dockerfile").write_text(dockerfile)
        (made / "hello").write_text(name)
        return made

    def run(self, script: str, *arguments: str, code: int = 0, **environment: str) -> str:
        """Run a script, check its exit code and return what it printed on both streams."""
        done = subprocess.run(
            [str(self.root / "bin" / script), *arguments],
            env={**os.environ, "LAB_GROUP": self.group, **environment},
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, f"exit code {done.returncode}, wanted {code}:\n{done.stdout}"
        return done.stdout

    def images(self) -> list[str]:
        """The references of this clone's images in the engine; none without an engine."""
        listed = subprocess.run(
            ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"], capture_output=True, text=True, check=False
        )
        return sorted(line for line in listed.stdout.splitlines() if f"/{self.group}/" in line)


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    root = tmp_path / "a clone"
    (root / "bin").mkdir(parents=True)
    for name in (*SCRIPTS, "common.sh"):
        shutil.copy(ROOT / "bin" / name, root / "bin")
    shutil.copy(ROOT / "versions.env", root)
    (root / ".deploy").symlink_to(ROOT / ".deploy")
    made = Clone(root, f"test-{os.getpid()}-{free_ports(1)[0]}")
    yield made
    if shutil.which("docker") and (left := made.images()):
        subprocess.run(["docker", "rmi", *left], check=True, capture_output=True)


@pytest.fixture
def registry(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A registry of the clone's own on a free port."""
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed")
    monkeypatch.setenv("LAB_REGISTRY", f"localhost:{free_ports(1)[0]}")
    clone.run("registry.sh", "up")
    yield os.environ["LAB_REGISTRY"]
    clone.run("registry.sh", "down")


def catalog(registry: str) -> list[str]:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{registry}/v2/_catalog") as answer:
        return list(json.load(answer)["repositories"])


# ---- without an engine


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_shows_the_usage(clone: Clone, script: str) -> None:
    assert clone.run(script, "--help").startswith(f"usage: bin/{script} ")


@pytest.mark.parametrize(
    ("script", "arguments", "text"),
    [
        ("base-image.sh", ["--fast"], "unknown option '--fast'; the options are --ca-dir DIR, --force, --help"),
        ("base-image.sh", ["--ca-dir"], "--ca-dir needs a folder"),
        ("registry.sh", [], "a command is missing; they are up, down, status"),
        ("registry.sh", ["start"], "unknown command 'start'; the commands are up, down, status"),
        ("registry.sh", ["up", "5001"], "unknown option '5001'; up takes none"),
        ("push-docker.sh", [], "one folder is wanted, as in: bin/push-docker.sh tensor-rest (found 0)"),
        ("push-docker.sh", ["one", "two"], "(found 2)"),
        ("push-docker.sh", ["one", "--serving"], "--serving needs a value"),
        ("push-docker.sh", ["one", "--tag", "--no-push"], "--tag needs a value"),
        ("push-docker.sh", ["one", "--serving=tpu"], "--serving is auto, cpu, gpu or embedded, not 'tpu'"),
        ("push-all-docker.sh", ["--grp=x"], "unknown option '--grp=x'; the options are --group, --registry, --tag,"),
        ("push-all-docker.sh", ["tensor-rest"], "bin/push-docker.sh takes one"),
    ],
)
def test_what_is_not_understood_is_refused(clone: Clone, script: str, arguments: list[str], text: str) -> None:
    assert text in clone.run(script, *arguments, code=2)


@pytest.mark.parametrize(
    ("script", "arguments", "environment", "text"),
    [
        ("base-image.sh", ["--ca-dir", "/nowhere"], {}, "/nowhere is not a folder"),
        ("registry.sh", ["up"], {"LAB_REGISTRY": "example.org"}, "LAB_REGISTRY is 'example.org'"),
        ("push-docker.sh", ["nowhere"], {}, "nowhere/Dockerfile is not there"),
        ("push-all-docker.sh", [], {}, "has a Dockerfile"),
    ],
)
def test_what_cannot_be_done_is_reported(
    clone: Clone, script: str, arguments: list[str], environment: dict[str, str], text: str
) -> None:
    assert text in clone.run(script, *arguments, code=1, **environment)


@pytest.mark.parametrize(("script", "arguments"), [("base-image.sh", []), ("push-all-docker.sh", [])])
def test_without_docker_it_fails_with_what_to_install(
    clone: Clone, script: str, arguments: list[str], tmp_path: Path
) -> None:
    clone.folder("tiny")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("env", "bash", "sed", "grep", "dirname", "basename", "realpath", "cat"):
        (tools / name).symlink_to(shutil.which(name) or name)
    output = clone.run(script, *arguments, code=1, PATH=str(tools))
    assert "docker is not installed; on Debian or Ubuntu: apt-get install docker.io" in output


@pytest.mark.skipif(shutil.which("docker") is None, reason="docker is not installed")
@pytest.mark.parametrize("script", ["base-image.sh", "push-all-docker.sh"])
def test_without_an_engine_it_fails_with_a_message(clone: Clone, script: str, tmp_path: Path) -> None:
    clone.folder("tiny")
    output = clone.run(script, code=1, DOCKER_HOST=f"unix://{tmp_path}/none")
    assert "no Docker engine answers" in output


# ---- the registry


def test_a_registry_comes_answers_and_goes(clone: Clone, registry: str) -> None:
    assert f"the registry at {registry} is up already\n" == clone.run("registry.sh", "up")
    assert f'the registry at {registry} answers: {{"repositories":[]}}\n' == clone.run("registry.sh", "status")
    assert "no registry of this clone runs" in clone.run("registry.sh", "down")
    assert "bin/registry.sh up starts one" in clone.run("registry.sh", "status", code=1)


@pytest.mark.parametrize("own", [True, False])
def test_down_removes_only_the_registry_of_its_clone(clone: Clone, tmp_path: Path, own: bool) -> None:
    folder = clone.root if own else tmp_path / "another"
    docker, removed = tmp_path / "bin" / "docker", tmp_path / "removed"
    docker.parent.mkdir()
    docker.write_text(
        '#!/bin/sh\ncase "$*" in\n'
        f'*--filter\\ volume=*) case "$*" in *"volume={folder}/.lab/registry/data"*) echo id ;; esac ;;\n'
        f"ps*) echo id ;;\nrm*) touch {removed} ;;\nesac\n"
    )
    docker.chmod(0o755)
    path = f"{docker.parent}{os.pathsep}{os.environ['PATH']}"
    assert "no registry of this clone runs" in clone.run("registry.sh", "down", PATH=path)
    assert removed.exists() == own


def test_a_registry_listens_on_loopback_only(registry: str) -> None:
    port = int(registry.partition(":")[2])
    tables = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    # proc(5): the local address in hex, and state 0A, LISTEN.
    listening = [row[1] for row in tables if row[3] == "0A" and row[1].endswith(f":{port:04X}")]
    assert listening == [f"0100007F:{port:04X}"]


def test_a_taken_port_is_named_with_its_holder(clone: Clone) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        output = clone.run("registry.sh", "up", code=1, LAB_REGISTRY=f"localhost:{port}")
        assert f"port {port} is taken by process {os.getpid()} (" in output
        assert "LAB_REGISTRY=localhost:" in output


# ---- building and pushing


@with_engine
def test_one_folder_is_built_pushed_and_shown(clone: Clone, registry: str) -> None:
    clone.folder("tiny", TINY + 'ARG LAB_VERSION\nLABEL version="${LAB_VERSION}"\n')
    output = clone.run("push-docker.sh", "tiny", "--tag", "t1")
    image = f"{registry}/{clone.group}/tiny:t1"
    block = f"registry:   {registry}\ndockerfile: tiny/Dockerfile\nimage:      {clone.group}/tiny:t1\n"
    assert output == f"building {image} ...\n{block}\n"
    assert clone.images() == [image]
    assert catalog(registry) == [f"{clone.group}/tiny"]
    labels = subprocess.run(
        ["docker", "inspect", "--format", "{{json .Config.Labels}}", image], capture_output=True, check=True
    )
    assert f"LAB_VERSION={json.loads(labels.stdout)['version']}\n" in (ROOT / "versions.env").read_text()


@with_engine
def test_every_folder_is_built_those_others_start_from_first(clone: Clone, registry: str) -> None:
    clone.folder("ground")
    clone.folder("above", f"FROM {registry}/{clone.group}/ground:latest\nCOPY hello /above\n")
    (clone.root / "no-image").mkdir()
    output = clone.run("push-all-docker.sh", "--group", clone.group)
    assert output.index("/ground:latest ...") < output.index("/above:latest ...")
    assert output.count("dockerfile: ") == 2
    assert catalog(registry) == [f"{clone.group}/above", f"{clone.group}/ground"]


@with_engine
def test_images_that_start_from_each_other_are_reported(clone: Clone) -> None:
    for name, other in (("hen", "egg"), ("egg", "hen")):
        clone.folder(name, f"FROM localhost:1/{clone.group}/{other}:latest\n")
    assert "these images start from each other: egg hen" in clone.run("push-all-docker.sh", "--no-push", code=1)


@with_engine
def test_no_push_needs_no_registry(clone: Clone) -> None:
    clone.folder("tiny")
    clone.run("push-all-docker.sh", "--no-push", "--registry=localhost:1")
    assert clone.images() == [f"localhost:1/{clone.group}/tiny:latest"]


@with_engine
def test_a_registry_that_is_not_there_is_reported(clone: Clone) -> None:
    clone.folder("tiny")
    output = clone.run("push-docker.sh", "tiny", "--registry=localhost:1", code=1)
    assert f"localhost:1/{clone.group}/tiny:latest is built, but could not be pushed (bin/registry.sh up" in output


@with_engine
def test_a_build_that_fails_is_named_with_its_last_lines_and_nothing_is_pushed(clone: Clone, registry: str) -> None:
    clone.folder("broken", "FROM scratch\nCOPY what-is-not-there /\n")
    clone.folder("tiny")
    output = clone.run("push-all-docker.sh", code=1)
    assert f"push-all-docker.sh: {registry}/{clone.group}/broken:latest could not be built. The last lines of" in output
    assert "what-is-not-there" in output
    assert "dockerfile: " not in output
    assert catalog(registry) == []


@with_engine
def test_a_missing_base_image_fails_before_anything_is_built(clone: Clone) -> None:
    clone.folder("tensor-serving-gpu", "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    bases = {"TF_SERVING_IMAGE": "localhost:1/none:1", "PYTHON_IMAGE": "localhost:1/none:2"}
    output = clone.run("push-all-docker.sh", "--no-push", "--serving", "gpu", code=1, **bases)
    assert "the base image localhost:1/none:1-gpu cannot be pulled (--serving embedded does without it)" in output
    shutil.move(clone.root / "tensor-serving-gpu" / "Dockerfile", clone.root / "tensor-serving-gpu" / "Dockerfile.x")
    clone.folder("tiny", "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    output = clone.run("push-docker.sh", "tiny", code=1, **bases)
    assert "localhost:1/none:2 cannot be pulled (bin/base-image.sh makes it from Debian packages)" in output
    assert "building" not in output


@with_engine
def test_auto_takes_tensorflow_serving_if_it_can_be_had(clone: Clone) -> None:
    folder = clone.folder("tensor-serving-gpu", "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY hello /\n")
    (folder / "Dockerfile.embedded").write_text(TINY)
    clone.folder("tiny")
    clone.run("push-docker.sh", "tiny", "--no-push", "--registry=localhost:1")
    options = ("tensor-serving-gpu", "--no-push", "--registry=localhost:1")
    base = f"localhost:1/{clone.group}/tiny:latest"
    output = clone.run("push-docker.sh", *options, LAB_SERVING="auto", TF_SERVING_IMAGE=base)
    assert f"the model server is the cpu one: {base} is here" in output
    assert "dockerfile: tensor-serving-gpu/Dockerfile\n" in output
    output = clone.run("push-docker.sh", *options, LAB_SERVING="auto", TF_SERVING_IMAGE="localhost:1/none:1")
    assert "the model server is the embedded one: localhost:1/none:1 is not here and cannot be pulled" in output
    assert f"image:      {clone.group}/tensor-serving-embedded:latest\n" in output


@with_engine
def test_a_base_image_that_is_there_is_left_alone(clone: Clone) -> None:
    clone.folder("tiny")
    clone.run("push-docker.sh", "tiny", "--no-push", "--registry=localhost:1")
    image = f"localhost:1/{clone.group}/tiny:latest"
    assert clone.run("base-image.sh", PYTHON_IMAGE=image) == f"{image} is there already\n"
