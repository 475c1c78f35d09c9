"""`lab runs`: what TensorBoard shows, listed and deleted."""

import json

import pytest
from typer.testing import CliRunner

from tensor_jupyter.cli import app


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """lab(*words): the finished command, with three runs in its logs."""
    monkeypatch.setenv("LAB_LOGS", str(tmp_path / "logs"))
    monkeypatch.setenv("LAB_MODELS", str(tmp_path / "models"))
    for run in ("a/1", "a/2", "b/1"):
        (tmp_path / "logs" / run).mkdir(parents=True)
        (tmp_path / "logs" / run / "events").write_bytes(b"x" * 1000)
    (tmp_path / "models" / "a" / "2").mkdir(parents=True)

    def run(*words, code=0):
        done = CliRunner().invoke(app, ["runs", *map(str, words)])
        assert done.exit_code == code, done.output
        return done

    return run


def listed(lab):
    return [(run["run"], run["bytes"], run["published"]) for run in json.loads(lab("list", "--json").stdout)["runs"]]


def test_runs_are_listed_newest_first(lab):
    assert listed(lab) == [("a/2", 1000, True), ("a/1", 1000, False), ("b/1", 1000, False)]
    assert "a/2" in lab("list").stdout


def test_one_run_or_all_of_a_model_are_deleted(lab, tmp_path):
    assert lab("delete", "a", 1).stdout == "Deleted: a/1\n"
    assert "add --yes if that is meant" in lab("delete", "a", "--all", code=1).stderr
    lab("delete", "a", "--all", "--yes")
    assert listed(lab) == [("b/1", 1000, False)]
    assert (tmp_path / "models" / "a" / "2").is_dir()


def test_what_is_not_there_is_named(lab):
    assert "a has no run 7" in lab("delete", "a", 7, code=1).stderr
    assert "c has no runs" in lab("delete", "c", "--all", "--yes", code=1).stderr
    assert "cannot be called '../a'" in lab("delete", "../a", 1, code=1).stderr
    lab("delete", "a", code=2)
