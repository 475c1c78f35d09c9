"""The environment: a failed installation names the reason and leaves nothing that looks like an environment."""

from pathlib import Path

import pytest

from lab_engine import settings
from lab_engine.errors import EngineError
from lab_engine.local import environment


def test_a_failed_installation_says_why_and_leaves_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # no package index can be reached
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    found = settings.load({"LAB_HOME": str(tmp_path)})
    with pytest.raises(EngineError, match="No matching distribution found"):
        environment.ensure(found)
    assert not found.venv.exists()
    assert not environment.is_current(found)


def test_an_environment_of_other_requirements_is_not_current(tmp_path: Path) -> None:
    found = settings.load({"LAB_HOME": str(tmp_path)})
    found.python.parent.mkdir(parents=True)
    found.python.touch()
    (found.venv / "deploy-requirements.installed").write_text("3.11 elsewhere 0000\n")
    assert not environment.is_current(found)
