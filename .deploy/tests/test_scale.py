"""Several model servers: what the local engine starts, and what Compose is called with and reads."""

import json
import os
import stat
import xmlrpc.client
from collections.abc import Sequence
from configparser import RawConfigParser
from pathlib import Path

import pytest
import yaml

from lab_engine import model_servers, settings
from lab_engine.docker import deployment
from lab_engine.docker.deployment import MORE, Deployment
from lab_engine.docker.lab import DockerLab
from lab_engine.errors import EngineError
from lab_engine.local import scaling, services
from lab_engine.local.manager import Manager
from lab_engine.verbs import SERVICES

STAND_IN = """#!/bin/sh
echo "$COMPOSE_PROFILES|$*" >>{log}
case "$*" in
    "compose version") echo v2 ;;
    "container inspect"*) cat {containers} ;;
    ps*) echo more-1; echo more-2 ;;
esac
"""


def container(service: str) -> dict[str, object]:
    labels = {"com.docker.compose.project": "lab", "com.docker.compose.service": service}
    state = {"Running": True, "Status": "running", "Health": {"Status": "healthy"}}
    return {"Id": service, "RestartCount": 0, "State": state, "Config": {"Labels": labels}}


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in docker's place, with a lab of three model servers; the file of its calls."""
    log, containers, program = tmp_path / "calls", tmp_path / "containers", tmp_path / "bin" / "docker"
    names = (*SERVICES, MORE, MORE)
    containers.write_text(json.dumps([container(name) for name in names]))
    program.parent.mkdir()
    program.write_text(STAND_IN.format(log=log, containers=containers))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("COMPOSE_PROFILES", raising=False)
    return log


def calls(log: Path, verb: str) -> list[tuple[str, str]]:
    """Compose's calls of a verb: the active profiles, and the words from the verb on."""
    lines = [
        line.partition("|") for line in log.read_text().splitlines() if line.partition("|")[2].startswith("compose")
    ]
    log.write_text("")
    return [(profiles, words[words.index(f" {verb} ") + 1 :]) for profiles, _, words in lines if f" {verb} " in words]


def test_compose_is_called_with_the_number_and_remembers_it(docker: Path, tmp_path: Path) -> None:
    found = settings.load({"LAB_HOME": str(tmp_path / "home")})
    lab = DockerLab(found, Deployment("lab", ("a.yml",), "r:1", "g", "t", "cpu"))
    lab.scale(3)
    up = "up --timeout 10 -d --no-recreate --no-deps --scale tensor-serving-more=2 tensor-serving-more"
    assert calls(docker, "up") == [("scale", up)]
    remembered = deployment.load(found)
    assert remembered is not None
    assert remembered.replicas == 3
    lab = DockerLab(found, remembered)
    lab.restart(["tensor-serving"])
    assert calls(docker, "restart") == [
        ("scale", "restart --timeout 10 tensor-serving"),
        ("scale", "restart --timeout 10 tensor-serving-more"),
    ]
    lab.scale(1)  # the profile is active still, or Compose would not know the service
    assert calls(docker, "up") == [("scale", up.replace("=2", "=0"))]
    lab.restart(["tensor-serving"])
    assert calls(docker, "restart") == [("", "restart --timeout 10 tensor-serving")]


def test_down_removes_all_of_them_and_forgets_the_number(docker: Path, tmp_path: Path) -> None:
    found = settings.load({"LAB_HOME": str(tmp_path / "home")})
    lab = DockerLab(found, Deployment("lab", ("a.yml",), "r:1", "g", "t", "cpu", replicas=3))
    lab.down(remove_volumes=False)
    assert calls(docker, "down") == [("scale", "down --timeout 10 --remove-orphans")]
    remembered = deployment.load(found)
    assert remembered is not None
    assert remembered.replicas == 1


@pytest.mark.usefixtures("docker")
def test_the_status_counts_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = settings.load({"LAB_HOME": str(tmp_path / "home")})
    for replicas, word in ((3, "healthy (3 of 3)"), (4, "not healthy (3 of 4)")):
        code = DockerLab(found, Deployment("lab", ("a.yml",), "r:1", "g", "t", "cpu", replicas)).status()
        assert (code, word in capsys.readouterr().out) == (0 if replicas == 3 else 1, True)


def test_further_containers_are_the_first_ones_without_its_names() -> None:
    named = yaml.safe_load(deployment.COMPOSE_FILE.read_text())["services"]
    first, more = named["tensor-serving"], named[MORE]
    own = {"container_name", "ports", "profiles", "networks", "volumes"}
    assert {key: value for key, value in more.items() if key not in own} == {
        key: value for key, value in first.items() if key not in own
    }
    assert not {"container_name", "ports"} & more.keys()  # two containers cannot have the same
    assert more["profiles"] == ["scale"]
    assert more["networks"] == {"serving": {"aliases": ["tensor-serving"]}}
    assert more["volumes"] == ["tensor-models:/models:ro", "/state"]
    gpu = yaml.safe_load(deployment.GPU_FILE.read_text())["services"]
    assert gpu[MORE] == gpu["tensor-serving"]


def test_each_local_model_server_has_ports_and_files_of_its_own(tmp_path: Path) -> None:
    lab = scaling.with_free_ports(settings.load({"LAB_HOME": str(tmp_path)}), 3)
    every = [*vars(lab.ports).values(), *(port for each in lab.replicas for port in vars(each).values())]
    assert len(every) == len(set(every)) == len(vars(lab.ports)) + 2 * 3
    (lab.run / "log").mkdir(parents=True)
    scaling.write(lab)
    assert settings.load({"LAB_HOME": str(tmp_path)}).replicas == lab.replicas
    lines = (lab.run / "model-servers").read_text().splitlines()
    ports = [lab.ports, *lab.replicas]
    assert lines == [f"127.0.0.1:{each.serving} 127.0.0.1:{each.inventory}" for each in ports]
    parser = RawConfigParser()
    parser.read_string(services.supervisor_config(lab, {}))
    assert parser["include"]["files"] == "replicas.conf"
    first = parser["program:model-server"]["command"]
    parser.read(lab.run / "replicas.conf")
    second, third = (parser[f"program:model-server-{number}"]["command"] for number in (2, 3))
    assert parser["group:tensor-serving-3"]["programs"] == "watcher-3,model-server-3"
    assert len({word for command in (first, second, third) for word in command.split() if "loads" in word}) == 3
    assert scaling.with_free_ports(lab, 2).replicas == lab.replicas[:1]


class Refuses(Manager):
    """A process manager that starts nothing."""

    error: Exception
    calls: list[tuple[Sequence[str], Sequence[str]]]

    def change_groups(self, stopped: Sequence[str], started: Sequence[str]) -> None:
        self.calls.append((stopped, started))
        raise self.error


@pytest.mark.parametrize("error", [xmlrpc.client.Fault(10, "BAD_NAME"), TimeoutError(), EngineError("not healthy")])
def test_model_servers_that_do_not_start_are_forgotten(error: Exception, tmp_path: Path) -> None:
    lab = settings.load({"LAB_HOME": str(tmp_path)})
    (lab.run / "log").mkdir(parents=True)
    scaling.write(lab)
    written = (lab.run / "model-servers").stat().st_mtime_ns
    manager = Refuses(lab)
    manager.error, manager.calls = error, []
    with pytest.raises(type(error)):
        scaling.scale(lab, manager, 3)
    assert settings.load({"LAB_HOME": str(tmp_path)}).replicas == ()
    assert (lab.run / "replicas.conf").read_text() == ""
    second, third = "tensor-serving-2", "tensor-serving-3"
    assert manager.calls == [([], [second, third]), ([second], []), ([third], [])]
    assert (lab.run / "model-servers").stat().st_mtime_ns == written  # the gateway never had them in its list


@pytest.mark.parametrize(
    ("given", "serving", "cores", "count"),
    [
        ("auto", "embedded", 1, 1),
        ("auto", "embedded", 7, 1),
        ("auto", "embedded", 8, 2),
        ("auto", "embedded", 64, 4),
        ("auto", "cpu", 64, 1),
        ("3", "cpu", 2, 3),
    ],
)
def test_a_new_lab_has_as_many_as_set_or_as_the_cores_keep_busy(
    given: str, serving: str, cores: int, count: int, tmp_path: Path
) -> None:
    found = settings.load({"LAB_HOME": str(tmp_path), "LAB_MODEL_SERVERS": given})
    assert model_servers.at_start(found, serving, cores) == count


@pytest.mark.parametrize("given", ["0", "17", "two"])
def test_a_wrong_number_is_named(given: str, tmp_path: Path) -> None:
    found = settings.load({"LAB_HOME": str(tmp_path), "LAB_MODEL_SERVERS": given})
    with pytest.raises(EngineError, match=r"LAB_MODEL_SERVERS=.*: set it to auto, or a number from 1 to 16"):
        model_servers.at_start(found, "embedded", 8)


@pytest.mark.parametrize(
    ("quota", "count"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("", None)]
)
def test_cores_are_those_of_the_containers_quota(
    quota: str, count: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    monkeypatch.setattr(model_servers, "_QUOTA", file)
    assert model_servers.cores() == (count or len(os.sched_getaffinity(0)))


def test_a_lab_that_is_stopped_is_not_scaled(docker: Path, tmp_path: Path) -> None:
    (docker.parent / "containers").write_text("[]")
    lab = DockerLab(settings.load({"LAB_HOME": str(tmp_path / "h")}), Deployment("lab", (), "r:1", "g", "t", "cpu"))
    with pytest.raises(EngineError, match="not running"):
        lab.scale(2)
