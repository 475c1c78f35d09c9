"""A training that was stopped goes on where it was, and what comes out is what would have come out."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_kit import bars, context_in

from tensor_jupyter.errors import LabError
from tensor_jupyter.training import Run, results, train
from tensor_jupyter.training.checkpoints import Keeper, is_kept

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

RUN = Run(network="dnn", epochs=4, batch_size=256)

PACKAGE_ROOT = Path(__file__).parents[1]
PROGRAMS = Path(__file__).parent / "programs"


class Stop(keras.callbacks.Callback):
    """As Ctrl-C in a notebook, in the middle of the epoch after `epochs` whole ones."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs
        self.seen = []

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002 - Keras names them
        self.seen.append(epoch)

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        if self.seen[-1] == self.epochs and batch == 3:
            raise KeyboardInterrupt


def same(model, other):
    return all(
        np.array_equal(mine, theirs) for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True)
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return train(RUN, bars(), context_in(tmp_path_factory.mktemp("undisturbed")), verbose=0)


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(undisturbed, tmp_path):
    assert same(train(RUN, bars(), context_in(tmp_path / "same"), verbose=0).model, undisturbed.model)
    other = RUN.model_copy(update={"seed": 8})
    assert not same(train(other, bars(), context_in(tmp_path / "other"), verbose=0).model, undisturbed.model)


def test_a_killed_training_goes_on_and_ends_the_same(undisturbed, tmp_path):
    """Killed in its third epoch of 25 steps; the next one with its name begins with the third."""
    path = os.pathsep.join([str(PACKAGE_ROOT), *filter(None, sys.path)])
    steps, program = 25, PROGRAMS / "train_until_killed.py"
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path), str(2 * steps + 5), RUN.model_dump_json()],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    context = context_in(tmp_path)
    assert context.version == 2
    epochs = Stop(epochs=-1)
    trained = train(RUN, bars(), context, verbose=0, callbacks=[epochs])
    assert epochs.seen == [2, 3]
    assert context.version == 1
    assert same(trained.model, undisturbed.model)
    assert trained.history == undisturbed.history
    assert trained.metrics == undisturbed.metrics
    events = EventAccumulator(str(context.log_dir / "train")).Reload()
    assert sorted({event.step for event in events.Tensors("epoch_loss")}) == [0, 1, 2, 3]
    assert max(event.step for event in events.Tensors("batch_loss")) == 4 * steps - 1


def test_a_training_stopped_at_the_keyboard_goes_on_in_the_same_context(undisturbed, tmp_path):
    context = context_in(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(RUN, bars(), context, verbose=0, callbacks=[Stop(3)])
    assert [path.name for path in context.checkpoint_dir.glob("epoch-*")] == ["epoch-3"]
    epochs = Stop(epochs=-1)
    assert same(train(RUN, bars(), context, resume=True, verbose=0, callbacks=[epochs]).model, undisturbed.model)
    assert epochs.seen == [3]
    assert sorted(path.name for path in context.checkpoint_dir.iterdir()) == ["best.keras", "lock"]
    with pytest.raises(LabError, match="no stopped training of bars to resume: none was kept"):
        train(RUN, bars(), context, resume=True, verbose=0)


def test_a_training_stopped_in_its_first_epoch_leaves_no_run(tmp_path):
    context = context_in(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(RUN, bars(), context, verbose=0, callbacks=[Stop(0)])
    assert not is_kept(context)
    assert not context.log_dir.exists()


@pytest.fixture
def stopped(tmp_path):
    """The context of a training that was stopped in its second epoch."""
    context = context_in(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(RUN, bars(), context, verbose=0, callbacks=[Stop(1)])
    return context


def test_only_the_same_training_is_resumed(stopped, tmp_path):
    other = RUN.model_copy(update={"epochs": 1})
    with pytest.raises(LabError, match=r"version 1 is another training \(epochs was 4 and is 1\)"):
        train(other, bars(), context_in(tmp_path), resume=True, verbose=0)
    with pytest.raises(LabError, match=r"another training \(data was '\w+' and is '\w+'\)"):
        train(RUN, bars(count=210), context_in(tmp_path), resume=True, verbose=0)
    fresh = context_in(tmp_path)
    train(other, bars(), fresh, verbose=0)
    assert fresh.version == 2
    assert (stopped.checkpoint_dir / "epoch-1").is_dir()


def test_a_state_that_is_not_whole_is_not_taken(stopped, tmp_path):
    (stopped.checkpoint_dir / "epoch-1" / "state.json").write_text('{"plan"')
    with pytest.raises(LabError, match="version 1 is being trained or has no whole state"):
        train(RUN, bars(), context_in(tmp_path), resume=True, verbose=0)
    fresh = context_in(tmp_path)
    train(RUN.model_copy(update={"epochs": 1}), bars(), fresh, verbose=0)
    assert fresh.version == 2


class TryTheSame(keras.callbacks.Callback):
    """While one training runs, another of the same name and number is begun."""

    def __init__(self, root):
        super().__init__()
        self.root = root

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002 - Keras names them
        if epoch == 1:
            with pytest.raises(LabError, match="Version 1 of bars is being trained by another process"):
                train(RUN, bars(), context_in(self.root, version=1), verbose=0)
            with pytest.raises(LabError, match="version 1 is being trained"):
                train(RUN, bars(), context_in(self.root), resume=True, verbose=0)
            raise KeyboardInterrupt


def test_a_training_that_runs_is_left_alone(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(RUN, bars(), context_in(tmp_path), verbose=0, callbacks=[TryTheSame(tmp_path)])


def test_it_stops_early_and_keeps_the_best(tmp_path, monkeypatch):
    """Staged: validation gets worse after the second epoch, by what the keeper gets."""
    losses = iter([0.5, 0.4, 0.45, 0.46, 0.1])
    kept = Keeper.on_epoch_end
    monkeypatch.setattr(
        Keeper, "on_epoch_end", lambda self, epoch, logs: kept(self, epoch, {**logs, "val_loss": next(losses)})
    )
    weights, output = [], []
    snapshot = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: weights.append(trained_model.get_weights()))
    from tensor_jupyter.training import build

    trained_model = build(bars(), RUN)
    run = RUN.model_copy(update={"epochs": 10, "patience": 2})
    trained = train(
        run, bars(), context_in(tmp_path), model=trained_model, verbose=0, callbacks=[snapshot], say=output.append
    )
    assert "after epoch 4: the validation loss has been lowest (0.4000) in epoch 2" in output[-1]
    assert trained.history["val_loss"] == [0.5, 0.4, 0.45, 0.46]
    assert all(
        np.array_equal(mine, theirs) for mine, theirs in zip(trained.model.get_weights(), weights[1], strict=True)
    )


def test_a_training_killed_after_it_stopped_early_learns_no_more(tmp_path, monkeypatch):
    run = RUN.model_copy(update={"epochs": 10, "patience": 1})
    kept = Keeper.on_epoch_end
    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_epoch_end", lambda self, epoch, logs: kept(self, epoch, {**logs, "val_loss": epoch}))
        patch.setattr(results, "write", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            train(run, bars(), context_in(tmp_path), verbose=0)
    best = keras.models.load_model(context_in(tmp_path, version=1).checkpoint_dir / "best.keras")
    trained = train(run, bars(), context_in(tmp_path), verbose=0)
    assert trained.history["val_loss"] == [0, 1]
    assert same(trained.model, best)


long = pytest.mark.skipif(not os.environ.get("LAB_LONG_TESTS"), reason="half a minute; set LAB_LONG_TESTS=1")


@pytest.mark.parametrize("stopped_in", [pytest.param(1, marks=long), 2, pytest.param(3, marks=long)])
def test_a_refined_average_that_was_stopped_ends_the_same(tmp_path, stopped_in):
    """Two epochs and two that refine, stopped in the first part, in the first epoch of the second, and in its last."""
    run = RUN.model_copy(update={"epochs": 2, "refine_epochs": 2, "weight_average": 0.9, "weight_decay": 0.01})
    whole = train(run, bars(), context_in(tmp_path / "whole"), verbose=0)
    with pytest.raises(KeyboardInterrupt):
        train(run, bars(), context_in(tmp_path / "stopped"), verbose=0, callbacks=[Stop(stopped_in)])
    again = train(run, bars(), context_in(tmp_path / "stopped"), verbose=0)
    assert len(again.history["loss"]) == 4
    assert same(again.model, whole.model)
