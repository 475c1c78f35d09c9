"""`lab doctor` on what lies on the disk and what the machine has: folders, secrets, space, GPU, versions."""

import fcntl
import os
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from tensor_jupyter.doctor import discovery, folders, machine, secrets, versions
from tensor_jupyter.settings import Settings

DAY = 86_400


@pytest.fixture
def lab(settings, tmp_path):
    """Where a lab is, of which only the folders are there; and its settings."""
    for name in ("models", "logs", "data", "feedback"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    home, token = tmp_path / "home", tmp_path / "home" / "jupyter.token"
    home.mkdir(mode=0o700)
    token.write_text("t0k3n")
    token.chmod(0o600)
    return discovery.find(settings, {"LAB_HOME": str(home), "JUPYTER_TOKEN_FILE": str(token)}), settings


def only(findings):
    assert len(findings) == 1, findings
    return findings[0]


def ill(findings):
    return only([finding for finding in findings if finding.level != "ok"])


def test_folders_that_are_well_are_named(lab):
    finding = only(folders.check(*lab))
    assert finding.level == "ok"
    assert str(lab[1].models) in finding.found


@pytest.mark.parametrize(
    ("mode", "output", "fix"),
    [(0o777, "by every user", "chmod o-w "), (0o775, "is not the group's", "chmod g+s "), (0o2775, "", "")],
)
def test_a_folders_mode(lab, mode, output, fix):
    lab[1].logs.chmod(mode)
    finding = only(folders.check(*lab))
    assert (finding.level == "ok") == (not fix)
    assert output in finding.found
    assert finding.fix == (f"{fix}{lab[1].logs}" if fix else "")


@pytest.mark.skipif(os.getuid() != 0, reason="only root changes a folder's owner")
def test_folders_of_others_are_found_unless_they_are_shared(lab):
    models = lab[1].models
    theirs = models / "theirs" / "1"
    theirs.mkdir(parents=True)
    os.chown(theirs, 12_345, 12_345)
    finding = ill(folders.check(*lab))
    assert f"as {theirs} of user 12345" in finding.found
    assert finding.fix == f"chown -R 0:0 {models}"
    os.chown(theirs, 12_345, models.stat().st_gid)
    theirs.chmod(0o775)
    assert only(folders.check(*lab)).level == "ok"


def test_a_folder_that_cannot_be_written_is_a_problem(lab, monkeypatch):
    data, really = lab[1].data, os.access
    monkeypatch.setattr(folders.os, "access", lambda path, mode: path != data and really(path, mode))
    finding = ill(folders.check(*lab))
    assert finding.level == "problem"
    assert f"{data} cannot be written by user {os.getuid()}" in finding.found
    assert finding.fix == lab[0].typed(f"chown -R {os.getuid()}:{os.getgid()} {data}", root=True)


def test_folders_that_are_not_made_yet_are_no_matter(lab, tmp_path):
    settings = Settings(**{name: tmp_path / "new" / name for name in ("models", "logs", "data", "feedback")})
    assert only(folders.check(lab[0], settings)).found == "none is made yet"


def test_exports_whose_maker_is_gone_are_found_and_others_left_alone(lab):
    root = lab[1].models / ".staging"
    for name in ("export-gone", "export-working", "export-new"):
        (root / name).mkdir(parents=True)
        (root / name / "lock").touch()
        if name != "export-new":
            os.utime(root / name, (time.time() - DAY, time.time() - DAY))
    with (root / "export-working" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        finding = ill(folders.check(*lab))
    assert finding.fix == f"rm -r {root / 'export-gone'}"


def test_closed_secrets_are_named_but_not_shown(lab):
    finding = only(secrets.check(*lab))
    assert finding.level == "ok"
    assert "jupyter.token" in finding.found
    assert "t0k3n" not in str(finding)


@pytest.mark.parametrize(
    ("mode", "group", "well"), [(0o644, 0, False), (0o640, 100, True), (0o640, 0, False), (0o660, 100, False)]
)
def test_a_token_that_others_can_read(lab, mode, group, well):
    token = lab[0].token_file
    if os.getuid() == 0:
        os.chown(token, -1, group)
    elif token.stat().st_gid != group:
        pytest.skip("only root gives a file to any group")
    token.chmod(mode)
    finding = only(secrets.check(*lab))
    assert (finding.level == "ok") == well
    if not well:
        assert finding.level == "problem"
        assert finding.fix == f"chmod {640 if group == 100 else 600} {token}"


def test_the_other_secrets(lab):
    place, settings = lab
    place.token_file.write_text("")
    assert "is empty" in ill(secrets.check(*lab)).found
    place.token_file.unlink()
    assert "is not there" in ill(secrets.check(*lab)).found
    place.token_file.write_text("t0k3n")
    place.token_file.chmod(0o600)

    place.home.chmod(0o750)
    assert ill(secrets.check(*lab)).fix == f"chmod 700 {place.home}"
    place.home.chmod(0o700)

    key = settings.data / "api-key"
    key.write_text("lab_key")
    key.chmod(0o644)
    finding = ill(secrets.check(*lab))
    assert (finding.level, finding.fix) == ("problem", f"chmod 600 {key}")
    assert "lab_key" not in str(finding)
    key.unlink()

    keys = settings.data / "keys.txt"
    named = discovery.find(settings, {"TENSOR_REST_API_KEYS_FILE": str(keys)})
    assert "which is not there" in ill(secrets.check(named, settings)).found
    keys.write_text("ada:00")
    keys.chmod(0o664)
    assert ill(secrets.check(named, settings)).level == "warning"


@pytest.mark.parametrize(("free", "level"), [(100 * 2**20, "problem"), (2**30, "warning"), (100 * 2**30, "ok")])
def test_free_space_on_the_disk(lab, monkeypatch, free, level):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(free))
    finding = only(machine.disks(lab[1]))
    assert finding.level == level
    assert "models, logs, data, feedback" in finding.found


@pytest.mark.parametrize(
    ("names", "bound", "used", "left"),
    [
        (machine._CGROUPS[0], "1073741824", "1000000000", 73741824),
        (machine._CGROUPS[0], "max", "5", None),
        (machine._CGROUPS[1], "100", "200", 0),
    ],
)
def test_a_containers_bound_counts(tmp_path, monkeypatch, names, bound, used, left):
    for name, value in zip(names, (bound, used), strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n")
    assert machine._of_cgroup(names, tmp_path) == left
    of_cgroup = machine._of_cgroup
    monkeypatch.setattr(machine, "_of_machine", lambda: 64 * 2**30)
    monkeypatch.setattr(machine, "_of_cgroup", lambda names: of_cgroup(names, tmp_path))
    finding = only(machine.memory())
    assert finding.level == ("ok" if left is None else "problem")
    assert ("in this container" in finding.found) == (left is not None)


@pytest.mark.parametrize(
    ("driver", "level", "output"),
    [
        ("#!/bin/sh\necho 'NVIDIA T4, 15360 MiB'\n", "ok", "NVIDIA T4, 15360 MiB"),
        ("#!/bin/sh\nexit 9\n", "warning", "lists none"),
    ],
)
def test_a_gpu_is_known_by_its_node_and_its_driver(tmp_path, monkeypatch, driver, level, output):
    assert only(machine.gpu(tmp_path)).found.startswith("none here")
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidia-smi").write_text(driver)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = only(machine.gpu(tmp_path))
    assert finding.level == level
    assert output in finding.found


def test_packages_are_held_to_the_lock_file(tmp_path):
    lock = tmp_path / "requirements.txt"
    numpy = versions._installed("numpy")
    lock.write_text(f"# written\nnumpy=={numpy} \\\n    --hash=sha256:00\nnone==1 ; python_version < '3' \\\n")
    assert [finding.level for finding in versions.check(False, lock)] == ["ok", "ok"]

    lock.write_text("numpy==0.0.1\nno-such-thing-here==2\n")
    missing, other = versions.check(False, lock)[1:]
    assert (missing.level, missing.found) == ("problem", "missing: no-such-thing-here")
    assert (other.level, other.found) == ("warning", f"1 other than pinned: numpy {numpy}, pinned 0.0.1")
    assert missing.fix == "bin/compose.sh install"
    assert "bin/push-docker.sh" in versions.check(True, lock)[1].fix

    lock.write_text("??\nnumpy 3\n")
    assert "lock file that bin/lock.sh" in ill(versions.check(False, lock)).wanted
    assert "is not there" in ill(versions.check(False, tmp_path / "none")).found


def test_a_python_without_wheels_is_a_problem(monkeypatch, tmp_path):
    lock = tmp_path / "requirements.txt"
    lock.write_text("")
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    assert ill(versions.check(False, lock)).wanted == "3.10 to 3.13"


def test_the_lock_file_is_the_services_own():
    assert Path(__file__).parents[1] / "requirements.txt" == versions.LOCK
    assert "tensorflow-cpu==" in versions.LOCK.read_text()


def test_commands_are_those_to_type_on_the_host(lab, monkeypatch):
    place = lab[0]
    monkeypatch.setattr(discovery.os, "getuid", lambda: 1000)
    assert place.typed("ls") == "ls"
    assert place.typed("ls", root=True) == "sudo ls"
    docker = discovery.find(Settings(rest_url="http://tensor-rest:8080"), {"JUPYTER_TOKEN_FILE": str(place.token_file)})
    assert docker.typed("ls").startswith("docker exec --privileged --user 0 ")
    place.token_file.chmod(0o644)
    assert ill(secrets.check(docker, lab[1])).fix == 'chmod 600 "${LAB_HOME:-.lab}/jupyter.token"'
