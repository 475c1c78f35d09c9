"""The lab's images: what they hold and leave out, and how they run hardened, as any user, fail and stop."""

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab_engine.docker import source
from lab_engine.verbs import service_of
from tests.conftest import IMAGES
from tests.running import ROOT, wait_until

MB = 1_000_000
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp")
USERS = ("1000:100", "4321:100")

all_images = pytest.mark.parametrize("name", IMAGES)

# As text, since the images hold no tests.
KILL = (Path(__file__).parent / "programs" / "kill_process.py").read_text()


def docker(*arguments: str, code: int | None = 0) -> str:
    """Run docker, check its exit code and return what it printed."""
    done = subprocess.run(
        ["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
    )
    assert code is None or done.returncode == code, f"exit code {done.returncode}, wanted {code}: {done.stdout}"
    return done.stdout


def inspect(thing: str) -> Any:
    return json.loads(docker("inspect", thing))[0]


def inside(image: str, *command: str, options: tuple[str, ...] = ()) -> str:
    """What a command prints in a hardened container of the image."""
    return docker("run", "--rm", *HARDENED, *options, "--entrypoint", command[0], image, *command[1:])


@contextmanager
def running(image: str, *options: str, command: tuple[str, ...] = ()) -> Iterator[str]:
    """A hardened container, removed at the end."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    try:
        docker("run", "--detach", "--name", name, *HARDENED, *options, image, *command)
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)


def healthy(container: str) -> bool:
    """Run the health check as the engine would, without waiting for its next turn."""
    state = inspect(container)
    assert state["State"]["Running"], docker("logs", container)
    test = state["Config"]["Healthcheck"]["Test"]
    assert test[0] == "CMD"
    return subprocess.run(["docker", "exec", container, *test[1:]], capture_output=True, check=False).returncode == 0


def until_healthy(container: str) -> None:
    wait_until(lambda: healthy(container), 60, f"{container} to be healthy: {docker('logs', container)}")


def until_loaded(container: str) -> None:
    """A model server is healthy as soon as it takes calls, which wait for their model."""
    wait_until(lambda: "mnist-net version 1: available" in docker("logs", container), 30, "the model to be loaded")


def until_ended(container: str) -> int:
    """Wait until the container has ended, and return its exit code."""
    wait_until(lambda: not inspect(container)["State"]["Running"], 20, f"{container} to end")
    return int(inspect(container)["State"]["ExitCode"])


# ---- what is in them


@all_images
def test_it_is_small(images: dict[str, str], name: str) -> None:
    found = inspect(images[name])
    limit, unit = found["Config"]["Labels"]["tensor-lab.size-limit"].split()
    assert unit == "MB"
    assert found["Size"] <= int(limit) * MB


@all_images
def test_it_has_labels_and_runs_without_privileges(images: dict[str, str], name: str) -> None:
    config = inspect(images[name])["Config"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == name
    assert f"LAB_VERSION={labels['org.opencontainers.image.version']}\n" in (ROOT / "versions.env").read_text()
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.description"]
    folder = ROOT / {"tensor-serving-embedded": "tensor-serving-gpu"}.get(name, name)
    assert labels[source.HASH] == source.source_hash(folder)
    assert labels.get(source.REVISION, "") == source.commit(folder)
    assert config["User"] == "1000:100"
    assert config["Entrypoint"][:2] == ["tini", "--"]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    compose = yaml.safe_load((ROOT / ".deploy" / "localhost-compose.yml").read_text())["services"]
    (published,) = compose[service_of(folder)]["ports"]
    assert f"{published.rpartition(':')[2]}/tcp" in config["ExposedPorts"]
    assert not config.get("Volumes")


@all_images
def test_it_holds_no_secret_and_no_tests(images: dict[str, str], name: str) -> None:
    history = docker("history", "--no-trunc", images[name])
    config = json.dumps(inspect(images[name])["Config"])
    for word in ("token", "password", "secret", "://user"):
        assert word not in (history + config).lower()
    names = " -o ".join(
        f"-name '{name}'" for name in ("*.key", "id_rsa*", "id_ed*", ".netrc", ".env", ".git", ".cache")
    )
    paths = "-path '/opt/tensor-*/tests' -o -path '/root/?*' ! -name .bashrc ! -name .profile"
    find = f"find / -xdev \\( {names} -o {paths} \\) -print"
    found = inside(images[name], "sh", "-c", find, options=("--user", "0", "--cap-add", "DAC_OVERRIDE"))
    assert found == ""


@pytest.mark.parametrize("name", ["tensor-rest", "tensor-board"])
def test_the_light_ones_have_no_tensorflow(images: dict[str, str], name: str) -> None:
    look = "import importlib.util as u; print([n for n in ('tensorflow', 'keras', 'pip') if u.find_spec(n)])"
    assert inside(images[name], "python3", "-c", look) == "[]\n"


def test_the_gateway_has_no_models(images: dict[str, str]) -> None:
    look = "ls -d /models /logs /data; find / -xdev -name 'saved_model*' -not -path '/proc/*'"
    found = inside(images["tensor-rest"], "sh", "-c", f"{{ {look}; }} 2>/dev/null; true")
    assert found == ""


def test_what_was_left_out_is_not_missed(images: dict[str, str]) -> None:
    formats = (
        "import io; from PIL import Image; from tensor_rest.images.formats import FORMATS\n"
        "for name in FORMATS:\n"
        "    file = io.BytesIO(); Image.new('L', (28, 28)).save(file, name)\n"
        "    Image.open(io.BytesIO(file.getvalue()), formats=FORMATS).load()"
    )
    inside(images["tensor-rest"], "python3", "-W", "error", "-c", formats)
    libraries = "import numpy; from numpy import *; import scipy.stats, sklearn.datasets, matplotlib.pyplot"
    inside(images["tensor-jupyter"], "python3", "-c", libraries)


# ---- how they run


@all_images
@pytest.mark.parametrize("user", USERS)
def test_it_runs_hardened_as_any_user_and_stops_at_term(images: dict[str, str], name: str, user: str) -> None:
    with running(images[name], "--user", user) as container:
        until_healthy(container)
        output = docker("logs", container).lower()
        for trouble in ("denied", "read-only", "traceback"):
            assert trouble not in output
        before = time.monotonic()
        docker("stop", "--time", "30", container)
        assert time.monotonic() - before < 10, "Docker kills what takes longer"
        state = inspect(container)["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False), docker("logs", container)


@pytest.mark.parametrize(
    ("name", "victim", "text"),
    [
        ("tensor-rest", ["nginx:", "master"], "nginx ended by itself (exit code -9)"),
        ("tensor-rest", ["pyuwsgi"], "uwsgi ended by itself (exit code -9)"),
        ("tensor-serving-embedded", ["tensor_serving", "serve"], "the model server ended by itself (exit code -9)"),
    ],
)
def test_if_one_half_dies_the_container_ends(images: dict[str, str], name: str, victim: list[str], text: str) -> None:
    with running(images[name]) as container:
        until_healthy(container)
        if name == "tensor-serving-embedded":
            until_loaded(container)  # a server that is killed while it loads is started again
        docker("exec", container, "python3", "-c", KILL, *victim)
        assert until_ended(container) == 1
        assert text in docker("logs", container)


def test_a_wrong_setting_is_reported_in_one_line(images: dict[str, str]) -> None:
    with running(images["tensor-rest"], "--env", "TENSOR_REST_PORT=none") as container:
        assert until_ended(container) == 1
        assert "TENSOR_REST_PORT='none'" in docker("logs", container)
        assert "Traceback" not in docker("logs", container)


# ---- the volumes


def test_a_new_models_volume_starts_with_the_shipped_model(images: dict[str, str]) -> None:
    """Also where it is mounted read-only, and with what the group may write: the workbench runs as the host's user."""
    volume = f"test-{uuid.uuid4().hex[:12]}"
    try:
        with running(images["tensor-serving-embedded"], "--volume", f"{volume}:/models:ro") as container:
            until_healthy(container)
            until_loaded(container)
        mount = ("--volume", f"{volume}:/models", "--user", "4321:100")
        listed = "find /models -type d -printf '%m %U:%G\\n' -o -printf '%m %U:%G\\n' | sort -u"
        assert inside(images["tensor-jupyter"], "sh", "-c", listed, options=mount) == "2775 1000:100\n664 1000:100\n"
        publish = "cd /models/mnist-net && mkdir 2 && touch 2/x && stat -c '%a %g' 2 2/x"
        made = inside(images["tensor-jupyter"], "with-umask", "sh", "-c", publish, options=mount)
        assert made == "2775 100\n664 100\n"
    finally:
        docker("volume", "rm", "--force", volume)


def test_the_workbench_has_its_command(images: dict[str, str]) -> None:
    assert "Usage: lab" in inside(images["tensor-jupyter"], "lab", "--help", options=("--user", "4321:100"))


def test_the_workbenchs_pip_keeps_packages_in_the_data_volume(images: dict[str, str]) -> None:
    options = ("--tmpfs", "/data:exec,mode=2775,gid=100,uid=1000", "--user", "4321:100", "--network", "none")
    install = "cd /data/venv/lib/python3*/site-packages && touch mine.py"  # as pip would, without a network
    script = f"pip show tensorflow-cpu && {install} && cd / && python3 -c 'import mine'"
    assert "Location: /opt/venv/" in inside(images["tensor-jupyter"], "sh", "-c", script, options=options)


# ---- TensorFlow Serving's own image, which a test cannot pull everywhere

# The real binary's name and flags before the embedded server; like it, it gets no address and knows these flags.
STAND_IN = """#!/opt/venv/bin/python3
import os, sys
polls = ("model_config_file_poll_wait_seconds", "file_system_poll_wait_seconds")
known = ("port", "rest_api_port", "model_config_file", *polls)
binary = ("allow_version_labels_for_unavailable_models", "max_num_load_retries", "grpc_max_threads")
binary += ("rest_api_num_threads",)
given = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
if set(given) != {*known, *binary}:
    sys.exit(f"unknown command line flag among {sorted(given)}")
flags = [f"--{name}={given[name]}" for name in known]
python = "/opt/venv/bin/python3"
os.execv(python, [python, "-m", "tensor_serving", "serve", "--bind_address=0.0.0.0", *flags])
"""


@pytest.fixture
def stand_in(images: dict[str, str], tmp_path: Any) -> Iterator[str]:
    """An image like TensorFlow Serving's, with its entry point, as root; it runs the embedded server."""
    (tmp_path / "tensorflow_model_server").write_text(STAND_IN)
    (tmp_path / "Dockerfile").write_text(
        f"FROM {images['tensor-serving-embedded']}\nUSER root\n"
        "COPY tensorflow_model_server /usr/bin/\n"
        "RUN chmod 755 /usr/bin/tensorflow_model_server && userdel lab && rm -rf /models /opt/tensor-serving\n"
        'ENTRYPOINT ["/bin/false"]\nCMD []\n'
    )
    image = f"test-{uuid.uuid4().hex[:12]}:1"
    docker("build", "--tag", image, str(tmp_path))
    yield image
    docker("rmi", image)


def test_the_image_on_tensorflow_serving_runs_its_binary(stand_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_SERVING_IMAGE", stand_in)
    script = [str(ROOT / "bin" / "push-docker.sh"), str(ROOT / "tensor-serving-gpu")]
    image = "localhost:1/test-stand-in/tensor-serving-cpu:latest"
    options = ["--no-push", "--registry", "localhost:1", "--group", "test-stand-in", "--serving", "cpu"]
    try:
        done = subprocess.run([*script, *options], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"image:      {image.partition('/')[2]}" in done.stdout
        with running(image, "--user", "4321:100") as container:
            until_healthy(container)
            until_loaded(container)
            docker("stop", container)
            assert inspect(container)["State"]["ExitCode"] == 0
        with running(image) as container:
            until_healthy(container)
            docker("exec", container, "python3", "-c", KILL, "tensor_serving", "serve")
            assert until_ended(container) == 1
    finally:
        docker("rmi", image, code=None)
