"""Labels, promotion, rollback and deletion as they end up in serving.json and in the models volume."""

import contextlib
import stat
import threading

import pytest

from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing import serving_settings
from tensor_jupyter.publishing.registry import Registry
from tensor_jupyter.publishing.reports import Reports
from tensor_jupyter.publishing.serving_settings import ServingSettings

MINE = """{
  "model_version_policy": {
    "latest": {
      "num_versions": 2
    }
  },
  "version_labels": {
    "canary": 3
  }
}
"""


@pytest.fixture
def registry(tmp_path):
    """A model with the versions 1 to 4; 5 is a folder without a model."""
    for number in range(1, 6):
        (tmp_path / "m" / str(number)).mkdir(parents=True)
        if number < 5:
            (tmp_path / "m" / str(number) / "saved_model.pb").touch()
    return Registry(tmp_path, "m")


def conf_of(registry):
    path = registry.family / "serving.json"
    return path.read_text() if path.exists() else None


@pytest.mark.parametrize(
    ("document", "listed"),
    [
        ({}, [4]),
        ({"version_labels": {"canary": 3}, "model_version_policy": {"latest": {"num_versions": 2}}}, [3, 4]),
        ({"version_labels": {"stable": 1}}, [1, 4]),
        ({"model_version_policy": {"all": {}}}, [1, 2, 3, 4]),
        ({"model_version_policy": {"specific": {"versions": [1, 9, 2]}}}, [1, 2]),
        ({"model_version_policy": {"latest": {}}}, [4]),
    ],
)
def test_what_the_file_lists(document, listed):
    settings = ServingSettings.model_validate(document)
    assert settings.document == document
    assert settings.listed([4, 3, 2, 1]) == listed


def test_what_a_person_wrote_stays(registry):
    (registry.family / "serving.json").write_text(MINE)
    registry.label("canary", 3)
    assert conf_of(registry) == MINE
    registry.label("stable", 2)
    assert conf_of(registry) == MINE.replace("3\n", '3,\n    "stable": 2\n')
    registry.label("canary", 4)
    assert registry.settings().labels == {"canary": 4, "stable": 2}
    registry.rollback([1, 2, 3, 4], target=3)
    assert registry.settings().pinned == (3,)
    assert registry.settings().labels == {"stable": 3}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"max_load_attempts": 3}', "max_load_attempts: Extra inputs are not permitted"),
        ('{"version_labels": {}, "version_labels": {}}', "'version_labels' is given twice"),
        ('{"version_labels": {"A": 1}}', "version_labels.A.[key]: String should match pattern"),
        ('{"version_labels": {"a": 0}}', "version_labels.a: Input should be greater than or equal to 1"),
        ('{"model_version_policy": {}}', "model_version_policy: expected an object with one of latest, all, specific"),
        ('{"model_version_policy": {"specific": {}}}', "model_version_policy.specific.specific.versions: Field req"),
        ('{"independent_rows": "maybe"}', "independent_rows: Input should be a valid boolean"),
        ("{", "line 1 column 2"),
        ("[]", "the file: Input should be a valid dict"),
        ("[" * 60_000, "nested too deeply"),
        ('"' + "x" * 70_000 + '"', "larger than"),
    ],
)
def test_a_file_that_is_not_understood_is_left_alone(registry, text, reason):
    (registry.family / "serving.json").write_text(text)
    with pytest.raises(LabError, match=r"serving.json is not changed") as raised:
        registry.label("stable", 2)
    assert reason in str(raised.value)
    assert conf_of(registry) == text


def test_labels_go_on_versions_that_are_there_under_names_that_can_be_called(registry):
    with pytest.raises(LabError, match="m has no version 7: there are 1, 2, 3, 4, 5"):
        registry.label("stable", 7)
    with pytest.raises(LabError, match="A label cannot be called 'No!'"):
        registry.label("No!", 1)
    with pytest.raises(LabError, match="There is no model n in"):
        Registry(registry.models, "n").label("stable", 1)


def test_the_default_is_stable_where_that_is_served():
    assert ServingSettings().default([1, 2]) == 2
    assert ServingSettings().with_label("stable", 1).default([1, 2]) == 1
    assert ServingSettings().with_label("stable", 7).default([1, 2]) == 2
    assert ServingSettings().default([]) == 0


def test_a_label_is_a_persons_unless_it_was_set_with_a_publication(registry):
    assert not registry.is_chosen()
    registry.set_default(3, 4)
    assert registry.settings().labels == {"stable": 3, "candidate": 4}
    assert not registry.is_chosen()
    registry.promote(4, "stable")
    assert registry.settings().labels == {"stable": 4}
    assert registry.is_chosen()
    registry.set_default(None)
    assert registry.settings().labels == {}
    (registry.family / "serving.json").write_text('{"version_labels": {"stable": 1}}')
    assert registry.is_chosen()


def test_rollback_goes_to_the_version_that_was_stable_before(registry):
    """2 and 3 were never promoted."""
    registry.promote(1, "stable")
    registry.promote(4, "stable")
    assert registry.rollback([1, 2, 3, 4]) == (4, 1)
    assert registry.settings().listed([1, 2, 3, 4]) == [1]
    assert registry.settings().labels == {"stable": 1}
    with pytest.raises(LabError, match="no sound version before 1"):
        registry.rollback([1, 2, 3, 4])
    assert [entry["did"] for entry in registry.log()] == ["promote", "promote", "rollback"]


def test_rollback_goes_one_down_where_nothing_was_promoted_and_passes_over_the_quarantined(registry):
    assert registry.rollback([1, 2, 4]) == (4, 2)
    assert registry.rollback([1, 2, 4]) == (2, 1)
    assert registry.rollback([1, 2, 4], target=4) == (1, 4)
    with pytest.raises(LabError, match="no sound version 3: there are 1, 2, 4"):
        registry.rollback([1, 2, 4], target=3)


def test_a_promotion_ends_the_pin_of_a_rollback(registry):
    registry.rollback([1, 2, 3, 4])
    registry.promote(2, "canary")
    assert registry.settings().pinned == (3,)
    registry.promote(2, "stable")
    assert registry.settings().pinned == (2,)
    (registry.family / "6").mkdir()
    (registry.family / "6" / "saved_model.pb").touch()
    registry.promote(6, "stable")
    assert registry.settings().pinned == ()
    assert registry.settings().listed(registry.numbers()) == [2, 6]


def test_served_and_labelled_versions_are_deleted_by_force_only_and_the_last_never(registry):
    registry.label("canary", 2)
    registry.store_report(3, {"passed": True})
    with pytest.raises(LabError, match="is labelled canary"):
        registry.delete(2, [1, 2, 3, 4])
    with pytest.raises(LabError, match="Version 4 of m is served"):
        registry.delete(4, [1, 2, 3, 4])
    registry.delete(3, [1, 2, 3, 4])
    registry.delete(2, [1, 2, 4], force=True)
    registry.delete(5, [1, 4])
    registry.delete(4, [1, 4], force=True)
    with pytest.raises(LabError, match="last sound one of m"):
        registry.delete(1, [1], force=True)
    assert registry.numbers() == [1]
    assert conf_of(registry) is None
    assert registry.report(3) is None
    assert list((registry.models / ".staging").iterdir()) == []


def test_a_version_promoted_meanwhile_is_not_deleted(registry, monkeypatch):
    locked = Reports.locked

    @contextlib.contextmanager
    def after_another_process(reports):
        serving_settings.write(registry.family, registry.settings().with_label("stable", 2))
        with locked(reports):
            yield

    monkeypatch.setattr(Reports, "locked", after_another_process)
    with pytest.raises(LabError, match="is labelled stable"):
        registry.delete(2, [1, 2, 3, 4])
    assert registry.folder(2).is_dir()
    assert registry.settings().labels == {"stable": 2}


def test_reports_can_be_written_by_another_user_of_the_group(registry):
    registry.family.chmod(0o2775)
    registry.label("canary", 3)
    registry.store_report(3, {"passed": True})
    reports = registry.family / ".reports"
    assert {path.name for path in reports.iterdir()} == {".lock", "log.jsonl", "3.json"}
    assert all(path.stat().st_mode & stat.S_IWGRP for path in (reports, *reports.iterdir()))


def test_a_pinned_version_deleted_by_force_takes_its_pin_along(registry):
    registry.rollback([1, 2, 3, 4])
    registry.delete(3, [1, 2, 3, 4], force=True)
    assert registry.settings().listed(registry.numbers()) == [4]
    (registry.family / "serving.json").write_text('{"model_version_policy": {"specific": {"versions": [1, 2]}}}')
    with pytest.raises(LabError, match="names version 2 beside others"):
        registry.delete(2, [1, 2, 4], force=True)
    assert registry.numbers() == [1, 2, 4]


def test_a_retry_changes_nothing_but_a_time(registry):
    graph = registry.family / "4" / "saved_model.pb"
    before = graph.stat()
    registry.retry(4)
    assert graph.stat().st_mtime_ns > before.st_mtime_ns
    assert graph.stat().st_size == before.st_size
    with pytest.raises(LabError, match="holds no file"):
        registry.retry(5)


def test_changes_at_once_are_all_made(registry):
    jobs = [threading.Thread(target=registry.label, args=(f"l{number}", 1 + number % 4)) for number in range(24)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert registry.settings().labels == {f"l{number}": 1 + number % 4 for number in range(24)}
    assert len(registry.log()) == 24


def test_a_report_of_before_is_read_under_the_names_of_now(registry):
    registry.store_report(1, {"schema": 1, "checks": [{"name": "accuracy", "passed": True, "told": "it is 99 %"}]})
    assert registry.report(1)["checks"] == [{"name": "accuracy", "passed": True, "message": "it is 99 %"}]
