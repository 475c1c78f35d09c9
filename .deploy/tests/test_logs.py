"""Logs: the last lines, and what is added, also when the file starts anew."""

from pathlib import Path

import pytest

from lab_engine import settings
from lab_engine.local import logs
from lab_engine.settings import Settings


@pytest.fixture
def lab(tmp_path: Path) -> Settings:
    (tmp_path / "run" / "log").mkdir(parents=True)
    return settings.load({"LAB_HOME": str(tmp_path)})


def test_the_last_lines_of_a_log(lab: Settings) -> None:
    (lab.run / "log" / "uwsgi.log").write_text("one\ntwo\nthree\n")
    assert logs.last_lines(lab, "uwsgi", 2) == ["two", "three"]
    assert logs.last_lines(lab, "nginx", 2) == []
    assert logs.last_lines(lab, "uwsgi", 0) == []


def test_as_many_lines_as_requested(lab: Settings) -> None:
    lines = [f"{number} {'x' * 100}" for number in range(10_000)]  # a megabyte
    (lab.run / "log" / "uwsgi.log").write_text("\n".join(lines))
    assert logs.last_lines(lab, "uwsgi", 100_000) == lines


def test_a_tail_gives_whole_lines_across_a_rotation(lab: Settings) -> None:
    path = lab.run / "log" / "uwsgi.log"
    path.write_text("old\n")
    tail = logs._Tail(path)
    with path.open("a") as file:
        file.write("new\nha")
    assert list(tail.new_lines()) == ["new"]
    with path.open("a") as file:
        file.write("lf\n")
    assert list(tail.new_lines()) == ["half"]
    path.write_text("anew\n")
    assert list(tail.new_lines()) == ["anew"]
