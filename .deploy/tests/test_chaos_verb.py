"""bin/compose.sh chaos: where its faults are staged, and what the programs of `inside/` do."""

import os
import shutil
import subprocess
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from kube_stand_in import Gateway

from lab_engine import __main__, memory, settings
from lab_engine.chaos import faults
from lab_engine.docker.deployment import Deployment

INSIDE = Path(faults.__file__).with_name("inside")
STAND_IN = """#!/bin/sh
case "$*" in
    exec*) echo "staged in Docker" >&2; exit 1 ;;
    version*) echo 28.0 ;;
    "compose version") echo v2 ;;
esac
"""
ON_EXT4 = """
mount -o loop "$1" /mnt && chmod 777 /mnt || exit 77
cd /mnt && unset TENSOR_REST_FEEDBACK_DIR
exec setpriv --reuid 1000 --regid 1000 --clear-groups /usr/bin/python3 -c "$2"
"""


def test_fault_is_staged_in_the_engine_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docker").write_text(STAND_IN)
    (tmp_path / "docker").chmod(0o755)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAB_REST_PORT", str(server.server_port))
    lab = settings.load()
    Deployment("lab", ("a.yml",), "r:1", "g", "t", "cpu").save(lab)
    memory.note(lab, "local", up=True)  # which the verb would act on otherwise
    assert __main__.main(["chaos", "kill-serving", "--engine", "docker", "--yes"]) == 1
    assert "the fault could not be staged in tensor-serving: staged in Docker" in capfd.readouterr().err
    server.shutdown()
    server.server_close()


def test_damaged_copy_is_of_the_newest_version(tmp_path: Path) -> None:
    for version in ("9", "10", "10-old"):
        folder = tmp_path / "m" / version / "variables"
        folder.mkdir(parents=True)
        (folder / "variables.data-0").write_text(f"weights of {version}")
    program = [sys.executable, str(INSIDE / "publish_damaged.py"), "copy", "m"]
    subprocess.run(program, env={"LAB_MODELS": str(tmp_path)}, check=True)
    assert (tmp_path / "copy" / "1" / "variables" / "variables.data-0").read_text() == "damaged!of 10"


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("mkfs.ext4"), reason="needs root and mkfs.ext4")
def test_disk_with_blocks_for_root_is_filled_by_another_user(tmp_path: Path) -> None:
    image, program = tmp_path / "ext4", (INSIDE / "fill_disk.py").read_text()
    with image.open("wb") as file:
        file.truncate(24 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace can be made")
    command = ["unshare", "--mount", "sh", "-c", ON_EXT4, "sh", str(image), program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as filler:
        assert filler.stdout is not None
        if not filler.stdout.readline() and filler.wait() == 77:
            pytest.skip("no file system can be mounted")
        assert os.statvfs(f"/proc/{filler.pid}/root/mnt").f_bavail == 0
