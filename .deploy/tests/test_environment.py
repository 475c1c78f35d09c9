"""The environment: a failed installation names the reason and leaves nothing that looks like an environment."""

import socket
from pathlib import Path

import pytest

from lab_engine import console, settings
from lab_engine.errors import EngineError
from lab_engine.local import environment
from lab_engine.local.lab import LocalLab
from lab_engine.settings import ROOT


def test_a_failed_installation_reports_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_taken_port_is_reported_before_anything_is_installed(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        lab = LocalLab(settings.load({"LAB_HOME": str(tmp_path), "LAB_BOARD_PORT": port}))
        with pytest.raises(EngineError, match=f"port {port} is taken"):
            lab.up()
    assert not (tmp_path / "venv").exists()


def test_progress_counts_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(console.Progress, "update", lambda _, text: shown.append(text))
    found = settings.load({"LAB_HOME": str(tmp_path)})
    site_packages = found.venv / "lib" / "python3.11" / "site-packages"
    site_packages.mkdir(parents=True)
    found.python.parent.mkdir()
    packages = ("one-1.dist-info", "two-1.dist-info")
    steps = "".join(f"mkdir {site_packages}/{name}\nsleep 0.5\n" for name in packages)
    found.python.write_text(
        f"#!/bin/sh\necho 'Collecting one==1'\necho 'Installing collected packages: one, two'\n{steps}"
    )
    found.python.chmod(0o755)
    environment.install(found, ROOT / "tests" / "requirements.txt", "installing")
    assert "installed 1 of 2 packages" in shown
    assert environment.is_current(found, ROOT / "tests" / "requirements.txt")
