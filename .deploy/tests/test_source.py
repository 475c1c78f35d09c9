"""The hash of an image's source changes with what goes into the image, and with nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lab_engine.docker import source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "versions.env").write_text("LAB_VERSION=1\nLAB_TAG=a\n")
    for name, dockerfile in (("tensor-base", "FROM a\n"), ("service", "ARG TENSOR_BASE\nFROM ${TENSOR_BASE}\n")):
        (tmp_path / name / "code").mkdir(parents=True)
        (tmp_path / name / "Dockerfile").write_text(dockerfile)
        (tmp_path / name / ".dockerignore").write_text("*\n!code\n!setup.py\n**/__pycache__\n")
        (tmp_path / name / "code" / "a.py").write_text("1")
    return tmp_path / "service"


def write(path: str, text: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)

    return change


CHANGES = {
    "content": write("code/a.py", "2"),
    "new file": write("code/b.py", "1"),
    "renamed": lambda folder: (folder / "code" / "a.py").rename(folder / "code" / "c.py"),
    "dockerfile": write("Dockerfile", "ARG TENSOR_BASE\nFROM ${TENSOR_BASE}\nUSER 1\n"),
    "the base": write("../tensor-base/code/a.py", "2"),
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


def test_base_carries_no_commit_so_that_it_stays_the_same_image(folder: Path) -> None:
    assert set(source.labels(folder.parent / "tensor-base")) == {source.HASH}
