"""The table of running calls: what a process that ended leaves to the next one."""

from pathlib import Path

from tensor_serving.running_versions import RunningVersions, read


def test_calls_that_ran_at_the_end_are_read_with_the_id_of_one_alone(tmp_path: Path) -> None:
    table = RunningVersions(tmp_path / "running")
    one, other = table.slot(Path("/models/m/1")), table.slot(Path("/models/m/2"))
    assert read(tmp_path / "running") == []
    one.set(1, "first")
    assert read(tmp_path / "running") == [(Path("/models/m/1"), "first")]
    one.set(2)  # and it stays unknown which of them is left
    one.set(1)
    other.set(1, "x" * 65)
    assert read(tmp_path / "running") == [(Path("/models/m/1"), ""), (Path("/models/m/2"), "")]
    one.set(0)
    other.free()
    assert read(tmp_path / "running") == []
