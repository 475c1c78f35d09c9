"""Thresholds and second opinions: which rule fired, who answered, and a file that is read again while all runs."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from api_kit import client_of, files
from gateway_kit import image_file, wait_until
from toy_model_server import Model, ModelServer

TWO = image_file(60)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rules.json"


@pytest.fixture
def client(serves: ModelServer, tmp_path: Path, file: Path) -> Any:
    serves.models["shy-net"] = Model(shift=1)  # says 3 where mnist-net says 2, as surely
    return client_of(serves, tmp_path, rules=file)


def write(file: Path, rules: Any) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(rules if isinstance(rules, str) else json.dumps(rules))
    fresh.rename(file)


def classify(client: Any, path: str = "mnist-net", **query: Any) -> Any:
    answer = client.post(f"/tf/models/{path}/classify", data=files(("a.png", TWO)), query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.json


def rules_of(client: Any) -> Any:
    return client.get("/tf/models").json["rules"]


def test_without_a_file_nothing_fires(client: Any) -> None:
    (result,) = classify(client)["results"]
    assert set(result) == {"name", "labels"}
    assert rules_of(client) == {"models": {}, "message": ""}


def test_a_score_below_the_threshold_is_unsure(client: Any, file: Path) -> None:
    write(file, {"mnist-net": {"min_score": 0.95}})
    (result,) = classify(client)["results"]
    assert result["unsure"] is True
    assert (result["model"], result["version"], result["labels"][0]["label"]) == ("mnist-net", 1, "2")
    assert result["rules"] == [{"model": "mnist-net", "version": 1, "score": 0.91, "min_score": 0.95, "then": None}]


def test_a_score_at_the_threshold_is_sure(client: Any, file: Path) -> None:
    write(file, {"mnist-net": {"min_score": 0.5, "then": "shy-net"}})
    assert set(classify(client)["results"][0]) == {"name", "labels"}


def test_the_model_a_rule_names_answers_in_the_end(client: Any, file: Path) -> None:
    write(file, {"mnist-net": {"min_score": 0.95, "then": "shy-net"}})
    document = classify(client, explain=1)
    assert document["model"] == "mnist-net"
    (result,) = document["results"]
    assert (result["unsure"], result["model"], result["labels"][0]["label"]) == (False, "shy-net", "3")
    assert [rule["then"] for rule in result["rules"]] == ["shy-net"]
    assert document["model_ms"] > 0


def test_only_the_unsure_images_are_handed_on(client: Any, serves: ModelServer, file: Path) -> None:
    import numpy as np

    def by_level(given: Any) -> Any:  # as sure as the image is light
        scores = np.zeros((len(given["images"]), 10), np.float32)
        scores[:, 4] = given["images"].reshape(len(scores), -1).mean(axis=1) / 255
        return {"scores": scores}

    serves.models["mnist-net"].compute = by_level
    write(file, {"mnist-net": {"min_score": 0.3, "then": "shy-net"}})
    images = files(("dark.png", TWO), ("rubbish", b"x"), ("light.png", image_file(120)))
    dark, broken, light = client.post("/tf/models/mnist-net/classify", data=images).json["results"]
    assert (dark["model"], dark["labels"][0]["label"]) == ("shy-net", "3")
    assert "error" in broken
    assert light["labels"][0]["label"] == "4"
    assert "rules" not in light


def test_rules_chain_and_the_last_one_may_be_unsure(client: Any, file: Path) -> None:
    write(file, {"mnist-net": {"min_score": 0.95, "then": "shy-net"}, "shy-net": {"min_score": 1, "then": "bare-net"}})
    (result,) = classify(client)["results"]
    assert [rule["model"] for rule in result["rules"]] == ["mnist-net", "shy-net"]
    assert (result["model"], result["unsure"]) == ("bare-net", False)


def test_a_second_opinion_that_fails_leaves_the_first(client: Any, file: Path) -> None:
    write(file, {"mnist-net": {"min_score": 0.95, "then": "nope-net"}})
    (result,) = classify(client)["results"]
    assert (result["model"], result["unsure"], result["labels"][0]["label"]) == ("mnist-net", True, "2")
    assert "'nope-net' is not served" in result["rules"][0]["error"]


def test_a_request_with_version_or_label_gets_that_one(client: Any, file: Path) -> None:
    write(file, {"mnist-net": {"min_score": 0.95, "then": "shy-net"}})
    for path in ("mnist-net/versions/1", "mnist-net/labels/stable"):
        assert "rules" not in classify(client, path)["results"][0]


def test_a_changed_file_holds_at_once_and_a_removed_one_no_more(client: Any, file: Path) -> None:
    write(file, {"mnist-net": {"min_score": 0.95}})
    assert rules_of(client)["models"] == {"mnist-net": {"min_score": 0.95, "then": None}}
    write(file, {"bare-net": {"min_score": 0.5}})
    wait_until(lambda: list(rules_of(client)["models"]) == ["bare-net"])
    file.unlink()
    wait_until(lambda: rules_of(client)["models"] == {})


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ({"mnist-net": {}}, "min_score"),
        ({"mnist-net": {"min_score": 2}}, "mnist-net.min_score"),
        ({"mnist-net": {"min_score": 0.5, "than": "x"}}, "than"),
        ({"a": {"min_score": 0.5, "then": "b"}, "b": {"min_score": 0.5, "then": "a"}}, "circle: a -> b -> a"),
        ({"a": {"min_score": 0.5, "then": "a"}}, "circle: a -> a"),
    ],
)
def test_a_broken_file_keeps_the_rules_before_it_and_is_reported(
    client: Any, file: Path, broken: Any, text: str
) -> None:
    write(file, {"mnist-net": {"min_score": 0.95}})
    before = rules_of(client)["models"]
    write(file, broken)
    message = wait_until(lambda: rules_of(client)["message"])
    assert text in message
    assert str(file.parent) not in message
    assert rules_of(client)["models"] == before
    assert classify(client)["results"][0]["unsure"] is True
    write(file, {"mnist-net": {"min_score": 0.5}})
    wait_until(lambda: rules_of(client)["message"] == "")


def test_the_file_is_looked_at_once_a_second_at_most(client: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    stat = os.stat

    def counted(path: Any, *rest: Any, **more: Any) -> Any:
        if str(path) == str(file):
            looks.append(path)
        return stat(path, *rest, **more)

    monkeypatch.setattr(os, "stat", counted)
    now = [1000.0]
    monkeypatch.setattr("tensor_rest.inference.rules.time", SimpleNamespace(monotonic=lambda: now[0]))
    for _ in range(5):
        classify(client)
    assert len(looks) == 1
    now[0] += 1.1
    classify(client)
    assert len(looks) == 2
