"""bin/compose.sh where no lab runs: its answers for programs, its release, and whose the lab is."""

import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab_engine import __main__, settings
from lab_engine.kubernetes import __main__ as kubernetes
from lab_engine.settings import ROOT

RELEASE = settings.read_env_file(ROOT / "versions.env")["LAB_VERSION"]


@pytest.mark.parametrize(("verb", "code", "document"), [("ps", 0, []), ("status", 1, {"running": False})])
def test_a_lab_that_is_down_is_a_json_document_too(
    verb: str,
    code: int,
    document: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    assert __main__.main([verb, "--json", "--engine", "local"]) == code
    assert json.loads(capsys.readouterr().out) == document


def test_another_users_lab_is_reported_as_such(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(running: bool) -> None:  # noqa: ARG001 - as it is called
        raise PermissionError(13, "Permission denied", "/home/ada/.lab/lab.json")

    monkeypatch.setattr(settings, "load", load)
    assert __main__.main(["status"]) == 1
    output = capsys.readouterr().err
    assert "/home/ada/.lab/lab.json: Permission denied; the lab may be another user's" in output
    assert "disk" not in output


@pytest.mark.parametrize("words", [["chaos", "kill-serving"], ["down", "--volumes"], ["restore", "lab.tar.gz"]])
def test_end_of_input_at_a_question_changes_nothing(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    assert __main__.main(words) == 1
    assert "nothing was changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (__main__.main, ["logs", "-n", "-5"]),
        (kubernetes.main, ["logs", "-n", "-5"]),
        (kubernetes.main, ["apply", "--timeout", "0"]),
    ],
)
def test_number_that_is_too_small_is_wrong_usage(
    main: Callable[[list[str]], int], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert f"invalid value '{words[-1]}' (expected a whole number >= " in capsys.readouterr().err


def test_compose_works_through_a_link_and_knows_its_release(tmp_path: Path) -> None:
    (tmp_path / "compose").symlink_to(ROOT / "bin" / "compose.sh")
    done = subprocess.run([tmp_path / "compose", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"tensor-lab {RELEASE}\n"


def test_every_package_is_of_the_release() -> None:
    files = [*ROOT.glob("tensor-*/pyproject.toml"), *ROOT.glob("tensor-*/tensor_*/__init__.py")]
    found = [re.findall(r'^(?:__)?version(?:__)? = "(.+)"', file.read_text(), re.MULTILINE) for file in files]
    assert found == [[RELEASE]] * 6
