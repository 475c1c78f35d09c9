"""Bills of materials: valid by CycloneDX' own schema, and as complete as what they are made from."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.validation.json import JsonStrictValidator

from lab_engine.settings import ROOT
from lab_sbom import bill
from lab_sbom.__main__ import main
from lab_sbom.sources import Image, Package, lock_file

LOCKS = [
    ROOT / ".deploy" / "requirements.txt",
    *(ROOT / f"tensor-{name}" / "requirements.txt" for name in ("board", "jupyter", "rest", "serving-gpu")),
]


def read(path: Path) -> Any:
    """The document, after a check that it is what the schema allows."""
    text = path.read_text()
    assert JsonStrictValidator(bill.VERSION).validate_str(text) is None
    return json.loads(text)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.parent.name)
def test_every_pin_of_a_lock_file_is_read_with_its_hashes(lock: Path) -> None:
    found, text = lock_file(lock), lock.read_text()
    assert len(found) == len(re.findall("^[a-z0-9]", text, re.MULTILINE))
    assert sum(len(package.sha256) for package in found) == text.count("--hash=sha256:")
    assert all(package.sha256 for package in found)


def test_the_bill_of_a_lock_file_is_valid_and_has_hashes_and_markers(tmp_path: Path) -> None:
    lock = tmp_path / "tensor-x" / "requirements.txt"
    lock.parent.mkdir()
    lock.write_text("".join(f"numpy=={pin} \\\n    --hash=sha256:{'a' * 64}\n" for pin in ("1", "2 ; os_name == 'nt'")))
    assert main([str(tmp_path / "out"), "--release", "1.2.3", "--lock", str(lock)]) == 0
    document = read(tmp_path / "out" / "tensor-x.lock.cdx.json")
    assert (
        document["metadata"]["component"] | {"name": "tensor-x/requirements.txt", "version": "1.2.3"}
        == (document["metadata"]["component"])
    )
    first, second = document["components"]
    assert (first["purl"], second["purl"]) == ("pkg:pypi/numpy@1", "pkg:pypi/numpy@2")
    assert first["externalReferences"][0]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert second["properties"] == [{"name": "tensor-lab:marker", "value": "os_name == 'nt'"}]


def test_the_bill_of_an_image_names_it_by_its_digest(tmp_path: Path) -> None:
    labels = {"org.opencontainers.image.version": "1.2.3", "tensor-lab.source-hash": "ab", "other": "x"}
    packages = [
        Package("deb", "libc6", "2.36-9", namespace="debian", qualifiers={"arch": "amd64", "distro": "debian-12"}),
        Package("pypi", "NumPy", "2.0", license="BSD-3-Clause AND MIT"),
        Package("pypi", "odd", "1", license="as is, see the file"),
    ]
    for digest, version in (("", "sha256:12"), ("sha256:34", "sha256:34")):
        image = Image("localhost:5000/lab/tensor-x:latest", "sha256:12", digest, labels, packages)
        bill.write(bill.of_image(image), tmp_path / "x.json")
        subject = read(tmp_path / "x.json")["metadata"]["component"]
        assert subject["version"] == "1.2.3"
        assert f"tensor-x@{version}?" in subject["purl"].replace("%3A", ":")
    document = read(tmp_path / "x.json")
    assert {each["name"]: each["value"] for each in subject["properties"]} == {
        "tensor-lab:source-hash": "ab",
        "tensor-lab:image-id": "sha256:12",
    }
    assert {each["purl"] for each in document["components"]} == {
        "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12",
        "pkg:pypi/numpy@2.0",
        "pkg:pypi/odd@1",
    }


def test_a_lock_file_that_is_none_is_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("# made\nnumpy==2.0 ; python_version < '3.11' \\\n    --hash=sha256:" + "a" * 64 + "\nflask>=3\n")
    with pytest.raises(ValueError, match=r"requirements\.txt:4: not a pin"):
        lock_file(lock)
    assert main([str(tmp_path / "out"), "--lock", str(LOCKS[0]), "--lock", str(lock)]) == 1
    assert "flask>=3" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
