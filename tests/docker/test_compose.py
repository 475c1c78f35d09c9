"""The lab in Docker: hardened as rendered and as running, its data kept, models exchanged with the local engine."""

import io
import json
import os
import subprocess
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab_engine.docker import client, source
from lab_engine.verbs import SERVICES
from tensor_rest.settings import Settings as Fields
from tests.running import ROOT, SAMPLES, Lab, request, wait_until

in_docker = pytest.mark.parametrize("lab", ["docker"], indirect=True)
CONTAINERS = tuple("tensor-serving-cpu" if name == "tensor-serving" else name for name in SERVICES)


def docker(*arguments: str, given: bytes = b"") -> str:
    done = subprocess.run(["docker", *arguments], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def inspect(container: str) -> Any:
    return json.loads(docker("container", "inspect", container))[0]


@pytest.fixture(scope="module")
def rendered(lab: Lab) -> Any:
    """The services of the compose file as Compose understands it, with everything filled in."""
    return compose_config(lab, "localhost-compose.yml")


def compose_config(lab: Lab, *files: str) -> Any:
    """The services of compose files of .deploy/ laid over each other."""
    compose = client.compose_command()
    assert compose is not None
    named = [word for file in files for word in ("-f", str(ROOT / ".deploy" / file))]
    command = [*compose, "--project-directory", str(ROOT), *named, "config"]
    done = subprocess.run(command, env=lab.environment, capture_output=True, text=True, check=True)
    return yaml.safe_load(done.stdout)["services"]


@in_docker
@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_rendered_hardened(rendered: Any, service: str) -> None:
    found = rendered[service]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert not str(found["user"]).startswith("0")
    assert found["pids_limit"] > 0
    assert found["mem_limit"]
    assert found["memswap_limit"] == found["mem_limit"]
    assert found["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert found["restart"] == "unless-stopped"
    assert "privileged" not in found
    assert all("127.0.0.1" in json.dumps(port) for port in found["ports"])


def test_every_setting_of_the_gateway_reaches_the_container() -> None:
    compose = yaml.safe_load((ROOT / ".deploy" / "localhost-compose.yml").read_text())
    dockerfile = (ROOT / "tensor-rest" / "Dockerfile").read_text()
    handed_on = compose["services"]["tensor-rest"]["environment"]
    names = [str(each.validation_alias or f"TENSOR_REST_{name.upper()}") for name, each in Fields.model_fields.items()]
    settings = {name for name in names if not name.startswith("AliasChoices") and f" {name}=" not in dockerfile}
    elsewhere = {"TF_SERVER_CA", "TF_SERVER_CERTIFICATE", "TF_SERVER_KEY"}  # of a model server that is not the lab's
    elsewhere |= {"TENSOR_REST_ROUTE_KEY_FILE", "TENSOR_REST_ROUTE_PORT"}  # of clients on other machines
    assert settings - {"TENSOR_REST_FRONT"} - elsewhere <= set(handed_on)  # the image has nginx
    assert {name for name in handed_on if not name.startswith("LAB_")} <= settings | {"TENSOR_REST_LAB_ID"}


@in_docker
def test_container_that_hangs_is_ended_after_failed_checks(rendered: Any, images: dict[str, str]) -> None:
    check = [word.replace("$$", "$") for word in rendered["tensor-rest"]["healthcheck"]["test"][1:-1]]
    script = "import os, sys; sys.exit(not os.path.exists('/tmp/answers'))"
    program = f"open('/tmp/check.py', 'w').write({script!r}); open('/tmp/answers', 'w'); import time; time.sleep(600)"
    options = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--detach"]
    name = docker("run", *options, images["tensor-rest"], "python3", "-c", program).strip()

    def passes() -> bool:
        command = ["docker", "exec", name, *check, "/tmp/check.py"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    try:
        wait_until(passes, 30, "the first check that passes")
        docker("exec", name, "sh", "-c", "rm /tmp/answers; kill -STOP $(cat /proc/1/task/1/children)")
        assert [passes() for _ in range(11)] == [False] * 11
        assert inspect(name)["State"]["Running"]
        passes()
        wait_until(lambda: not inspect(name)["State"]["Running"], 20, "the container to end")
        assert inspect(name)["State"]["ExitCode"] == 137
        output = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=True)
        assert "failed 12 times in a row" in output.stderr
    finally:
        docker("rm", "--force", name)


@in_docker
def test_models_and_logs_are_written_by_the_workbench_only(rendered: Any) -> None:
    def mounts(service: str) -> str:
        return json.dumps(rendered[service].get("volumes", []))

    assert "/models" not in mounts("tensor-rest")
    assert "/models" not in mounts("tensor-board")
    for service, folder in (("tensor-serving", "/models"), ("tensor-board", "/logs")):
        assert f"{folder}:ro" in mounts(service) or '"read_only": true' in mounts(service)


@in_docker
@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_runs_hardened(lab: Lab, name: str) -> None:
    container = lab.container(name)
    found = inspect(container)
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] > 0
    assert host["MemorySwap"] == host["Memory"]
    assert host["PidsLimit"] > 0
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert not host["Privileged"]
    status = docker("exec", container, "cat", "/proc/1/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split()[0] != "0"
    assert int(fields["CapEff"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    addresses = [each["HostIp"] for ports in found["NetworkSettings"]["Ports"].values() for each in ports or []]
    assert set(addresses) <= {"127.0.0.1"}


@in_docker
def test_the_token_is_in_no_environment_image_or_log(lab: Lab) -> None:
    token = (lab.home / "jupyter.token").read_text().strip()
    for name in CONTAINERS:
        assert token not in json.dumps(inspect(lab.container(name)))
    for name in set(CONTAINERS) - {"tensor-jupyter"}:
        assert token not in docker("logs", lab.container(name))


@in_docker
def test_the_workbench_writes_every_volume_and_the_hosts_notebooks(lab: Lab) -> None:
    container, name = lab.container("tensor-jupyter"), f"written-by-a-test-{os.getpid()}"
    notebooks = lab.notebooks
    for folder in ("/models", "/logs", "/data", "/opt/tensor-jupyter/notebook"):
        docker("exec", container, "sh", "-c", f"echo fine > {folder}/.{name} && cat {folder}/.{name}")
    try:
        written = notebooks / f".{name}"
        assert written.read_text() == "fine\n"
        written.write_text("edited on the host\n")
        assert docker("exec", container, "cat", f"/opt/tensor-jupyter/notebook/.{name}") == "edited on the host\n"
    finally:
        docker("exec", container, "sh", "-c", f"rm -f /*/.{name} /opt/tensor-jupyter/notebook/.{name}")


@in_docker
def test_a_model_trained_under_the_local_engine_is_served(lab: Lab, tmp_path: Path) -> None:
    python = str(ROOT / ".lab" / "venv" / "bin" / "python")
    train = [python, "-m", "tensor_jupyter", "train", "from-local", "--epochs", "1"]
    folders = {f"LAB_{name}": str(tmp_path / name.lower()) for name in ("MODELS", "LOGS", "DATA")}
    subprocess.run(train, env=lab.environment | folders, check=True, capture_output=True)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(tmp_path / "models" / "from-local", "from-local")
    command = [
        "exec",
        "--interactive",
        lab.container("tensor-jupyter"),
        "tar",
        "-x",
        "-C",
        "/models",
        "--no-same-owner",
    ]
    docker(*command, given=archive.getvalue())
    wait_until(lambda: lab.post_image("/tf/mnist/from-local", SAMPLES[0]).status == 200, 30, "the model to be served")


@in_docker
def test_docker_restart_serves_again(lab: Lab) -> None:
    docker("restart", lab.container("tensor-serving-cpu"))
    wait_until(lambda: lab.post_image("/tf/mnist/mnist-net", SAMPLES[0]).status == 200, 60, "an answer")


@in_docker
def test_down_and_up_keep_models_logs_and_token(lab: Lab) -> None:
    token = (lab.home / "jupyter.token").read_text()
    docker(
        "exec",
        lab.container("tensor-jupyter"),
        "sh",
        "-c",
        "mkdir -p /logs/kept/1 && echo mine > /models/mnist-net/kept",
    )
    lab.compose("down")
    assert not docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={lab.project}")
    lab.compose("up")
    assert docker("exec", lab.container("tensor-jupyter"), "cat", "/models/mnist-net/kept") == "mine\n"
    assert "kept" in docker("exec", lab.container("tensor-board"), "ls", "/logs")
    assert (lab.home / "jupyter.token").read_text() == token
    assert lab.post_image("/tf/mnist/mnist-net", SAMPLES[0]).status == 200


@in_docker
def test_compose_file_that_is_wrong_is_not_remembered(lab: Lab, tmp_path: Path) -> None:
    assert "typo.yml is not there" in lab.compose("up", "-f", "typo.yml", code=1)
    (tmp_path / "wrong.yml").write_text("services: {tensor-rest: {imagee: x}}\n")
    assert "compose config failed" in lab.compose("up", "-f", str(tmp_path / "wrong.yml"), code=1)
    assert "project" in lab.compose("status")


@in_docker
@pytest.mark.skipif(not os.environ.get("LAB_LONG_TESTS"), reason="a minute; set LAB_LONG_TESTS=1")
def test_upgrade_backup_and_restore_in_docker(lab: Lab, images: dict[str, str], tmp_path: Path) -> None:
    board, jupyter = images["tensor-board"], lab.container("tensor-jupyter")
    docker("build", "--tag", board, "--label", f"{source.HASH}=old", "-", given=f"FROM {board}\n".encode())
    docker("exec", jupyter, "sh", "-c", "echo mine > /models/mnist-net/upgraded")
    try:
        assert "not built from this clone's source: tensor-board;" in lab.compose("up")
        assert "another: bin/compose.sh upgrade" in lab.compose("version")
        assert "The lab is up" in lab.compose("upgrade")
        assert lab.compose("version").count("this clone's") == len(images)
        assert docker(
            "image", "inspect", "--format", f'{{{{index .Config.Labels "{source.HASH}"}}}}', f"{board}-before"
        )
        lab.compose("backup", str(tmp_path / "lab.tar.gz"))
        docker("exec", jupyter, "rm", "/models/mnist-net/upgraded")
        assert "the lab is running" in lab.compose("restore", "--yes", str(tmp_path / "lab.tar.gz"), code=1)
        lab.compose("down")
        lab.compose("restore", "--yes", str(tmp_path / "lab.tar.gz"))
        lab.compose("up")
        assert docker("exec", jupyter, "cat", "/models/mnist-net/upgraded") == "mine\n"
        listed = docker("exec", jupyter, "sh", "-c", "stat -c '%a %g' /models /models/mnist-net; ls -A /models")
        assert listed.split("\n")[:2] == ["2775 100", "2775 100"]
        assert ".replaced" not in listed
        assert lab.post_image("/tf/mnist/mnist-net", SAMPLES[0]).status == 200
    finally:
        subprocess.run(
            ["docker", "rmi", *(f"{image}-before" for image in images.values())], capture_output=True, check=False
        )


@in_docker
def test_the_gpu_override_gives_one_gpu_to_the_model_server_alone(lab: Lab) -> None:
    services = compose_config(lab, "localhost-compose.yml", "gpu-compose.yml")
    (device,) = services["tensor-serving"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia"
    assert device["capabilities"] == ["gpu"]
    assert services["tensor-serving"]["environment"]["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert not [name for name in set(SERVICES) - {"tensor-serving"} if "devices" in json.dumps(services[name])]


def test_the_registry_lists_every_image(registry: str, images: dict[str, str]) -> None:
    listed = json.loads(request(urllib.request.Request(f"http://{registry}/v2/_catalog")).body)["repositories"]
    assert {reference.split("/", 1)[1].partition(":")[0] for reference in images.values()} <= set(listed)
