"""`lab doctor` on the lab's ports: who is in its place, and who beyond this machine can come in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from doctor_kit import found, healthy, lab, only

from tensor_jupyter import doctor
from tensor_jupyter.doctor import discovery, listening
from tensor_jupyter.settings import Settings

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def patient(settings, tmp_path, monkeypatch):
    """A healthy lab."""
    with healthy(settings, tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def listener():
    """listener(port, **environment): a process that listens, started by one with that environment; the port."""
    started = []
    programs = (PROGRAMS / "run_without_environment.py", PROGRAMS / "listen_on_port.py")

    def start(port, **environment):
        command = [sys.executable, *map(str, programs), str(port), "--password=hunter2"]
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        return int(process.stdout.readline())

    yield start
    for process in started:
        os.killpg(process.pid, 9)
        process.wait()
        process.stdout.close()


def test_another_program_on_a_port_is_named_without_its_command_line(patient, listener):
    port = patient.server_port
    patient.stop()
    listener(port)
    (finding,) = [each for each in found() if each.check == "ports"]
    assert finding.found.startswith(f"taken: {port} by python")
    assert finding.fix.endswith(" bin/compose.sh up")
    assert "hunter2" not in lab().output


def test_another_lab_on_our_port_is_seen_though_it_answers(patient, listener, monkeypatch, tmp_path):
    other, ours = tmp_path / "other", tmp_path / "home"
    port = listener(0, TENSOR_LAB_SUPERVISED=str(other))
    monkeypatch.setenv("LAB_SERVING_REST_PORT", str(port))
    finding = only()
    assert f"taken: {port} by python" in finding.found
    assert finding.found.endswith(f"of the lab in {other}")
    variable, _, rest = finding.fix.partition("=")
    assert variable == "LAB_SERVING_REST_PORT"
    assert int(rest.split()[0]) > max(port, patient.server_port)
    monkeypatch.setenv("LAB_SERVING_REST_PORT", str(listener(0, TENSOR_LAB_SUPERVISED=str(ours))))
    assert found() == []


@pytest.fixture
def table(monkeypatch, tmp_path, patient):
    """table(*addresses): the kernel's tables as if the lab's port were listened on there."""
    monkeypatch.setattr(listening, "_PROC", tmp_path / "proc")
    (tmp_path / "proc" / "net").mkdir(parents=True)

    def write(*addresses):
        for name, size in (("tcp", 8), ("tcp6", 32)):
            lines = [
                f"0: {address}:{patient.server_port:04X} 0:0 0A 0:0 0:0 0 0 0 {number}"
                for number, address in enumerate(addresses)
                if len(address) == size
            ]
            (tmp_path / "proc" / "net" / name).write_text("\n".join(["head", *lines]))

    return write


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("0100007F", None),
        ("0200007F", None),
        ("00000000", "0.0.0.0"),
        ("0A00000A", "10.0.0.10"),
        ("00000000000000000000000000000000", "::"),
        ("00000000000000000000000001000000", None),  # ::1
        ("0000000000000000FFFF00000100007F", None),  # ::ffff:127.0.0.1
    ],
)
def test_what_listens_beyond_this_machine_is_exposed(table, patient, address, shown):
    table(address)
    exposed = [finding for finding in found() if finding.check == "exposure"]
    if shown is None:
        assert exposed == []
        return
    (finding,) = exposed
    assert f"at {shown}:{patient.server_port}" in finding.found
    assert finding.level == "problem"


def test_an_exposed_gateway_is_well_with_keys_and_jupyterlab_never_quite(table, patient, monkeypatch):
    table("00000000")
    place = discovery.find(Settings.read())
    for service, key, level in (
        ("tensor-rest", "", "problem"),
        ("tensor-rest", "key", "ok"),
        ("tensor-jupyter", "", "warning"),
        ("tensor-board", "", "problem"),
        ("tensor-serving", "", "problem"),
    ):
        patient.key = key
        monkeypatch.setitem(place.ports, patient.server_port, service)
        (finding,) = listening.exposure(place)
        assert (service, finding.level) == (service, level)


@pytest.mark.usefixtures("patient")
def test_kernel_tables_that_hang_are_a_problem(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "_SECONDS", 1.0)
    monkeypatch.setattr(listening, "_PROC", tmp_path / "proc")
    (tmp_path / "proc" / "net").mkdir(parents=True)
    os.mkfifo(table := tmp_path / "proc" / "net" / "tcp")  # to open it waits for a writer
    try:
        assert "could not be checked: no answer in 1 s" in only("ports").found
    finally:
        os.close(os.open(table, os.O_WRONLY | os.O_NONBLOCK))


def test_a_system_without_such_tables_is_no_problem(monkeypatch, tmp_path, patient):
    monkeypatch.setattr(listening, "_PROC", tmp_path)
    assert found() == []
    assert "cannot be seen" in only("ports").found
    assert patient.url
