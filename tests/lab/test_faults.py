"""What goes wrong on a newcomer's machine: named, with the way out, and nothing half made."""

import re
import socket
import subprocess
from pathlib import Path

import pytest

from tests.running import SAMPLES, Lab, kill, new_lab


@pytest.fixture(params=["local", "docker"])
def where(request: pytest.FixtureRequest) -> str:
    """The engine of a lab of the test's own."""
    if request.param == "docker":
        request.getfixturevalue("images")
    return str(request.param)


def test_a_taken_port_is_named_with_its_holder_and_the_way_out(where: str) -> None:
    with new_lab(where) as lab, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        output = lab.compose("up", code=1, LAB_BOARD_PORT=str(port))
        found = re.search(rf"port {port} is taken by process \d+ \(.*pytest.*\).*LAB_BOARD_PORT=(\d+)", output)
        assert found, output
        assert not lab.leftovers()


def test_a_state_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with new_lab() as lab:
        output = lab.compose("up", code=1, LAB_HOME=str(tmp_path / "file" / "lab"))
        assert f"{tmp_path}/file/lab cannot be written (Not a directory)" in output
        assert "LAB_HOME" in output


def test_a_service_that_cannot_start_makes_up_fail_with_its_last_log_lines() -> None:
    with new_lab() as lab:
        (lab.home / "run" / "jupyter").mkdir(parents=True)
        (lab.home / "run" / "jupyter" / "runtime").write_text("in the way")
        output = lab.compose("up", code=1)
        assert "tensor-jupyter cannot start" in output
        assert "last lines of jupyterlab" in output
        assert "run/jupyter/runtime" in output


def test_of_two_ups_at_once_one_wins(where: str) -> None:
    with new_lab(where) as lab:
        both = [
            subprocess.Popen(
                lab.command("up"), env=lab.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            for _ in range(2)
        ]
        output = [up.communicate(timeout=300)[0] for up in both]
        assert sorted(up.returncode for up in both) == [0, 1], output
        loser = output[0] if both[0].returncode else output[1]
        assert re.search(r"another command is at work on this lab \('up', process \d+\)", loser)
        if where == "local":  # tests/docker shows the same of volumes
            check_that_down_keeps_the_data(lab)


def test_down_confirms_before_it_removes_the_volumes_of_up(where: str) -> None:
    with new_lab(where) as lab:
        lab.compose("up")
        lab.compose("down")
        assert "add --yes" in lab.compose("down", "--volumes", code=1, LAB_ENGINE="auto")
        local = lab.home / "models" / "of-the-local-engine"
        local.mkdir(parents=True, exist_ok=True)
        assert "are removed" in lab.compose("down", "--volumes", "--yes", LAB_ENGINE="auto")
        assert local.exists() == (where == "docker")


def check_that_down_keeps_the_data(lab: Lab) -> None:
    token = (lab.home / "jupyter.token").read_text()
    marker = lab.home / "models" / "mnist-net" / "1" / "mine.txt"
    marker.write_text("not to be overwritten")
    kill(int((lab.home / "run" / "supervisord.pid").read_text()))  # its programs go on, nginx without its environment
    lab.compose("down")
    assert not lab.leftovers()
    assert "not running" in lab.compose("ps")
    assert "not running" in lab.compose("status", code=1)

    lab.compose("up")
    assert marker.read_text() == "not to be overwritten"
    assert (lab.home / "jupyter.token").read_text() == token
    assert lab.post_image("/tf/mnist/mnist-net", SAMPLES[0]).status == 200

    assert "add --yes" in lab.compose("down", "--volumes", code=1)
    assert marker.exists()
    lab.compose("down", "--volumes", "--yes")
    assert not marker.exists()
    assert not lab.leftovers()
