"""What counts as a whole SavedModel, on real exports damaged in every way a copy or a disk can damage them."""

import contextlib
import errno
import os
import shutil
import struct
import tracemalloc
from pathlib import Path
from typing import BinaryIO

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_kit import tiny_saved_model
from tensorflow_serving.apis import prediction_log_pb2

from tensor_serving import bundle, proto_scanner
from tensor_serving.embedded import tfrecord
from tensor_serving.embedded.errors import ServingError
from tensor_serving.savedmodel import SavedModelValidator

DATA = "variables/variables.data-00000-of-00001"
INDEX = "variables/variables.index"
WARM_UP = "assets.extra/tf_serving_warmup_requests"


@pytest.fixture
def version(exports: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exports / "half_plus_two", tmp_path / "1"))


@pytest.mark.parametrize("name", ["half_plus_two", "stateless", "tf1", "keras", "warmed"])
def test_real_exports_are_sound(exports: Path, name: str) -> None:
    assert SavedModelValidator().problem(exports / name) == ""


def test_without_variables_is_sound(tmp_path: Path) -> None:
    assert SavedModelValidator().problem(tiny_saved_model(tmp_path / "1")) == ""


def test_a_graph_as_text_is_sound_only_where_all_operations_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pbtxt").write_text("meta_graphs {}")
    assert SavedModelValidator().problem(tmp_path).startswith("the operations of a saved_model.pbtxt cannot be checked")
    assert SavedModelValidator({"*"}).problem(tmp_path) == ""


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
    assert SavedModelValidator().problem(version) == reason


def test_a_missing_asset_is_named(exports: Path, tmp_path: Path) -> None:
    version = Path(shutil.copytree(exports / "tf1", tmp_path / "1"))
    (version / "assets" / "words.txt").unlink()
    assert SavedModelValidator().problem(version) == "assets/words.txt is missing"


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index", DATA])
@pytest.mark.parametrize("share", [0, 0.25, 0.5, 0.99])
def test_a_file_cut_short_is_named(version: Path, file: str, share: float) -> None:
    data = (version / file).read_bytes()
    (version / file).write_bytes(data[: int(len(data) * share)])
    assert SavedModelValidator().problem(version).startswith(f"{file} is incomplete: ")


def test_a_graph_for_another_use_is_reported(tmp_path: Path) -> None:
    version = tiny_saved_model(tmp_path / "1")
    graph = version / "saved_model.pb"
    graph.write_bytes(graph.read_bytes().replace(b"serve", b"train"))
    assert (
        SavedModelValidator().problem(version)
        == "saved_model.pb is incomplete: no graph in it is tagged 'serve' (found: train)"
    )


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index", DATA, "assets.extra/batching"])
def test_a_fifo_is_named_and_not_opened(version: Path, name: str) -> None:
    (version / name).parent.mkdir(exist_ok=True)
    (version / name).unlink(missing_ok=True)
    os.mkfifo(version / name)
    assert SavedModelValidator().problem(version) == f"{name} is not a regular file"
    with pytest.raises(OSError, match="it is not a regular file"):
        proto_scanner.open_regular(version / name)


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def block(*entries: tuple[bytes, bytes]) -> bytes:
    """Return a LevelDB block with one restart point; its trailer says that it is not compressed."""
    lengths = [varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in entries]
    return b"".join(lengths) + struct.pack("<II", 0, 1) + bytes(5)


def index(*blocks: bytes, copies: int = 1) -> bytes:
    """Return a table of these blocks; `copies` times as many entries point at each."""
    handles, start = [], 0
    for each in blocks:
        handles += [(b"k", varint(start) + varint(len(each) - 5))] * copies
        start += len(each)
    top = block(*handles)
    footer = varint(0) * 2 + varint(start) + varint(len(top) - 5)
    return b"".join(blocks) + top + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def shard(number: int, size: int = 8) -> bytes:
    """Return the entry of a variable in this data file."""
    return b"\x18" + varint(number) + b"\x28" + varint(size)


def test_an_index_is_read_as_tensorflow_writes_it(version: Path, tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(index(block((b"", b"\x08\x02"), (b"a", shard(0)), (b"b", shard(1, 300)))))
    assert bundle.shards(tmp_path / "index") == (2, {0: 8, 1: 300})
    count, sizes = bundle.shards(version / "variables" / "variables.index")
    assert (count, sizes) == (1, {0: (version / DATA).stat().st_size})


@pytest.mark.parametrize("count", [2**63 - 1, 0x10000000, 2**70 - 1, 4])
def test_an_index_that_counts_too_many_files_costs_nothing(version: Path, count: int) -> None:
    path = version / "variables" / "variables.index"
    path.write_bytes(index(block((b"", b"\x08" + varint(count)), (b"a", shard(0)))))
    tracemalloc.start()
    reason = SavedModelValidator().problem(version)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reason == f"variables/variables.index names {count} data files, more than the 2 files in variables/"
    assert peak < 2**20


def test_an_index_whose_entries_share_a_block_is_refused(version: Path) -> None:
    entries = [(b"k%d" % number, shard(0)) for number in range(1000)]
    (version / "variables" / "variables.index").write_bytes(index(block(*entries), copies=1000))
    assert SavedModelValidator().problem(version) == "variables/variables.index is incomplete: its blocks overlap"


def test_what_cannot_be_read_is_named(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> BinaryIO:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(proto_scanner, "open_regular", refuse)
    assert SavedModelValidator().problem(version) == f"{version / 'saved_model.pb'} cannot be read: Permission denied"


CHANGES = st.lists(st.tuples(st.integers(0), st.binary(min_size=1, max_size=4), st.booleans()), min_size=1, max_size=4)


def changed(data: bytes, changes: list[tuple[int, bytes, bool]], cut: int | None) -> bytes:
    for position, new, insert in changes:
        place = position % len(data)
        data = data[:place] + new + data[place + (0 if insert else len(new)) :]
    return data if cut is None else data[: cut % len(data)]


@pytest.fixture(scope="module")
def damaged(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(exports / "warmed", tmp_path_factory.mktemp("damaged") / "1"))


@settings(max_examples=3000 if os.environ.get("LAB_LONG_TESTS") else 60, deadline=None)
@given(changes=CHANGES, cut=st.none() | st.integers(0), name=st.sampled_from(["saved_model.pb", INDEX, WARM_UP]))
def test_a_version_is_validated_after_any_change_of_its_files(
    damaged: Path, changes: list[tuple[int, bytes, bool]], cut: int | None, name: str
) -> None:
    """A change may pass, but never ends in another exception than the project's own."""
    whole = (damaged / name).read_bytes()
    try:
        (damaged / name).write_bytes(changed(whole, changes, cut))
        assert "cannot be checked" not in SavedModelValidator().problem(damaged)
        with contextlib.suppress(ServingError, DecodeError):
            for record in tfrecord.records(damaged / WARM_UP):
                prediction_log_pb2.PredictionLog.FromString(record)
    finally:
        (damaged / name).write_bytes(whole)


def test_every_cut_of_a_graph_is_noticed(version: Path) -> None:
    data = (version / "saved_model.pb").read_bytes()
    for cut in range(0, len(data), len(data) // 20):
        (version / "saved_model.pb").write_bytes(data[:cut])
        assert SavedModelValidator().problem(version).startswith("saved_model.pb is incomplete: ")


def test_a_version_is_validated_again_when_its_files_change(version: Path) -> None:
    validator = SavedModelValidator()
    whole = (version / DATA).read_bytes()
    (version / DATA).write_bytes(whole[:-1])
    assert validator.problem(version)
    (version / DATA).write_bytes(whole)
    assert validator.problem(version) == ""


class Clock:
    """Seconds that pass by a call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("tensor_serving.savedmodel.time.monotonic", lambda: self.now)


def test_what_the_server_refuses_is_held_back_until_its_files_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, validator, version = Clock(monkeypatch), SavedModelValidator(), tiny_saved_model(tmp_path / "1")
    assert validator.problem(version) == ""
    validator.mark_failed(version, f"NOT_FOUND: {version}/x is\n not there [[{{{{node y}}}}]]")
    reason = "does not load: NOT_FOUND: x is not there"
    assert validator.problem(version) == reason
    clock.now += 100
    assert validator.problem(version) == reason
    (version / "assets").mkdir()
    assert validator.problem(version) == ""


def test_a_refused_version_stays_off_the_list_and_then_on_it_long_enough_to_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, validator, version = Clock(monkeypatch), SavedModelValidator(), tiny_saved_model(tmp_path / "1")
    validator.problem(version)
    validator.mark_failed(version, "broken")
    (version / "assets").mkdir()
    clock.now += 2.9
    assert validator.problem(version) == "does not load: broken"
    clock.now += 0.2
    assert validator.problem(version) == ""
    clock.now += 2.9
    validator.mark_failed(version, "broken")  # what the server still says of the files as they were
    assert validator.problem(version) == ""
    clock.now += 0.2
    validator.mark_failed(version, "broken in another way")
    assert validator.problem(version) == "does not load: broken in another way"


def test_a_version_published_in_place_of_a_deleted_refused_one_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, validator, version = Clock(monkeypatch), SavedModelValidator(), tiny_saved_model(tmp_path / "1")
    validator.problem(version)
    validator.mark_failed(version, "broken")
    shutil.rmtree(version)
    validator.forget({version})
    clock.now += 100
    tiny_saved_model(version)
    assert validator.problem(version) == ""
    validator.mark_failed(version, "broken")  # what the server still says of the deleted one
    assert validator.problem(version) == ""
    clock.now += 3.1
    validator.mark_failed(version, "broken, too")
    assert validator.problem(version) == "does not load: broken, too"


def test_a_version_is_known_to_load_until_its_files_change(tmp_path: Path) -> None:
    validator, version = SavedModelValidator(), tiny_saved_model(tmp_path / "1")
    validator.mark_loaded(version)
    assert not validator.loads(version)  # never validated: not known at all
    validator.problem(version)
    validator.mark_loaded(version)
    assert validator.loads(version)
    (version / "assets").mkdir()
    validator.problem(version)
    assert not validator.loads(version)
