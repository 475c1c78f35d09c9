"""From a volume to the config file: what is listed, read back with the real proto."""

import os
import shutil
import stat
from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from serving_kit import tiny_saved_model

from tensor_serving import savedmodel
from tensor_serving.catalogue import Catalogue, Model, scan
from tensor_serving.generate import quote, render, write_if_changed
from tensor_serving.layout import NAME
from tensor_serving.savedmodel import SavedModelValidator, fingerprint
from tensor_serving.watch import Watcher


def parsed(text: str) -> dict[str, tuple[str, list[int], dict[str, int]]]:
    """Return base path, versions and labels by model, as the real proto understands the text."""
    from tensorflow_serving.config import model_server_config_pb2

    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    assert config.HasField("model_config_list")
    entries = config.model_config_list.config
    assert all(entry.model_platform == "tensorflow" for entry in entries)
    return {
        entry.name: (
            entry.base_path,
            list(entry.model_version_policy.specific.versions),
            dict(entry.version_labels),
        )
        for entry in entries
    }


def listed(models: Path) -> dict[str, tuple[str, list[int], dict[str, int]]]:
    return parsed(render(scan(models, SavedModelValidator())))


def found(models: Path, name: str) -> Model:
    return next(model for model in scan(models, SavedModelValidator()).models if model.name == name)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for version in ("1", "2", "10"):
        tiny_saved_model(tmp_path / "models" / "net" / version)
    return tmp_path / "models"


def test_the_newest_by_number_is_served(models: Path) -> None:
    assert listed(models) == {"net": (str(models / "net"), [10], {})}
    assert found(models, "net").versions == [1, 2, 10]


def test_only_integers_are_versions_and_the_number_counts(models: Path) -> None:
    for name in ("0012", "v13", "14.0", "-15", "+16", " 17", "0", ".18", "9" * 30, "\u0661", "\u00b2"):
        tiny_saved_model(models / "net" / name)
    (models / "net" / "99").write_text("a file")
    assert found(models, "net").versions == [1, 2, 10, 12]
    assert listed(models)["net"][1] == [12]


def test_an_unsound_newest_version_is_held_back(models: Path) -> None:
    (models / "net" / "10" / "saved_model.pb").write_bytes(b"")
    net = found(models, "net")
    assert (net.versions, net.serving) == ([1, 2], [2])
    assert net.quarantined == {10: "saved_model.pb is incomplete: it is empty"}
    assert listed(models)["net"][1] == [2]


def test_a_model_without_a_sound_version_is_only_reported(models: Path) -> None:
    (models / "empty").mkdir()
    (models / "torn" / "1").mkdir(parents=True)
    assert list(listed(models)) == ["net"]
    assert found(models, "torn").quarantined == {1: "saved_model.pb is missing"}
    assert [model.name for model in scan(models, SavedModelValidator()).models] == ["net", "torn"]


def test_hidden_folders_and_files_are_invisible(models: Path) -> None:
    tiny_saved_model(models / ".staging" / "1")
    tiny_saved_model(models / "net" / ".11")
    (models / "readme").write_text("a file")
    assert list(listed(models)) == ["net"]
    assert scan(models, SavedModelValidator()).ignored == []


@pytest.mark.parametrize(
    ("conf", "serving", "labels", "problem"),
    [
        ('{"model_version_policy": {"all": {}}}', [1, 2, 10], {}, ""),
        ('{"model_version_policy": {"latest": {"num_versions": 2}}}', [2, 10], {}, ""),
        ('{"model_version_policy": {"specific": {"versions": [1]}}}', [1], {}, ""),
        ('{"version_labels": {"stable": 1}}', [1, 10], {"stable": 1}, ""),
        ('{"version_labels": {"stable": 3}}', [10], {}, "label stable is ignored: version 3 is not there"),
        (
            '{"model_version_policy": {"specific": {"versions": [3]}}}',
            [],
            {},
            "nothing is served: no version of [3] in",
        ),
        ('{"model_version_policy": {"newest": {}}}', [10], {}, 'serving.json is ignored: unknown field "newest"'),
    ],
)
def test_serving_json_decides(
    models: Path, conf: str, serving: list[int], labels: dict[str, int], problem: str
) -> None:
    (models / "net" / "serving.json").write_text(conf)
    net = found(models, "net")
    assert (net.serving, net.labels) == (serving, labels)
    assert "".join(net.problems).startswith(problem)
    assert bool(net.problems) == bool(problem)
    assert listed(models) == ({"net": (str(models / "net"), serving, labels)} if serving else {})


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("", None), ("true", True), ("false", False), ("1", False)],
)
def test_independent_rows_are_published(models: Path, value: str, wanted: bool | None) -> None:
    if value:
        (models / "net" / "serving.json").write_text(f'{{"independent_rows": {value}}}')
    assert found(models, "net").document()["independent_rows"] is wanted


def test_a_label_on_a_quarantined_version_is_dropped(models: Path) -> None:
    (models / "net" / "2" / "saved_model.pb").unlink()
    (models / "net" / "serving.json").write_text('{"version_labels": {"stable": 2}}')
    assert found(models, "net").problems == ["label stable is ignored: version 2 is quarantined"]
    assert listed(models)["net"][1:] == ([10], {})


FOLDER_NAMES = st.one_of(
    st.from_regex(NAME, fullmatch=True),
    st.text(st.sampled_from("ab1.-_\"'{}\n\\ \t#:<>é"), min_size=1, max_size=20),
    st.text(min_size=1, max_size=20),
).filter(lambda name: "/" not in name and "\0" not in name and name not in (".", "..") and len(os.fsencode(name)) < 200)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(FOLDER_NAMES, max_size=6))
@example(names={'a" } } model_config_list { config { name: "b', "a\n", "a{", "net"})
def test_exactly_the_sound_names_are_listed_whatever_the_folders_are_called(tmp_path: Path, names: set[str]) -> None:
    models = tmp_path / "volume"
    shutil.rmtree(models, ignore_errors=True)
    for name in names:
        tiny_saved_model(models / name / "1")
    models.mkdir(exist_ok=True)
    sound = {name for name in names if NAME.fullmatch(name)}
    assert listed(models) == {name: (str(models / name), [1], {}) for name in sound}
    near = {n for n in names - sound if not n.startswith(".")}
    assert {one.path for one in scan(models, SavedModelValidator()).ignored} == {os.fsencode(n).decode() for n in near}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_path_survives_quoting(path: str) -> None:
    from tensorflow_serving.config import model_server_config_pb2

    config = text_format.Parse(f"base_path: {quote(path)}", model_server_config_pb2.ModelConfig())
    assert config.base_path == path


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
VERSIONS = st.integers(1, 2**63 - 1)


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    """Any catalogue at all, with names and labels that no volume could hold."""
    names = draw(st.lists(TEXT, unique=True, max_size=4))
    serving = {name: draw(st.lists(VERSIONS, min_size=1, max_size=4, unique=True)) for name in names}
    labels = {name: draw(st.dictionaries(TEXT, st.sampled_from(serving[name]), max_size=3)) for name in names}
    return Catalogue([Model(name, draw(TEXT), serving[name], serving[name], labels[name]) for name in names])


@settings(deadline=None)
@given(catalogues())
def test_the_real_proto_reads_back_exactly_what_was_to_be_listed(catalogue: Catalogue) -> None:
    wanted = {model.name: (model.base_path, model.serving, model.labels) for model in catalogue.models}
    assert parsed(render(catalogue)) == wanted


def test_a_volume_at_an_odd_or_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / 'my "models" {\n}'
    tiny_saved_model(odd / "net" / "1")
    assert listed(odd)["net"][0] == str(odd / "net")
    monkeypatch.chdir(odd)
    assert listed(Path())["net"][0] == str(odd / "net")


def test_the_file_is_written_only_when_it_changes(models: Path, tmp_path: Path) -> None:
    output = tmp_path / "run" / "models.config"
    watcher = Watcher(models, output)
    assert watcher.poll()
    before = output.stat()
    assert stat.S_IMODE(before.st_mode) & 0o044 == 0o044
    assert watcher.poll()
    assert output.stat().st_ino == before.st_ino
    tiny_saved_model(models / "net" / "11")
    assert watcher.poll()
    assert output.stat().st_ino != before.st_ino
    assert [path.name for path in output.parent.iterdir()] == ["models.config"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "models.config"
    write_if_changed(output, "old")

    def no_space(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_if_changed(output, "new")
    assert output.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["models.config"]


def test_an_empty_volume_lists_nothing(tmp_path: Path) -> None:
    assert listed(tmp_path) == {}


@pytest.mark.parametrize(
    ("conf", "loads", "serving"),
    [
        ("{}", [], [2, 10]),
        ("{}", [2], [2, 10]),
        ("{}", [10], [10]),
        ('{"model_version_policy": {"latest": {"num_versions": 2}}}', [], [1, 2, 10]),
        ('{"model_version_policy": {"latest": {"num_versions": 2}}}', [2], [2, 10]),
        ('{"model_version_policy": {"latest": {"num_versions": 9}}}', [], [1, 2, 10]),
        ('{"model_version_policy": {"specific": {"versions": [10]}}}', [], [10]),
        ('{"version_labels": {"stable": 1}}', [], [1, 2, 10]),
    ],
)
def test_until_a_new_version_is_known_to_load_the_one_before_is_served_too(
    models: Path, conf: str, loads: list[int], serving: list[int]
) -> None:
    (models / "net" / "serving.json").write_text(conf)
    validator = SavedModelValidator()
    scan(models, validator)
    for version in loads:
        validator.mark_loaded(models / "net" / str(version))
    assert scan(models, validator, tried=True).models[0].serving == serving
    assert scan(models, validator).models[0].serving == found(models, "net").serving


def test_of_many_models_each_look_takes_as_few_of_the_old_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        for version in range(1, 13):
            tiny_saved_model(tmp_path / f"net-{number}" / str(version))
    looked_at: list[Path] = []
    monkeypatch.setattr(savedmodel, "_CHECKS_PER_POLL", 4)
    monkeypatch.setattr(savedmodel, "fingerprint", lambda folder: looked_at.append(folder) or fingerprint(folder))
    validator, old = SavedModelValidator(), set()
    for _ in range(40):
        looked_at.clear()
        found = scan(tmp_path, validator)
        taken = {path for path in looked_at if path.name in ("1", "2")}
        assert len(taken) <= 4
        old |= taken
    assert len(old) == 20
    assert found.complete


def test_of_thousands_of_versions_each_look_takes_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "net"
    for number in range(1, 1001):
        tiny_saved_model(model / str(number))
    (model / "serving.json").write_text('{"version_labels": {"stable": 3}}')
    looked_at: list[Path] = []
    monkeypatch.setattr(savedmodel, "fingerprint", lambda folder: looked_at.append(folder) or fingerprint(folder))
    validator = SavedModelValidator()

    def look() -> Catalogue:
        looked_at.clear()
        found = scan(tmp_path, validator)
        assert len(looked_at) <= 111
        return found

    first = look()
    assert (first.models[0].serving, first.models[0].labels, first.complete) == ([3, 1000], {"stable": 3}, False)
    looks = [first, *(look() for _ in range(9))]
    assert (looks[-1].complete, looks[-1].models[0].versions) == (True, list(range(1, 1001)))
    (model / "500" / "saved_model.pb").unlink()
    tiny_saved_model(model / "1001")
    assert look().models[0].serving == [3, 1001]
    found = [look().models[0].quarantined for _ in range(10)]
    assert found[-1] == {500: "saved_model.pb is missing"}
    tiny_saved_model(tmp_path / "whole").joinpath("saved_model.pb").rename(model / "500" / "saved_model.pb")
    assert look().models[0].quarantined == {}  # a version held back may be under way: looked at every time
    shutil.rmtree(model / "500")
    assert 500 not in look().models[0].versions
