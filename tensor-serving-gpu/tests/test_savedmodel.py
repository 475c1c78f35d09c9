"""What counts as a whole SavedModel, on real exports damaged in every way a copy or a disk can damage them."""

import contextlib
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_kit import tiny_saved_model

from tensor_serving import bundle, wire
from tensor_serving.savedmodel import Inspector

DATA = "variables/variables.data-00000-of-00001"


@pytest.fixture
def version(exports: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exports / "half_plus_two", tmp_path / "1"))


@pytest.mark.parametrize("name", ["half_plus_two", "stateless", "tf1", "keras", "warmed"])
def test_real_exports_are_sound(exports: Path, name: str) -> None:
    assert Inspector().problem(exports / name) == ""


def test_without_variables_or_as_text_is_sound(tmp_path: Path) -> None:
    assert Inspector().problem(tiny_saved_model(tmp_path / "1")) == ""
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "saved_model.pbtxt").write_text("meta_graphs {}")
    assert Inspector().problem(tmp_path / "2") == ""


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        ("saved_model.pb", "saved_model.pb is missing"),
        ("variables/variables.index", "variables/variables.index is missing"),
        (DATA, f"{DATA} is missing"),
        ("variables", "variables/ is missing, though saved_model.pb restores variables from it"),
    ],
)
def test_a_missing_part_is_named(version: Path, gone: str, reason: str) -> None:
    path = version / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert Inspector().problem(version) == reason


def test_a_missing_asset_is_named(exports: Path, tmp_path: Path) -> None:
    version = Path(shutil.copytree(exports / "tf1", tmp_path / "1"))
    (version / "assets" / "words.txt").unlink()
    assert Inspector().problem(version) == "assets/words.txt is missing"


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index", DATA])
@pytest.mark.parametrize("share", [0, 0.25, 0.5, 0.99])
def test_a_file_cut_short_is_named(version: Path, file: str, share: float) -> None:
    data = (version / file).read_bytes()
    (version / file).write_bytes(data[: int(len(data) * share)])
    assert Inspector().problem(version).startswith(f"{file} is incomplete: ")


def test_a_graph_for_another_use_is_told(tmp_path: Path) -> None:
    version = tiny_saved_model(tmp_path / "1")
    graph = version / "saved_model.pb"
    graph.write_bytes(graph.read_bytes().replace(b"serve", b"train"))
    assert (
        Inspector().problem(version) == "saved_model.pb is incomplete: no graph in it is tagged 'serve' (found: train)"
    )


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0), flip=st.integers(0), byte=st.integers(0, 255))
def test_no_damage_makes_the_inspector_fail(exports: Path, tmp_path_factory, cut: int, flip: int, byte: int) -> None:
    """Every cut of a graph is noticed; a changed byte may pass, but never ends in another exception."""
    version = tmp_path_factory.getbasetemp() / "damaged"
    shutil.copytree(exports / "half_plus_two", version, dirs_exist_ok=True)
    graph, index = version / "saved_model.pb", version / "variables" / "variables.index"
    data = graph.read_bytes()
    graph.write_bytes(data[: cut % len(data)])
    assert Inspector().problem(version)
    for path in (graph, index):
        data = bytearray((exports / "half_plus_two" / path.relative_to(version)).read_bytes())
        data[flip % len(data)] = byte
        path.write_bytes(bytes(data))
    assert isinstance(Inspector().problem(version), str)
    with contextlib.suppress(wire.TornError):
        bundle.shard_sizes(index)


def test_a_version_is_judged_again_when_its_files_change(version: Path) -> None:
    inspector = Inspector()
    whole = (version / DATA).read_bytes()
    (version / DATA).write_bytes(whole[:-1])
    assert inspector.problem(version)
    (version / DATA).write_bytes(whole)
    assert inspector.problem(version) == ""


class Clock:
    """Seconds that pass when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("tensor_serving.savedmodel.time.monotonic", lambda: self.now)


def test_what_the_server_refuses_is_held_back_until_its_files_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, inspector, version = Clock(monkeypatch), Inspector(), tiny_saved_model(tmp_path / "1")
    assert inspector.problem(version) == ""
    inspector.refuse(version, f"NOT_FOUND: {version}/x is\n not there [[{{{{node y}}}}]]")
    reason = "does not load: NOT_FOUND: x is not there"
    assert inspector.problem(version) == reason
    clock.now += 100
    assert inspector.problem(version) == reason
    (version / "assets").mkdir()
    assert inspector.problem(version) == ""


def test_a_refused_version_stays_off_the_list_and_then_on_it_long_enough_to_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, inspector, version = Clock(monkeypatch), Inspector(), tiny_saved_model(tmp_path / "1")
    inspector.problem(version)
    inspector.refuse(version, "broken")
    (version / "assets").mkdir()
    clock.now += 2.9
    assert inspector.problem(version) == "does not load: broken"
    clock.now += 0.2
    assert inspector.problem(version) == ""
    clock.now += 2.9
    inspector.refuse(version, "broken")  # what the server still says of the files as they were
    assert inspector.problem(version) == ""
    clock.now += 0.2
    inspector.refuse(version, "broken in another way")
    assert inspector.problem(version) == "does not load: broken in another way"


def test_a_version_is_known_to_load_until_its_files_change(tmp_path: Path) -> None:
    inspector, version = Inspector(), tiny_saved_model(tmp_path / "1")
    inspector.accept(version)
    assert not inspector.loads(version)  # never judged: not known at all
    inspector.problem(version)
    inspector.accept(version)
    assert inspector.loads(version)
    (version / "assets").mkdir()
    inspector.problem(version)
    assert not inspector.loads(version)
