"""What a run leaves for TensorBoard, read back as TensorBoard reads it."""

import io
import json
import subprocess
import sys
import urllib.parse
import urllib.request

import keras
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.projector import ProjectorConfig
from training_kit import bars, context_in, free_port, until

from tensor_jupyter.training import Run, train
from tensor_jupyter.training.fit import steps_per_epoch

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Confuse(keras.callbacks.Callback):
    """At the end, the last layer answers the wrong way round: everything is misclassified."""

    def on_train_end(self, logs=None):  # noqa: ARG002 - Keras names it
        scores = self.model.get_layer("scores")
        scores.set_weights([-weight for weight in scores.get_weights()])
        self.model.save(self.folder / "best.keras")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The log folders of two runs, 1 and 2, of the dnn on bars; the second is all wrong. Their volume is the parent."""
    root = tmp_path_factory.mktemp("runs")
    folders = []
    for confused in (False, True):
        context = context_in(root)
        confuse = Confuse()
        confuse.folder = context.checkpoint_dir
        more = [confuse] if confused else []
        train(
            Run(network="dnn", epochs=1 + confused, batch_size=256), bars(count=400), context, verbose=0, callbacks=more
        )
        folders.append(context.log_dir)
    return folders


def events(folder):
    return EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()


def image(tags, name):
    """The image of an image summary: width, height and PNG bytes are what it holds."""
    return Image.open(io.BytesIO(tags.Tensors(name)[0].tensor_proto.string_val[2]))


def test_scalars_of_epochs_and_batches_histograms_and_the_graph(runs):
    first, second = runs
    train_events, validation = events(second / "train"), events(second / "validation")
    tags = train_events.Tags()
    assert {"epoch_accuracy", "epoch_loss", "batch_loss", "batch_accuracy", "epoch_learning_rate"} <= set(
        tags["tensors"]
    )
    assert {"dense1/kernel/histogram", "features/bias/histogram", "scores/bias/histogram"} <= set(tags["tensors"])
    assert tags["graph"]
    assert "dense1" in str(train_events.Graph())
    assert [event.step for event in train_events.Tensors("epoch_loss")] == [0, 1]
    assert [event.step for event in train_events.Tensors("batch_loss")] == list(range(44))
    assert {"epoch_accuracy", "epoch_loss"} == set(validation.Tags()["tensors"])
    assert len(events(first / "validation").Tensors("epoch_loss")) == 1


def test_images_of_the_data_and_of_what_goes_wrong(runs):
    first, second = (events(folder) for folder in runs)
    samples = {"samples/as_they_are", "samples/as_they_are_varied", "confusion_matrix", "test_accuracy"}
    assert samples <= set(first.Tags()["tensors"])
    assert image(first, "samples/as_they_are").width > 400
    assert "misclassified" in second.Tags()["tensors"]
    right, wrong = (np.asarray(image(one, "confusion_matrix").convert("L")).astype(int) for one in (first, second))
    half = right.shape[0] - 34  # the last row's cells: lies answered stands, lies answered lies
    dark = [[pixels[half:, -68:-34].mean(), pixels[half:, -34:].mean()] for pixels in (right, wrong)]
    assert dark[0][1] < dark[0][0]
    assert dark[1][0] < dark[1][1]


def test_precision_and_recall_of_each_label(runs):
    tags = events(runs[0])
    assert {"precision_recall/stands", "precision_recall/lies"} == {
        tag.removesuffix("/pr_curves") for tag in tags.PluginTagToContent("pr_curves")
    }


def test_the_projector_has_vectors_labels_and_thumbnails(runs):
    from google.protobuf import text_format

    folder = runs[0]
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (embedding,) = config.embeddings
    vectors = np.fromfile(folder / embedding.tensor_path, np.float32).reshape(embedding.tensor_shape)
    assert vectors.shape == (40, 64)
    assert (folder / embedding.metadata_path).read_text().split() == ["stands", "lies"] * 20
    with Image.open(folder / embedding.sprite.image_path) as sprite:
        assert sprite.size == (7 * 32, 7 * 32)


def test_a_board_that_runs_shows_a_new_run_and_compares_hyper_parameters(runs, tmp_path):
    """The real TensorBoard: it is there before the run is, and is not restarted."""
    logs, port = runs[0].parents[1], free_port()
    empty = tmp_path / "logs"
    empty.mkdir()
    base = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tensorboard.main", f"--logdir={empty}", f"--port={port}", "--host=127.0.0.1"),
            *("--reload_interval=1", "--reload_multifile=true", "--load_fast=false"),
        ],
        stderr=subprocess.DEVNULL,
    )

    def fetch(path, body=None):
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"{base}{path}", data, {"Content-Type": "application/json"})
        with HTTP.open(request, timeout=20) as answer:
            return json.load(answer)

    try:
        until(lambda: fetch("/data/runs") == [], 60)
        (empty / "bars").symlink_to(logs / "bars")
        names = {f"bars/{run}{part}" for run in (1, 2) for part in ("", "/train", "/validation")}
        until(lambda: set(fetch("/data/runs")) == names, 30)
        tags = fetch("/data/plugin/scalars/tags")
        assert "epoch_accuracy" in tags["bars/2/validation"]
        assert "test_accuracy" in tags["bars/1"]
        wanted = {"experimentName": "", "allowedStatuses": ["STATUS_SUCCESS"], "colParams": [], "startIndex": 0}
        groups = fetch("/data/plugin/hparams/session_groups", {**wanted, "sliceSize": 9})
        found = {group["name"]: group["hparams"] for group in groups["sessionGroups"]}
        assert {name: hparams["epochs"] for name, hparams in found.items()} == {"bars/1": 1.0, "bars/2": 2.0}
        query = urllib.parse.urlencode({"run": "bars/1", "tag": "precision_recall/lies/pr_curves"})
        assert fetch(f"/data/plugin/pr_curves/pr_curves?{query}")["bars/1"]
        assert fetch("/data/plugin/projector/info?run=bars/1")["embeddings"][0]["tensorShape"] == [40, 64]
    finally:
        process.terminate()
        process.wait(30)


def test_a_profile_is_one_trace_of_ten_steps_even_over_short_epochs(tmp_path):
    context, traces = context_in(tmp_path), []
    count = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda *_, **__: traces.append(len([*context.log_dir.rglob("*.xplane.pb")]))
    )
    run = Run(network="dnn", epochs=2, refine_epochs=1, batch_size=256, profile=True)
    assert steps_per_epoch(run, bars(count=3000)) < 15
    train(run, bars(count=3000), context, verbose=0, callbacks=[count])
    assert traces.index(1) == 14
    assert len([*context.log_dir.rglob("*.xplane.pb")]) == 1
