"""Versions coming and going under a running watcher and server: new before old, a bad one never, no call lost."""

import shutil
import socket
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest
from serving_kit import Client, Command, Lab, wait_until


class Traffic:
    """Calls one after the other until the block ends; the versions that answered, in order, and every failure."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.versions: list[int] = []
        self.failures: list[str] = []
        self._client, self._name, self._stop = Client(lab.serving_port), name, threading.Event()
        self._thread = threading.Thread(target=self._call)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.channel.close()

    def _call(self) -> None:
        while not self._stop.is_set():
            try:
                version, answer = self._client.half(self._name)
                self.versions.append(version)
                if answer != {1: 3.0, 2: 4.0, 3: 3.0}[version]:
                    self.failures.append(f"version {version} answered {answer}")
            except grpc.RpcError as error:
                self.failures.append(f"{error.code()} {error.details()}")


def test_a_new_version_takes_over_without_a_failed_call(lab: Lab) -> None:
    lab.publish("half_plus_two", "swap", 1)
    lab.serving("swap", 1)
    with Traffic(lab, "swap") as traffic:
        wait_until(lambda: len(traffic.versions) > 20)
        lab.publish("half_plus_three", "swap", 2)
        wait_until(lambda: traffic.versions[-1] == 2, what=lab.serve.text())
        lab.publish("half_plus_two", "swap", 3)
        wait_until(lambda: traffic.versions[-1] == 3)
        lab.serving("swap", 3)
    assert traffic.failures == []
    assert traffic.versions == sorted(traffic.versions)
    assert set(traffic.versions) == {1, 2, 3}
    assert {version: state for version, (state, _) in lab.client.status("swap").items()} == {
        3: "AVAILABLE",
        2: "END",
        1: "END",
    }


def test_a_version_copied_in_slowly_is_served_when_it_is_whole(lab: Lab) -> None:
    lab.publish("half_plus_two", "slow", 1)
    lab.serving("slow", 1)
    source, target = lab.exports / "half_plus_three", lab.models / "slow" / "2"
    (target / "variables").mkdir(parents=True)
    data = "variables/variables.data-00000-of-00001"
    for name, share, reason in (
        ("saved_model.pb", 2, "saved_model.pb is incomplete"),
        ("saved_model.pb", 1, "variables/variables.index is missing"),
        (data, 2, "variables/variables.index is missing"),
        ("variables/variables.index", 2, "variables/variables.index is incomplete"),
        ("variables/variables.index", 1, f"{data} is incomplete"),
    ):
        whole = (source / name).read_bytes()
        (target / name).write_bytes(whole[: len(whole) // share])
        wait_until(lambda reason=reason: _reason(lab, "slow", 2).startswith(reason), what=reason)
        assert lab.client.half("slow") == (1, 3.0)
    (target / data).write_bytes((source / data).read_bytes())
    lab.serving("slow", 2)
    assert lab.client.half("slow") == (2, 4.0)
    assert lab.inventory("slow")["quarantined"] == []


def _reason(lab: Lab, name: str, version: int) -> str:
    return next((q["reason"] for q in lab.inventory(name).get("quarantined", []) if q["version"] == version), "")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda version: (version / "saved_model.pb").write_bytes(b""), "saved_model.pb is incomplete: it is empty"),
        (lambda version: shutil.rmtree(version / "variables"), "variables/ is missing, though"),
    ],
    ids=["empty graph", "no variables"],
)
def test_an_unsound_version_is_never_tried(lab: Lab, damage, reason: str, request: pytest.FixtureRequest) -> None:
    name = "torn-" + request.node.callspec.id.replace(" ", "-")
    lab.publish("half_plus_two", name, 1)
    lab.serving(name, 1)
    bad = lab.models / ".staging" / name
    shutil.copytree(lab.exports / "half_plus_three", bad)
    damage(bad)
    bad.rename(lab.models / name / "2")
    wait_until(lambda: _reason(lab, name, 2).startswith(reason))
    lab.publish("half_plus_three", name, 3)
    lab.serving(name, 3)
    assert 2 not in lab.client.status(name)
    assert lab.inventory(name)["versions"] == [1, 3]


def test_a_version_that_looks_whole_but_does_not_load_leaves_the_old_one(lab: Lab) -> None:
    lab.publish("half_plus_two", "flipped", 1)
    lab.serving("flipped", 1)
    bad = lab.models / ".staging" / "flipped"
    shutil.copytree(lab.exports / "half_plus_three", bad)
    data = bytearray((bad / "variables/variables.data-00000-of-00001").read_bytes())
    data[1] ^= 0xFF
    (bad / "variables/variables.data-00000-of-00001").write_bytes(bytes(data))
    bad.rename(lab.models / "flipped" / "2")
    wait_until(lambda: lab.client.status("flipped").get(2, ("", ""))[0] == "END")
    assert "Checksum does not match" in lab.client.status("flipped")[2][1]
    assert lab.client.half("flipped") == (1, 3.0)
    lab.publish("half_plus_two", "flipped", 3)
    lab.serving("flipped", 3)


def test_warm_up_records_are_replayed_and_a_refused_one_is_an_error(lab: Lab) -> None:
    lab.publish("warmed", "warm", 1)
    lab.serving("warm", 1)
    lab.publish("badly_warmed", "warm", 2)
    wait_until(lambda: lab.client.status("warm").get(2, ("", ""))[0] == "END")
    assert "Signature input alias: x" in lab.client.status("warm")[2][1]
    assert lab.client.half("warm") == (1, 3.0)


def test_labels_and_policies_of_serving_json(lab: Lab) -> None:
    for version, export in ((1, "half_plus_two"), (2, "half_plus_three")):
        lab.publish(export, "labelled", version)
    own = lab.models / "labelled" / "serving.json"
    own.write_text('{"version_labels": {"stable": 1}}')
    lab.serving("labelled", 1, 2)
    assert lab.client.half("labelled") == (2, 4.0)
    wait_until(lambda: "stable" in lab.inventory("labelled")["labels"])
    assert lab.client.half("labelled", label="stable") == (1, 3.0)
    assert lab.client.half("labelled", version=1) == (1, 3.0)
    own.write_text('{"version_labels": {"stable": 2}}')
    lab.serving("labelled", 2)
    assert lab.client.half("labelled", label="stable") == (2, 4.0)
    own.write_text('{"model_version_policy": {"specific": {"versions": [1]}}}')
    lab.serving("labelled", 1)
    assert lab.client.half("labelled") == (1, 3.0)


def test_a_removed_model_is_unloaded_and_others_stay(lab: Lab) -> None:
    for name in ("stays", "goes"):
        lab.publish("half_plus_two", name, 1)
        lab.serving(name, 1)
    (lab.models / "goes").rename(lab.models / ".goes")
    lab.serving("goes")
    with pytest.raises(grpc.RpcError) as refusal:
        lab.client.half("goes")
    assert refusal.value.details() == "Servable not found for request: Latest(goes)"
    assert lab.client.half("stays") == (1, 3.0)
    (lab.models / ".goes").rename(lab.models / "goes")
    lab.serving("goes", 1)


def test_a_call_under_way_outlives_its_version(lab: Lab) -> None:
    lab.publish("half_plus_two", "busy", 1)
    lab.serving("busy", 1)
    futures = [
        lab.client.prediction.Predict.future(lab.client.request("busy", "slow", x=np.float32([2])), timeout=120)
        for _ in range(8)
    ]
    lab.publish("half_plus_three", "busy", 2)
    lab.serving("busy", 2)
    assert {future.result().model_spec.version.value for future in futures} <= {1, 2}
    wait_until(lambda: lab.client.status("busy")[1][0] == "END")


def test_the_log_has_one_line_per_event_and_no_noise(lab: Lab) -> None:
    lab.publish("half_plus_two", "hidden", 1)
    lab.serving("hidden", 1)
    (lab.models / "hidden").rename(lab.models / ".hidden")
    lab.serving("hidden")
    wait_until(lambda: "hidden version 1: unloaded" in lab.serve.text())
    events = [
        line.split("hidden version 1: ")[1] for line in lab.serve.text().splitlines() if "hidden version 1: " in line
    ]
    assert [event.split()[0] for event in events] == ["found", "loading", "available", "unloading", "unloaded"]
    noise = [line for line in lab.serve.text().splitlines() if not line.startswith("20")]
    assert noise == []
    assert "oneDNN" not in lab.serve.text()
    assert "Traceback" not in lab.serve.text()


def test_a_restart_loses_no_call_of_a_client_that_waits(tmp_path: Path, exports: Path) -> None:
    """A client that repeats UNAVAILABLE, and nothing else, gets all its answers: late, and right."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    serve = (f"--port={port}", "--model_name=half", f"--model_base_path={tmp_path / 'half'}")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "1").symlink_to(exports / "half_plus_two", target_is_directory=True)
    fast = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100)]
    answers, failures, stop = [], [], threading.Event()

    def call() -> None:
        client = Client(port, fast)
        request = client.request("half", x=np.float32([2]))
        while not stop.is_set():
            try:
                answers.append(client.prediction.Predict(request, timeout=30, wait_for_ready=True).outputs["y"])
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    failures.append(f"{error.code()} {error.details()}")
        client.channel.close()

    callers = [threading.Thread(target=call) for _ in range(8)]
    for caller in callers:
        caller.start()
    try:
        for turn in range(3):
            with Command(tmp_path / f"{turn}.log", "serve", *serve) as command:
                before = len(answers)
                wait_until(lambda before=before: len(answers) > before + 100, what=command.text())
                assert command.stop() == 0
        with Command(tmp_path / "last.log", "serve", *serve) as command:
            stop.set()
            for caller in callers:
                caller.join()
    finally:
        stop.set()
    assert failures == []
    assert {answer.float_val[0] for answer in answers} == {3.0}
