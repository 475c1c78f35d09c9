"""A lab of the release before is upgraded with everything it holds, backed up, and restored on an empty one."""

import json
import shutil
from pathlib import Path

from tests.running import ROOT, SAMPLES, Lab, new_lab

BEFORE = Path(__file__).parent / "release-before"  # the state folder as release 0.1.0 leaves it, without models
SHIPPED = ROOT / "tensor-serving-gpu" / "serving" / "mnist-net"


def state(lab: Lab) -> dict[str, bytes]:
    """Every file of models, logs, feedback and config by its path."""
    folders = ("models", "logs", "feedback", "config")
    return {
        str(path.relative_to(lab.home)): path.read_bytes()
        for folder in folders
        for path in (lab.home / folder).rglob("*")
        if path.is_file() and "/." not in str(path.relative_to(lab.home))
    }


def test_upgrade_backup_and_restore_keep_everything() -> None:
    with new_lab() as lab:
        shutil.copytree(BEFORE, lab.home, dirs_exist_ok=True)
        shutil.copytree(SHIPPED, lab.home / "models" / "kept")
        ports = {name.lower(): port for name, port in lab.ports.items()}
        known = json.loads((BEFORE / "lab.json").read_text())
        (lab.home / "lab.json").write_text(json.dumps(known | {"ports": ports}))
        before = state(lab)
        output = lab.compose("upgrade")
        assert "The lab is up" in output
        assert json.loads((lab.home / "lab.json").read_text())["id"] == known["id"]
        assert lab.post_image("/tf/mnist/kept", SAMPLES[0]).status == 200
        assert "kept/1/train" in lab.get("BOARD", "/data/runs").json()
        assert before.items() <= state(lab).items()
        file = lab.home / "backup of all.tar.gz"
        lab.compose("backup", str(file))
        assert "the lab is running" in lab.compose("restore", "--yes", str(file), code=1)
        lab.compose("down", "--volumes", "--yes")
        assert "add --yes if that is meant" in lab.compose("restore", str(file), code=1)
        assert "of release 0.1.0" in lab.compose("restore", "--yes", str(file))
        assert before.items() <= state(lab).items()
