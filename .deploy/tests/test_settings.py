"""Settings: versions.env, the environment over it, and a refusal that names what is wrong."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from lab_engine import __main__, identity, notebooks, settings
from lab_engine.docker.deployment import Deployment
from lab_engine.errors import EngineError
from lab_engine.local.services import environment

DOCKER = Deployment("lab", (), "localhost:5000", "lab", "latest", "cpu")
DEFAULTS = settings.read_env_file(settings.ROOT / "versions.env")


def test_versions_env_gives_the_defaults(tmp_path: Path) -> None:
    assert settings.load({"LAB_HOME": str(tmp_path)}).ports.rest == int(DEFAULTS["LAB_REST_PORT"])
    assert settings.load({}).home == settings.ROOT / ".lab"


def test_the_environment_wins(tmp_path: Path) -> None:
    found = settings.load({"LAB_REST_PORT": "18080", "LAB_HOME": str(tmp_path)})
    assert found.ports.rest == 18080
    assert found.models == tmp_path / "models"


def test_the_key_comes_from_where_the_workbench_takes_it(tmp_path: Path) -> None:
    home, file = {"LAB_HOME": str(tmp_path)}, tmp_path / "mine"
    assert settings.load(home).api_key == ""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "api-key").write_text("of-data\n")
    file.write_text("of-file\n")
    assert settings.load(home).api_key == "of-data"
    assert settings.load(home | {"LAB_API_KEY_FILE": str(file)}).api_key == "of-file"
    found = settings.load(home | {"LAB_API_KEY_FILE": str(file), "LAB_API_KEY": "mine"})
    assert found.api_key == "mine"
    assert "mine" not in repr(found).replace(str(file), "")


def test_an_empty_variable_is_as_one_that_is_not_set(tmp_path: Path) -> None:
    home = {"LAB_HOME": str(tmp_path)}
    assert settings.load(home | dict.fromkeys(DEFAULTS, "")) == settings.load(home)


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "8080.0", "٨٠٨٠"])
def test_a_port_that_is_none_is_named(text: str) -> None:
    with pytest.raises(EngineError, match=r"LAB_REST_PORT=.* is not a port"):
        settings.load({"LAB_REST_PORT": text})


def test_two_services_on_one_port_are_refused(tmp_path: Path) -> None:
    port = DEFAULTS["LAB_BOARD_PORT"]
    with pytest.raises(EngineError, match=f"LAB_REST_PORT and LAB_BOARD_PORT are both {port}"):
        settings.load({"LAB_HOME": str(tmp_path), "LAB_REST_PORT": port})


def test_ports_of_the_last_start_hold_in_another_shell(tmp_path: Path) -> None:
    home = {"LAB_HOME": str(tmp_path)}
    started = settings.load(home | {"LAB_REST_PORT": "18080", "LAB_BOARD_PORT": "16006"})
    identity.remember_ports(tmp_path, vars(started.ports))
    assert settings.load(home, running=True).ports == started.ports
    assert settings.load(home).remembered == ("rest", "board")


def test_the_environment_moves_a_new_start_but_not_a_running_lab(tmp_path: Path) -> None:
    home = {"LAB_HOME": str(tmp_path)}
    identity.remember_ports(tmp_path, vars(settings.load(home | {"LAB_REST_PORT": "18080"}).ports))
    another = home | {"LAB_REST_PORT": "28080"}
    assert settings.load(another).ports.rest == 28080
    assert settings.load(another).remembered == ()
    assert settings.load(another, running=True).ports.rest == 18080


def test_the_id_is_made_once_and_reaches_every_service(tmp_path: Path) -> None:
    lab = settings.load({"LAB_HOME": str(tmp_path)})
    assert lab.lab_id == ""
    identity.make_id(tmp_path)
    made = lab.lab_id
    identity.remember_ports(tmp_path, vars(lab.ports))
    identity.make_id(tmp_path)
    assert lab.lab_id == made != ""
    local = environment(lab, {"LAB_ID": "another lab's"})
    assert local["LAB_ID"] == local["TENSOR_REST_LAB_ID"] == made
    assert DOCKER.environment(lab)["LAB_ID"] == made


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_damaged_lab_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "lab.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(EngineError, match=r"lab\.json is not a JSON object: remove it"):
        settings.load({"LAB_HOME": str(tmp_path)})


GOOD = {"engine.json": {"engine": "docker", "up": True}, "docker.json": {**asdict(DOCKER), "files": ["a.yml"]}}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("engine.json", "{"),
        ("engine.json", '{"engine": "docker"}'),
        ("docker.json", "[]"),
        ("docker.json", '{"project": "lab"}'),
        ("docker.json", '{"files": 1}'),
        ("lab.json", '{"replicas": [1]}'),
        ("lab.json", '{"replicas": [{"serving": 1}]}'),
        ("lab.json", '{"replicas": [{"serving": "x", "serving_rest": 1, "inventory": 1}]}'),
    ],
)
def test_damaged_file_of_the_lab_is_named_by_every_verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    for each, document in GOOD.items():
        (tmp_path / each).write_text(json.dumps(document))
    (tmp_path / name).write_text(text)
    assert __main__.main(["status"]) == 1
    output = capsys.readouterr().err
    assert str(tmp_path / name) in output
    assert "remove it, and start the lab anew" in output


def test_damaged_record_of_the_notebooks_is_named(tmp_path: Path) -> None:
    lab = settings.load({"LAB_HOME": str(tmp_path)})
    lab.workspace.mkdir()
    (lab.workspace / "shipped.json").write_text("{")
    with pytest.raises(EngineError, match=r"shipped\.json is not a JSON object: remove it"):
        notebooks.prepare(lab)


def test_a_state_folder_too_deep_for_unix_sockets_is_refused() -> None:
    with pytest.raises(EngineError, match="set LAB_HOME to a shorter one"):
        settings.load({"LAB_HOME": "/tmp/" + "x" * 100})


@pytest.mark.parametrize("name", ["a;b", "a[1]", "a*", "a?"])  # supervisord expands the last three
def test_a_state_folder_that_would_break_a_configuration_file_is_refused(name: str) -> None:
    with pytest.raises(EngineError, match="set LAB_HOME to another one"):
        settings.load({"LAB_HOME": f"/tmp/{name}"})
