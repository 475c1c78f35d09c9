"""Names, numbers and paths of a version; nothing is ever deleted."""

import concurrent.futures
import threading

import pytest

from tensor_jupyter.context import Context
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings


def files(root):
    return sorted(str(path) for path in root.rglob("*"))


def test_the_first_version_is_one_and_nothing_is_touched(settings, tmp_path):
    context = Context("mnist-net", settings=settings)
    assert context.version == 1
    assert context.model_dir == tmp_path / "models/mnist-net/1"
    assert context.log_dir == tmp_path / "logs/mnist-net/1"
    assert context.checkpoint_dir == tmp_path / "data/checkpoints/mnist-net/1"
    assert context.keras_file == tmp_path / "data/keras/mnist-net/1.keras"
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("models", "logs", "expected"),
    [
        (["1", "2"], [], 3),
        ([], ["1", "2"], 3),
        (["9"], ["10"], 11),
        (["10"], ["9"], 11),
        (["007"], [], 8),
        ([".staging", "x1", "1x", "-5", "1.5", "²"], ["latest"], 1),
        (["99999999999999999999", "4"], [], 5),
    ],
)
def test_the_next_version_follows_all_models_and_logs(settings, models, logs, expected):
    for root, names in ((settings.models, models), (settings.logs, logs)):
        for name in names:
            (root / "mnist-net" / name).mkdir(parents=True)
    (settings.models / "other" / "77").mkdir(parents=True)
    assert Context("mnist-net", settings=settings).version == expected


def test_a_file_is_no_version(settings):
    (settings.models / "mnist-net").mkdir(parents=True)
    (settings.models / "mnist-net" / "5").touch()
    assert Context("mnist-net", settings=settings).version == 1


@pytest.mark.parametrize("name", ["", "Mnist", "-a", ".a", "a/b", "../a", "a b", "ä", "a" * 64, "a\n"])
def test_a_name_that_cannot_be_served_is_refused(settings, name):
    with pytest.raises(LabError, match=r"cannot be called .* as in 'mnist-net'"):
        Context(name, settings=settings)


@pytest.mark.parametrize("name", ["a", "0", "mnist-net", "a.b_c-d", "a" * 63])
def test_names_at_the_edge_are_taken(settings, name):
    assert Context(name, settings=settings).name == name


@pytest.mark.parametrize("version", [0, -1, 2**63, "3", 1.5])
def test_a_version_that_cannot_be_served_is_refused(settings, version):
    with pytest.raises(LabError, match="positive whole number"):
        Context("mnist-net", version, settings)


def test_two_contexts_that_train_do_not_share_a_log_folder(settings):
    first, second = Context("m", settings=settings), Context("m", settings=settings)
    assert first.version == second.version == 1
    first.claim()
    second.claim()
    assert (first.version, second.version) == (1, 2)
    first.claim()  # trained again
    assert first.version == 3


def test_an_unwritable_folder_fails_before_training(settings, monkeypatch):
    """Staged, because root may write everywhere."""
    monkeypatch.setattr("os.access", lambda path, _: path != settings.models)
    with pytest.raises(LabError, match=r"models cannot be written by user \d+; it belongs to \d+"):
        Context("m", settings=settings).claim()
    assert not settings.logs.exists()


def test_contexts_that_claim_at_the_same_moment_get_numbers_of_their_own(settings):
    contexts = [Context("m", settings=settings) for _ in range(16)]
    barrier = threading.Barrier(len(contexts))

    def claim(context):
        barrier.wait(timeout=30)
        context.claim()

    with concurrent.futures.ThreadPoolExecutor(len(contexts)) as pool:
        list(pool.map(claim, contexts))
    assert sorted(context.version for context in contexts) == list(range(1, 17))


def test_a_published_version_is_not_claimed_again_and_nothing_is_lost(settings, tmp_path):
    published = settings.models / "m" / "4"
    published.mkdir(parents=True)
    (published / "saved_model.pb").write_text("model")
    (settings.logs / "m" / "4").mkdir(parents=True)
    before = files(tmp_path)
    with pytest.raises(LabError, match=r"Version 4 of m is published.*next free one is 5"):
        Context("m", 4, settings).claim()
    assert files(tmp_path) == before
    Context("m", settings=settings).claim()
    assert set(before) < set(files(tmp_path))


def test_an_empty_variable_is_as_good_as_none(monkeypatch):
    """Docker's compose file passes LAB_OFFLINE on, empty where it is not set."""
    monkeypatch.setenv("LAB_OFFLINE", "")
    monkeypatch.setenv("LAB_REST_URL", "")
    assert (Settings.read().offline, Settings.read().rest_url) == (False, Settings().rest_url)
    assert Settings.read().offline is False
    assert Settings.read().rest_url == "http://127.0.0.1:8080"
