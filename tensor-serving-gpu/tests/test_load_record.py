"""The record of loads: what it blames for a crash, what it holds back, and what it forgets."""

import shutil
from pathlib import Path

import pytest
from serving_kit import tiny_saved_model

from tensor_serving import load_record
from tensor_serving.load_record import LoadRecord
from tensor_serving.server_output import events


@pytest.fixture
def versions(tmp_path: Path) -> list[Path]:
    return [tiny_saved_model(tmp_path / name / "1") for name in "abc"]


def held(record: LoadRecord, versions: list[Path]) -> list[str]:
    return [version.parent.name for version in versions if record.reason(version)]


def test_the_version_being_loaded_is_held_until_replaced(tmp_path: Path, versions: list[Path]) -> None:
    file = tmp_path / "state" / "loads.json"
    LoadRecord(file).begin(versions[0])
    record = LoadRecord(file)  # as after a crash of the process that kept it
    assert record.loading() == [versions[0]]
    record.server_crashed("Aborted", by_itself=True)
    record = LoadRecord(file)
    assert record.reason(versions[0]) == "ended the model server while it was loaded or warmed up (Aborted)"
    assert record.retry() == []
    (versions[0] / "saved_model.pb").touch()
    assert record.reason(versions[0]) == ""
    record.begin(versions[0])
    record.server_stopped()
    record.server_crashed("Aborted", by_itself=True)
    assert held(LoadRecord(file), versions) == []
    record.begin(versions[1])
    record.server_crashed("Aborted", by_itself=True)
    shutil.rmtree(versions[1])
    record.begin(versions[0])
    assert str(versions[1]) not in file.read_text()


def test_a_kill_from_outside_is_a_reason_only_when_repeated(versions: list[Path]) -> None:
    record = LoadRecord()
    for expected in ([], ["a"]):
        record.begin(versions[0])
        assert record.server_crashed("Killed", by_itself=False) == [versions[0]]
        assert held(record, versions) == expected
    record.begin(versions[1])
    record.server_crashed("Killed", by_itself=False)
    record.begin(versions[1])
    record.loaded(versions[1])
    record.begin(versions[1])
    record.server_crashed("Killed", by_itself=False)
    assert held(record, versions) == ["a"]


def test_running_out_of_memory_is_a_reason_at_once(versions: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    record, kills = LoadRecord(), iter([4, 5])
    monkeypatch.setattr(load_record, "_oom_kills", lambda: next(kills))
    record.begin(versions[0])
    record.server_crashed("Killed", by_itself=False)
    assert record.reason(versions[0]).endswith("(out of memory)")


def test_crashes_in_calls_count_for_an_hour(versions: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    record, now = LoadRecord(), 1e9
    record.begin(versions[0])
    record.loaded(versions[0])
    monkeypatch.setattr(load_record.time, "time", lambda: now)
    for minutes, expected in ((0, []), (40, []), (80, []), (90, ["a"])):
        now = 1e9 + 60 * minutes
        record.call_crashed(versions[0], "Aborted")
        assert held(record, versions) == expected, minutes


def test_of_several_the_one_that_never_loaded_is_held(versions: list[Path]) -> None:
    record = LoadRecord()
    for version in versions[:2]:
        record.begin(version)
        record.loaded(version)
    for version in versions:
        record.begin(version)
    record.server_crashed("Aborted", by_itself=True)
    assert held(record, versions) == ["c"]


def test_suspects_are_tried_one_by_one(versions: list[Path]) -> None:
    record, listed = LoadRecord(), set()
    for version in versions:
        record.begin(version)
    record.server_crashed("Aborted", by_itself=True)
    assert held(record, versions) == ["a", "b", "c"]
    for version in versions:
        assert record.retry_suspect(listed) == version
        listed.add(version)
        assert record.retry_suspect(listed) is None
        record.begin(version)
        if version == versions[1]:
            record.server_crashed("Aborted", by_itself=True)
        else:
            record.loaded(version)
    assert held(record, versions) == ["b"]
    assert record.retry_suspect(listed) is None


@pytest.mark.parametrize("text", ["", "[", "{}", '{"oom_kills": 0, "versions": {"/a": {"files": 1}}}', "[" * 100_000])
def test_a_record_that_cannot_be_read_is_empty(tmp_path: Path, versions: list[Path], text: str) -> None:
    file = tmp_path / "loads.json"
    file.write_text(text)
    record = LoadRecord(file)
    record.failed(versions[0], "torn")
    assert LoadRecord(file).reason(versions[0]) == "torn"


def test_a_record_that_cannot_be_removed_is_logged_once(
    tmp_path: Path, versions: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    record = LoadRecord(tmp_path)  # a folder
    caplog.clear()
    for version in versions:
        record.begin(version)
    assert len(caplog.records) == 1


def test_a_record_that_cannot_be_written_holds_in_memory(tmp_path: Path, versions: list[Path]) -> None:
    (tmp_path / "file").touch()
    record = LoadRecord(tmp_path / "file" / "loads.json")
    record.failed(versions[0], "torn")
    assert record.reason(versions[0]) == "torn"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b": I x.cc:71] Loading servable version {name: a version: 1}", [("loading", "a", 1, "")]),
        (b": I x.cc:95] Successfully loaded servable version {name: a-b version: 12}", [("loaded", "a-b", 12, "")]),
        (
            b": E x.cc:37] Loading servable: {name: a version: 1} failed: Data loss: x",
            [("failed", "a", 1, "Data loss: x")],
        ),
        (
            b"Failed to start server. Error: Unknown: 2 servable(s) did not become available: "
            b"{{{name: a version: 1} due to error: NOT_FOUND: x}, {{name: b version: 2} due to error: y\n",
            [("failed", "a", 1, "NOT_FOUND: x"), ("failed", "b", 2, "y")],
        ),
        (b"}, {{name: c version: 3} due to error: z}, }", [("failed", "c", 3, "z")]),
        (b"Loading servable version {name: A version: x}", []),
        (b"\xff\xfe", []),
    ],
)
def test_output_names_what_is_loaded_and_what_failed(line: bytes, found: list[tuple[str, str, int, str]]) -> None:
    assert events(line) == found
