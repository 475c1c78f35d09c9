"""Bills of materials of a real image: what it holds, under the digest that the registry has it under."""

import json
import subprocess
from pathlib import Path

from tests.running import ROOT


def test_a_push_can_write_bills_of_materials(images: dict[str, str]) -> None:
    command = [str(ROOT / "bin" / "push-docker.sh"), "tensor-board", "--sbom"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    written = [Path(line.partition(": ")[0]) for line in output.splitlines() if line.endswith(" components")]
    assert [path.name for path in written] == ["tensor-board.image.cdx.json", "tensor-board.lock.cdx.json"]
    of_image, of_lock = (json.loads(path.read_text()) for path in written)
    command = ["docker", "image", "inspect", "--format", "{{index .RepoDigests 0}}", images["tensor-board"]]
    digest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert digest.partition("@")[2] in of_image["metadata"]["component"]["purl"].replace("%3A", ":")
    in_image, in_lock = (
        {each["purl"].partition("?")[0] for each in bill["components"]} for bill in (of_image, of_lock)
    )
    assert any(purl.startswith("pkg:deb/debian/tini@") for purl in in_image)
    assert {purl for purl in in_image if purl.startswith("pkg:pypi/")} <= in_lock
