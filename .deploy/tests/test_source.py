"""The hash of an image's source changes with what goes into the image, and with nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lab_engine.docker import source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "versions.env").write_text("LAB_VERSION=1\nLAB_TAG=a\n")
    made = tmp_path / "service"
    (made / "code").mkdir(parents=True)
    (made / "Dockerfile").write_text("FROM a\n")
    (made / ".dockerignore").write_text("*\n!code\n!setup.py\n**/__pycache__\n")
    (made / "code" / "a.py").write_text("1")
    return made


def write(path: str, text: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)

    return change


CHANGES = {
    "content": write("code/a.py", "2"),
    "new file": write("code/b.py", "1"),
    "renamed": lambda folder: (folder / "code" / "a.py").rename(folder / "code" / "c.py"),
    "dockerfile": write("Dockerfile", "FROM a\nUSER 1\n"),
    "version": write("../versions.env", "LAB_VERSION=2\nLAB_TAG=a\n"),
}
NO_CHANGES = {
    "compiled": write("code/__pycache__/a.pyc", "1"),
    "not sent": write("tests/test_a.py", "1"),
    "tag": write("../versions.env", "LAB_VERSION=1\nLAB_TAG=b\n"),
}


@pytest.mark.parametrize("change", [*CHANGES, *NO_CHANGES])
def test_hash_changes_with_what_goes_into_the_image(folder: Path, change: str) -> None:
    before = source.source_hash(folder)
    ({**CHANGES, **NO_CHANGES})[change](folder)
    assert (source.source_hash(folder) != before) == (change in CHANGES)


def test_folder_in_no_clone_has_no_commit(folder: Path) -> None:
    assert set(source.labels(folder)) == {source.HASH}
