"""`lab doctor`: what it finds in a lab that is well, and what in one that is ill; and the command it gives for it."""

import json
import os
import socket
import threading

import pytest
from doctor_kit import TOKEN, found, healthy, lab, only

from tensor_jupyter.doctor import discovery, examine, machine, web
from tensor_jupyter.doctor.parallel import together
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings


@pytest.fixture
def patient(settings, tmp_path, monkeypatch):
    """A healthy lab."""
    with healthy(settings, tmp_path, monkeypatch) as server:
        yield server


def test_a_healthy_lab_has_nothing_found(patient):
    assert found() == []
    findings = {finding.check: finding.found for finding in examine(Settings.read())}
    assert list(findings)[:7] == ["gateway", "model server", "watcher", "TensorBoard", "JupyterLab", "ports", "models"]
    assert findings["models"] == "served: b 2"
    assert f"{patient.server_port} " in findings["ports"]
    assert f"({os.getpid()})" in findings["ports"]


def test_another_lab_in_the_gateways_place_is_a_problem(patient, monkeypatch):
    monkeypatch.setenv("LAB_ID", "mine")
    patient.answers["/healthz"] = (200, {"status": "ok", "lab": "mine"})
    assert only("gateway").level == "ok"
    patient.answers["/healthz"] = (200, {"status": "ok", "lab": "another"})
    finding = only("gateway")
    assert finding.level == "problem"
    assert finding.found.startswith(f"another lab answers at {patient.url}")
    assert finding.fix.startswith("LAB_REST_PORT=")


def test_a_folder_that_is_nearly_a_model_is_found(patient, settings):
    near = {"path": "ResNet", "reason": "the name", "fix": "mv models/ResNet models/resnet"}
    patient.answers["/"][1]["ignored"] = [near]
    finding = only()
    assert (finding.level, finding.found) == ("warning", "ResNet is not served: the name")
    assert finding.fix == f"cd {settings.models.parent} && {near['fix']}"


@pytest.mark.usefixtures("patient")
def test_it_is_printed_as_lines_a_table_and_json(monkeypatch):
    monkeypatch.setattr(machine, "gpu", lambda: [machine.warning("GPU", "is hot", "a cool one", "cool it")])
    done = lab()
    assert done.exit_code == 0, done.output
    assert "ok       watcher: lists 1 model\n" in done.stdout
    assert "warning  GPU: is hot; wanted: a cool one\n         $ cool it\n" in done.stdout
    assert "\x1b" not in done.stdout

    document = json.loads(lab("--json").stdout)
    assert (document["warning"] >= 1, document["problem"]) == (True, 0)
    assert {
        "check": "GPU",
        "level": "warning",
        "found": "is hot",
        "wanted": "a cool one",
        "fix": "cool it",
    } in document["findings"]

    from tensor_jupyter.commands import doctor

    monkeypatch.setattr(doctor.out, "_force_terminal", True)
    table = lab().stdout
    assert "$ cool it" in table
    assert "wanted: a cool one" in table
    assert "; wanted" not in table
    assert TOKEN not in done.stdout + lab("--json").stdout + lab().stdout


def test_a_lab_that_is_down_is_one_problem_with_the_way_up(patient):
    patient.stop()
    finding = only()
    assert (finding.check, finding.level, finding.fix) == ("lab", "problem", "bin/compose.sh up")
    assert "no service answers" in finding.found
    assert "Connection refused" in finding.found
    done = lab()
    assert done.exit_code == 1
    assert "free: " in done.stdout  # the rest is looked at all the same


@pytest.mark.parametrize(
    ("path", "answer", "check", "level", "output", "fix"),
    [
        (
            "/healthz",
            (500, {}),
            "gateway",
            "problem",
            "something else answers at http://127.0.0.1",
            "bin/compose.sh up",
        ),
        ("/healthz", (200, "<html>"), "gateway", "problem", "something else answers", "bin/compose.sh up"),
        (
            "/readyz",
            (503, {"message": "It may be starting."}),
            "model server",
            "problem",
            "It may be starting.",
            "tensor-serving",
        ),
        ("/", (200, {"models": 3}), "watcher", "problem", "something else answers", "bin/compose.sh up"),
        (
            "/data/environment",
            (200, {"data_location": "/else"}),
            "TensorBoard",
            "warning",
            "shows /else",
            "LAB_LOGS=/else",
        ),
        ("/data/environment", (404, {}), "TensorBoard", "problem", "something else", "bin/compose.sh up"),
        ("/data/runs", (500, {}), "TensorBoard", "problem", "shows no runs", "bin/compose.sh restart tensor-board"),
        ("/api", (404, {}), "JupyterLab", "problem", "something else", "bin/compose.sh up"),
        ("/api/status", (200, {}), "JupyterLab", "problem", "without a token", "restart tensor-jupyter"),
        (
            "/tf/models",
            (200, {"rules": {"message": "not followed"}}),
            "rules",
            "warning",
            "not followed",
            "/config/rules.json",
        ),
    ],
)
def test_each_service_is_identified_by_its_answer(patient, path, answer, check, level, output, fix):
    patient.answers[path] = answer
    finding = only()
    assert (finding.check, finding.level) == (check, level)
    assert output in finding.found
    assert fix in finding.fix
    assert finding.wanted


def test_a_watcher_that_cannot_read_the_models_is_a_problem(patient):
    patient.answers["/"][1].update(error="/models has not been read for 40 s", looked="2026-11-29T07:00:00+00:00")
    finding = only()
    assert (finding.check, finding.level, finding.fix) == ("watcher", "problem", "bin/compose.sh logs tensor-serving")
    assert finding.found == "/models has not been read for 40 s (last complete look: 2026-11-29T07:00:00+00:00)"


def test_a_service_that_hangs_is_a_problem_too(patient, monkeypatch):
    monkeypatch.setattr(web, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as hung:
        monkeypatch.setenv("LAB_BOARD_URL", f"http://127.0.0.1:{hung.getsockname()[1]}/")
        finding = only()
    assert (finding.check, finding.fix) == ("TensorBoard", "bin/compose.sh restart tensor-board")
    assert "timed out" in finding.found or "no answer" in finding.found
    assert patient.model["serving"]


def test_without_a_gateway_the_model_servers_port_is_tried(patient, monkeypatch):
    monkeypatch.setenv("LAB_REST_URL", "http://127.0.0.1:1")
    (server,) = found("model server")
    assert server.found.startswith(f"accepts connections at 127.0.0.1:{patient.server_port}")
    assert [finding.check for finding in found()] == ["gateway"]
    monkeypatch.setenv("TF_SERVER_HOST_PORT", "127.0.0.1:1")
    assert only("model server").fix == "bin/compose.sh restart tensor-serving"


def test_versions_that_are_held_back_come_with_their_reason(patient):
    patient.model["quarantined"] = [{"version": 3, "reason": "saved_model.pb is missing"}]
    finding = only()
    assert (finding.level, finding.fix) == ("warning", "bin/lab models retry b 3")
    assert finding.found == "b 3 is quarantined: saved_model.pb is missing"

    patient.model["serving"] = []  # now nothing of the model answers
    assert {(each.level, each.found.split(":")[0]) for each in found()} == {
        ("problem", "b 3 is quarantined"),
        ("warning", "none is served"),
    }


def test_what_else_can_be_wrong_with_models(patient, settings):
    patient.model["problems"] = ["serving.json is ignored: line 1"]
    finding = only()
    assert finding.found == "b: serving.json is ignored: line 1"
    assert finding.fix.endswith("models/b/serving.json")

    patient.model["problems"] = []
    (settings.models / "b" / "2").rmdir()
    assert "nothing that is served lies in" in only().found

    del patient.model["serving"]
    assert "cannot be read" in only().found


def test_a_gateway_with_keys_wants_this_workbenchs(patient, monkeypatch):
    patient.key = "lab_right"
    finding = only()
    assert (finding.check, finding.level) == ("API key", "warning")
    assert "python -m tensor_rest key NAME" in finding.fix
    monkeypatch.setenv("LAB_API_KEY", "lab_wrong")
    assert "does not take" in only().found
    assert "lab_wrong" not in lab().output
    monkeypatch.setenv("LAB_API_KEY", "lab_right")
    assert found() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LAB_JUPYTER_PORT", "http"),
        ("LAB_INVENTORY_PORT", "99999"),
        ("LAB_REST_URL", "http://ada:s3cret@127.0.0.1:8080"),
        ("LAB_REST_URL", "http://ada:s3cret"),
        ("TF_SERVER_HOST_PORT", "here:s3cret"),
    ],
)
def test_an_address_that_is_none_is_named_without_what_may_be_a_password(monkeypatch, name, value):
    monkeypatch.delenv("TF_SERVER_INVENTORY_URL", raising=False)
    monkeypatch.setenv(name, value)
    done = lab()
    assert done.exit_code == 1
    assert name in done.stderr
    assert "s3cret" not in done.output
    with pytest.raises(LabError, match=name):
        discovery.find(Settings.read())


def test_in_docker_the_others_are_under_their_names():
    settings = Settings(rest_url="http://tensor-rest:8080", board_url="http://127.0.0.1:6006")
    found = discovery.find(settings, {"LAB_JUPYTER_PORT": "8888", "JUPYTER_TOKEN_FILE": "/run/secrets/jupyter-token"})
    assert (found.board, found.watcher) == ("http://tensor-board:6006", "http://tensor-rest:8502")
    assert (found.serving, found.ports) == (("tensor-rest", 9000), {8888: "tensor-jupyter"})
    assert found.container


def test_a_check_that_hangs_or_raises_holds_up_no_other():
    def broken():
        raise ValueError("as staged")

    results, errors = together({"good": lambda: 1, "hung": threading.Event().wait, "bad": broken}, 0.1)
    assert results == {"good": 1}
    assert str(errors["bad"]) == "as staged"
    assert isinstance(errors["hung"], TimeoutError)
