"""The lock files: one version of a package for the whole lab, hashes for all, no index's address."""

import re
from pathlib import Path

import pytest

from lab_engine.settings import ROOT, read_env_file

LAB = ROOT / ".deploy" / "requirements.txt"
FOLDERS = sorted(path.parent.name for path in ROOT.glob("tensor-*/requirements.in"))


def pins(path: Path) -> set[str]:
    """Lines such as `numpy==2.4.6 ; python_full_version >= '3.12'` without their hashes."""
    return {line.rstrip(" \\") for line in path.read_text().splitlines() if re.match(r"[a-z0-9]", line)}


def names(path: Path) -> set[str]:
    return {line.partition("==")[0] for line in pins(path)}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_runs_the_versions_the_lab_runs(folder: str) -> None:
    versions = {pin.partition(" ")[0] for pin in pins(LAB)}
    assert {pin.partition(" ")[0] for pin in pins(ROOT / folder / "requirements.txt")} <= versions


@pytest.mark.parametrize(
    "path", [LAB, *(ROOT / folder / "requirements.txt" for folder in (*FOLDERS, "tests", ".deploy/lab_sbom"))], ids=str
)
def test_a_lock_is_exact_hashed_and_names_no_address(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert all("==" in pin for pin in pins(path))
    assert len(re.findall(r"==.*\\\n +--hash=sha256:", text)) == len(pins(path))


def test_tensorflow_is_the_one_of_versions_env() -> None:
    wanted = read_env_file(ROOT / "versions.env")["TENSORFLOW_VERSION"]
    assert f"tensorflow-cpu=={wanted}" in LAB.read_text()
    assert f"tensorflow-serving-api=={wanted}" in LAB.read_text()


def test_the_gateway_and_tensorboard_need_no_tensorflow() -> None:
    for folder in ("tensor-rest", "tensor-board"):
        assert not [name for name in names(ROOT / folder / "requirements.txt") if name.startswith("tensorflow")]
