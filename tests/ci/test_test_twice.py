"""`.ci/test-twice` on a small repository of its own: what fails once is repeated and named, what fails twice fails."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of one test module, with a bin/test.sh that takes --fast first and only runs pytest."""
    for folder in (".ci", "bin"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / ".ci" / "test-twice", tmp_path / ".ci")
    script = tmp_path / "bin" / "test.sh"
    script.write_text(
        f'#!/bin/sh\n[ "$1" = --fast ] && shift\nexec "{sys.executable}" -m pytest -q -p no:schemathesis "$@"\n'
    )
    script.chmod(0o755)
    shutil.copy(PROGRAMS / "once.py", tmp_path / "test_toy.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(repository / ".ci" / "test-twice"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_test_that_passes_the_second_time_passes_and_is_listed(repository: Path) -> None:
    done = run(repository)
    assert done.returncode == 0, done.stdout + done.stderr
    listed = done.stdout.rpartition("flaky:")[2].splitlines()[1:]
    assert listed == [f"FAILED test_toy.py::test_flaky[{name}] - assert False" for name in ("a b", "c")]
    assert "\n2 passed" in done.stdout


def test_flags_of_the_script_come_before_those_of_pytest(repository: Path) -> None:
    done = run(repository, "--fast")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "flaky:" in done.stdout


def test_of_ids_in_a_file_only_the_failed_run_again(repository: Path) -> None:
    (repository / "test_other.py").write_text("def test_other(): pass\n")
    chosen = repository / "chosen"
    ids = ("test_toy.py::test_flaky[a b]", "test_toy.py::test_flaky[c]", "test_other.py::test_other")
    chosen.write_text("\n".join(ids))
    done = run(repository, f"@{chosen}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n2 passed" in done.stdout


def test_a_test_that_fails_twice_fails_the_run(repository: Path) -> None:
    (repository / "broken").touch()
    done = run(repository)
    assert done.returncode == 1
    assert "flaky:" not in done.stdout


def test_a_run_without_failures_is_not_repeated(repository: Path) -> None:
    (repository / "was-run").touch()
    done = run(repository, "-k", "sound or flaky")
    assert done.returncode == 0
    assert "once more" not in done.stdout


def test_what_fails_before_any_test_runs_is_not_repeated(repository: Path) -> None:
    (repository / "bin" / "test.sh").write_text("#!/bin/sh\necho a linter fails\nexit 1\n")
    done = run(repository)
    assert done.returncode == 1
    assert done.stdout == "a linter fails\n"
