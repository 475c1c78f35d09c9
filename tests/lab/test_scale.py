"""Several model servers of one lab, under load: all are used, one may end, a new version takes over once, and back."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.test_no_call_lost import publish, serve_first_version
from tests.running import Lab, Traffic, kill, new_lab, wait_until


@pytest.fixture
def scaled(lab: Lab) -> Iterator[Lab]:
    """The lab with two model servers; with one again afterwards."""
    lab.compose("scale", "tensor-serving=2")
    yield lab
    lab.compose("scale", "tensor-serving=1")
    assert replicas(lab) == {"healthy": 1, "wanted": 1}


def replicas(lab: Lab) -> Any:
    said = subprocess.run(lab.command("status", "--json"), env=lab.environment, capture_output=True, check=False)
    return json.loads(said.stdout)["replicas"]["tensor-serving"]


def model_servers(lab: Lab) -> list[int]:
    """The process of each; in Docker of each container."""
    found = lab.processes()
    return [pid for name, (_, pid, _) in found.items() if "model-server" in name or "tensor-serving" in name]


def seconds(pid: int) -> float:
    """CPU time of a process and its children; most of it goes into calls."""
    total = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if folder.name == str(pid) or fields[1] == str(pid):
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def shares(lab: Lab, traffic: Traffic) -> list[float]:
    """How the work of many calls is spread over the model servers."""
    servers = model_servers(lab)
    before = [seconds(pid) for pid in servers]
    traffic.more(600)
    spent = [seconds(pid) - start for pid, start in zip(servers, before, strict=True)]
    return [each / sum(spent) for each in spent]


def test_two_model_servers_share_the_calls_and_one_may_end(scaled: Lab) -> None:
    assert replicas(scaled) == {"healthy": 2, "wanted": 2}
    with Traffic(scaled, "mnist-net") as traffic:
        traffic.more()
        assert len(model_servers(scaled)) == 2
        wait_until(lambda: min(shares(scaled, traffic)) > 0.25, 30, "both to be used")
        if scaled.engine == "local":
            kill(model_servers(scaled)[1])
            traffic.more(200)
            wait_until(lambda: replicas(scaled)["healthy"] == 2, 30, "the killed one to be back")
            wait_until(lambda: min(shares(scaled, traffic)) > 0.25, 30, "it to be used")
        scaled.compose("restart", "tensor-serving")
        assert replicas(scaled) == {"healthy": 2, "wanted": 2}
        traffic.more(100)
        scaled.compose("scale", "tensor-serving=1")
        traffic.more(100)
    assert traffic.failures == []
    assert len(model_servers(scaled)) == 1


def test_a_new_version_takes_over_once(scaled: Lab) -> None:
    serve_first_version(scaled, "rolled")
    with Traffic(scaled, "rolled", clients=1) as traffic:
        traffic.more()
        publish(scaled, "rolled", 2)
        wait_until(lambda: "2" in traffic.answers or traffic.failures, 30, "the new version to answer")
        traffic.more(100)
    assert traffic.failures == []
    assert traffic.answers == sorted(traffic.answers)


def test_a_new_lab_has_the_number_that_is_set_until_it_is_scaled() -> None:
    with new_lab() as lab:
        said = lab.compose("up", code=1, LAB_MODEL_SERVERS="many")
        assert "LAB_MODEL_SERVERS='many': set it to auto, or a number from 1 to 16" in said
        lab.compose("up", LAB_MODEL_SERVERS="2")
        assert replicas(lab) == {"healthy": 2, "wanted": 2}
        lab.compose("scale", "tensor-serving=1")
        lab.compose("up", LAB_MODEL_SERVERS="2")
        assert replicas(lab) == {"healthy": 1, "wanted": 1}


def test_what_cannot_be_scaled_is_refused(lab: Lab) -> None:
    for wrong in ("tensor-rest=2", "tensor-serving", "tensor-serving=0", "tensor-serving=17", "tensor-serving=-1"):
        assert "expected tensor-serving=N, N from 1 to 16" in lab.compose("scale", wrong, code=2)
