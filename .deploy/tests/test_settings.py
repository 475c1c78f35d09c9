"""Settings: versions.env, the environment over it, and a refusal that names what is wrong."""

from pathlib import Path

import pytest

from lab_engine import settings
from lab_engine.errors import EngineError


def test_versions_env_gives_the_defaults() -> None:
    found = settings.load({})
    assert found.ports.rest == 8080
    assert found.home == settings.ROOT / ".lab"


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


@pytest.mark.parametrize("text", ["", "http", "0", "65536", "-1", "8080.0", "٨٠٨٠"])
def test_a_port_that_is_none_is_named(text: str) -> None:
    with pytest.raises(EngineError, match=r"LAB_REST_PORT=.* is not a port"):
        settings.load({"LAB_REST_PORT": text})


def test_two_services_on_one_port_are_refused() -> None:
    with pytest.raises(EngineError, match="LAB_REST_PORT and LAB_BOARD_PORT are both 6006"):
        settings.load({"LAB_REST_PORT": "6006"})


def test_a_state_folder_too_deep_for_unix_sockets_is_refused() -> None:
    with pytest.raises(EngineError, match="set LAB_HOME to a shorter one"):
        settings.load({"LAB_HOME": "/tmp/" + "x" * 100})


def test_a_state_folder_that_would_break_a_configuration_file_is_refused() -> None:
    with pytest.raises(EngineError, match="set LAB_HOME to another one"):
        settings.load({"LAB_HOME": "/tmp/a;b"})
