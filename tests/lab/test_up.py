"""The started lab, from end to end: what a newcomer sees after `bin/compose.sh up`."""

import hashlib
import re
from pathlib import Path

import pytest

from lab_engine.local.services import find_nginx
from lab_engine.verbs import SERVICES
from tests.running import SAMPLES, UNPUBLISHED, Lab, kill, wait_until


def label_of(sample: Path) -> int:
    return int(sample.name.split("_")[1])


def test_up_prints_its_settings_an_answer_and_the_addresses(lab: Lab) -> None:
    published = [str(port) for name, port in lab.ports.items() if name not in UNPUBLISHED]
    for output in ("engine", "tensorflow", lab.engine.title().replace("Local", "local processes"), *published):
        assert output in lab.output
    assert re.search(r"mnist_2_\w+\.jpg -> mnist-net: it is a 2 \(probability 0\.\d+\)", lab.output)
    token = (lab.home / "jupyter.token").read_text()
    for address in (
        lab.url("REST"),
        lab.url("REST", "/tf/"),
        lab.url("JUPYTER", f"/lab/tree/notebook/MNIST/MnistNet.ipynb?token={token}"),
        lab.url("BOARD"),
    ):
        assert address in lab.output


def test_tensorboard_is_under_the_gateways_origin_too(lab: Lab) -> None:
    if lab.engine == "local" and not find_nginx():
        pytest.skip("nginx is not installed")
    assert lab.get("REST", "/tensorboard/data/runs").status == 200
    assert "<title>TensorBoard</title>" in lab.get("REST", "/tensorboard/").body.decode()
    assert '<a href="/tensorboard/">' in lab.get("REST").body.decode()
    assert lab.get("REST", "/tensorboard/data/runs", Host="evil.example").status == 421


def test_a_second_up_changes_nothing(lab: Lab) -> None:
    wait_until_all_run(lab)
    before = lab.processes()
    assert "The lab is up" in lab.compose("up")
    assert lab.processes() == before


def wait_until_all_run(lab: Lab) -> None:
    """A program that began seconds ago is "starting", though its service is healthy by then."""
    wait_until(lambda: {state for state, _, _ in lab.processes().values()} == {"running"}, 30, "every program to run")


def test_ps_and_status_show_every_service(lab: Lab) -> None:
    assert len(lab.processes()) >= 4
    wait_until_all_run(lab)
    status = lab.compose("status")
    assert status.count("healthy") == 4
    assert "mnist-net" in status


def test_logs_show_the_lines_of_one_service_behind_its_processes_names(lab: Lab) -> None:
    lines = lab.compose("logs", "tensor-serving", "-n", "500").splitlines()
    wanted = {"local": {"watcher", "model-server"}, "docker": {lab.container("tensor-serving-cpu")}}
    assert {line.partition(" ")[0] for line in lines} == wanted[lab.engine]
    assert any("mnist-net" in line for line in lines)


def test_unknown_services_and_options_fail_with_the_valid_ones(lab: Lab) -> None:
    assert ", ".join(SERVICES) in lab.compose("restart", "tensorboard", code=1)
    assert "a command is missing" in lab.compose("exec", "tensor-jupyter", code=2)
    assert "--follow" in lab.compose("logs", "--folow", code=2)
    assert "'restart'" in lab.compose("reboot", code=2)
    assert "'auto', 'docker', 'local'" in lab.compose("up", "--engine", "podman", code=2)


def test_the_shipped_model_reads_the_sample_digits(lab: Lab) -> None:
    assert len(SAMPLES) == 100
    best = [lab.post_image("/tf/mnist/mnist-net", sample).json()["classification_result"][0] for sample in SAMPLES]
    right = sum(answer["digit"] == label_of(sample) for answer, sample in zip(best, SAMPLES, strict=True))
    assert right >= 97
    assert len({round(answer["probability"], 3) for answer in best}) > 10  # a model fed 0..255 for 0..1 says 1.0 to all


def test_rules_in_the_state_folder_hold_without_a_restart(lab: Lab) -> None:
    def rules() -> dict[str, object]:
        found: dict[str, object] = lab.get("REST", "/tf/models").json()["rules"]
        return found

    file = lab.home / "config" / "rules.json"
    fresh = file.with_suffix(".new")
    fresh.write_text('{"mnist-net": {"min_score": 0.4}}')
    fresh.rename(file)  # as editors do it; a file that is mounted by itself would stay the one before
    try:
        wanted = {"models": {"mnist-net": {"min_score": 0.4, "then": None}}, "message": ""}
        wait_until(lambda: rules() == wanted, 15, "the rules to hold")
    finally:
        file.unlink()
    wait_until(lambda: rules()["models"] == {}, 15, "the rules to be gone")


def test_predictlabel_answers_in_its_own_shape(lab: Lab) -> None:
    sample = next(sample for sample in SAMPLES if label_of(sample) == 4)
    answer = lab.post_image("/predictlabel", sample).json()
    assert set(answer) == {"most_probable_label", "predictions", "success"}
    assert answer["most_probable_label"] == "4"
    assert answer["success"] is True
    assert sorted(each["label"] for each in answer["predictions"]) == list("0123456789")
    assert all(isinstance(each["probability"], str) for each in answer["predictions"])


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/tf/mnist/mnist-net", b"not an image", 415),
        ("/tf/mnist/mnist-net", b"", 400),
        ("/tf/mnist/mnist-net", SAMPLES[0].read_bytes()[:300], 400),
        ("/tf/mnist/mnist-net", b"\0" * 20_000_000, 413),
        ("/tf/mnist/no-such-model", SAMPLES[0].read_bytes(), 404),
    ],
    ids=["not an image", "empty", "truncated", "20 MB", "unknown model"],
)
def test_a_bad_request_gets_one_clear_json_error(lab: Lab, path: str, content: bytes, status: int) -> None:
    answer = lab.post_image(path, content)
    assert answer.status == status
    error = answer.json()
    assert set(error) == {"message", "code", "request_id"}
    assert error["code"] == status
    assert "Traceback" not in error["message"]


def test_jupyterlab_wants_its_token(lab: Lab) -> None:
    assert lab.get("JUPYTER", "/api/contents").status == 403
    token = (lab.home / "jupyter.token").read_text()
    assert (lab.home / "jupyter.token").stat().st_mode & 0o007 == 0
    assert lab.home.stat().st_mode & 0o077 == 0
    notebook = lab.get(
        "JUPYTER", "/api/contents/notebook/MNIST/MnistNet.ipynb?content=0", Authorization=f"token {token}"
    )
    assert notebook.json()["name"] == "MnistNet.ipynb"


def test_everything_listens_on_loopback_only(lab: Lab) -> None:
    wanted = {port for name, port in lab.ports.items() if lab.engine == "local" or name not in UNPUBLISHED}
    tables = "".join(Path("/proc/net", table).read_text() for table in ("tcp", "tcp6"))
    lines = [line.split() for line in tables.splitlines() if "local_address" not in line]
    local = [line[1].rpartition(":") for line in lines if line[3] == "0A"]
    listening = {int(port, 16): address for address, _, port in local if int(port, 16) in wanted}
    assert set(listening) == wanted
    # 127.0.0.1 and ::ffff:127.0.0.1, as proc(5) writes them
    assert set(listening.values()) <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_a_killed_program_is_restarted_and_ps_shows_it(lab: Lab) -> None:
    for program, (_, pid, restarts) in lab.processes().items():
        try:
            kill(pid)
        except PermissionError:
            pytest.skip("the containers' processes are another user's")

        def is_back(program: str = program, pid: int = pid, restarts: int = restarts) -> bool:
            state, new, count = lab.processes()[program]
            return state == "running" and new != pid and count == restarts + 1

        wait_until(is_back, 60, f"{program} to be restarted")
    wait_until(lambda: lab.compose("status", code=None).count(" healthy") == 4, 60, "every service to be healthy")
    wait_until(lambda: lab.post_image("/tf/mnist/mnist-net", SAMPLES[0]).status == 200, 60, "an answer")


def test_without_model_server_the_gateway_answers_503_and_retry_after(lab: Lab) -> None:
    lab.stop_model_server()
    try:
        answer = lab.post_image("/tf/mnist/mnist-net", SAMPLES[0])
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert set(answer.json()) == {"message", "code", "request_id"}
        assert "not healthy" in lab.compose("status", code=1)
    finally:
        lab.compose("up")  # starts what was stopped
    assert lab.post_image("/tf/mnist/mnist-net", SAMPLES[0]).status == 200


def test_restart_keeps_the_lab_answering_afterwards(lab: Lab) -> None:
    server = {"local": "model-server", "docker": lab.container("tensor-serving-cpu")}[lab.engine]
    pid = lab.processes()[server][1]
    lab.compose("restart", "tensor-serving")
    assert lab.processes()[server][1] != pid
    wait_until(lambda: lab.post_image("/tf/mnist/mnist-net", SAMPLES[0]).status == 200, 30, "an answer")


def test_settings_of_the_gateway_hold_from_the_next_up_on(lab: Lab) -> None:
    key, file = "lab_of-this-test", lab.home / "config" / "keys.txt"
    file.write_text(f"ada:{hashlib.sha256(key.encode()).hexdigest()}\n")
    keys = {"local": str(file), "docker": "/config/keys.txt"}[lab.engine]
    try:
        assert "wants an API key" in lab.compose("up", TENSOR_REST_API_KEYS_FILE=keys)
        assert lab.get("REST", "/tf/models").status == 401
        assert "wants an API key" in lab.compose("status")
        assert lab.get("REST", "/tf/models", **{"X-API-Key": key}).status == 200
        assert "it is a 2" in lab.compose("up", TENSOR_REST_API_KEYS_FILE=keys, LAB_API_KEY=key)
    finally:
        lab.compose("up")
    assert lab.get("REST", "/tf/models").status == 200
