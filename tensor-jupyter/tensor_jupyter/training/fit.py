"""Train on labelled images, with progress in TensorBoard and at the terminal; a stopped training is resumed."""

import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from tensor_jupyter.context import Context, make_shared
from tensor_jupyter.data import Dataset, LabelledImages
from tensor_jupyter.errors import LabError
from tensor_jupyter.training import augment, board, checkpoints, distillation, evaluation, models, outliers, results
from tensor_jupyter.training.average import Averaged
from tensor_jupyter.training.batches import in_order
from tensor_jupyter.training.run import Run

_Examples = tuple[np.ndarray, np.ndarray]
"""Images, uint8 [N, H, W, C], and the network's targets, float32 [N, ...]."""

_LOSS = "mean_absolute_error"  # of an autoencoder, whose output is an error that should be 0
_BATCH, _SMALLEST_BATCH = 128, 16  # between them, an epoch has about ten steps


@dataclass(frozen=True)
class Trained:
    """The result of `train`: the model in its best state, with its measurements.

    metrics: as `evaluate` returns them, with `threshold` for an autoencoder. history: each epoch's values by name.
    data: the run's subset, which was trained on. quantiles: an autoencoder's, from `evaluation.quantiles_of`.
    """

    model: keras.Model
    metrics: dict[str, float]
    history: dict[str, list[float]]
    data: Dataset
    quantiles: dict[str, float] | None = None


def train(
    run: Run,
    data: Dataset,
    context: Context,
    *,
    model: keras.Model | None = None,
    resume: bool | None = None,
    verbose: Literal["auto", 0, 1, 2] = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    say: Callable[[str], object] = print,
    foreign: Callable[[LabelledImages], np.ndarray] | None = None,
) -> Trained:
    """Train the run's network, and write events, checkpoints and a Keras file for the context, but publish nothing.

    model: a network of your own instead; it takes uint8 images and returns probabilities. resume: None resumes a
    stopped training of the same run, data and name if there is one, False starts anew, True requires one. say: called
    with what is resumed and why training stops early. foreign: makes uint8 [M, H, W, C], from the images to learn
    from, that an autoencoder should reproduce badly. Raises LabError if it cannot train, resume or load weights.
    """
    data, learn, held_out = _split(run, data)
    strange = foreign(learn) if foreign else None
    with checkpoints.opened(context, _plan(run, data, model, strange), resume, say) as state:
        same = functools.partial(train, verbose=verbose, callbacks=callbacks, say=say)
        teachers = distillation.teachers(run, data, context, lambda *its: same(*its).model, say)
        network = model or _built(data, run, context.settings.offline)
        patience = run.patience or max(3, run.epochs // 3)
        keeper = checkpoints.Keeper(context.checkpoint_dir, state, patience, say)
        examples = _examples(network, learn, data, strange)
        for phase in _phases(run, state.epoch) if state.waited < patience else ():
            shown = board.callbacks(context, run, data, network)
            steps, pairs = _started(network, examples, data, run, phase, context, state)
            averaged = [Averaged(resumed=state.epoch > phase.epochs.start)] if run.weight_average else []
            network.fit(
                distillation.taught(pairs, teachers),
                epochs=phase.epochs.stop,
                initial_epoch=state.epoch,
                steps_per_epoch=steps,
                validation_data=in_order(*_examples(network, held_out, data)) if len(held_out) else None,
                verbose=verbose,
                shuffle=False,  # the pairs come shuffled
                callbacks=[_Seeds(run.seed), *averaged, keeper, *shown, *callbacks],
            )
            if network.stop_training:
                break
        return _finished(network, run, data, held_out, context, state, model)


def steps_per_epoch(run: Run, data: Dataset) -> int:
    """How many batches an epoch of `train` has."""
    learn, _ = data.subset(run.subset, run.seed).validation_split(run.validation_split, run.seed)
    size, rounds = _epoch(run, len(learn))
    return rounds * math.ceil(len(learn) / size)


def _split(run: Run, data: Dataset) -> tuple[Dataset, LabelledImages, LabelledImages]:
    """The run's part of the data, the images to learn from, and those that are held out."""
    if run.network == "autoencoder" and not run.validation_split:
        raise LabError("An autoencoder's threshold comes from held-out images: give a --validation-split above 0.")
    data = data.subset(run.subset, run.seed)
    return data, *data.validation_split(run.validation_split, run.seed)


def _plan(run: Run, data: Dataset, model: keras.Model | None, foreign: np.ndarray | None) -> dict[str, Any]:
    """The properties that a stopped training must share with this one to be resumed."""
    plan = {"run": run.model_dump(mode="json"), "data": data.hash, "own": model.name if model else None}
    return plan if foreign is None else {**plan, "foreign": hashlib.sha256(foreign.tobytes()).hexdigest()}


@dataclass(frozen=True)
class _Phase:
    """Epochs with an optimizer of their own. strength: of the augmentation, 1 for all of it."""

    epochs: range
    learning_rate: float
    strength: float


def _phases(run: Run, done: int) -> list[_Phase]:
    """The run's epochs, then those that refine the best state on less distorted images; without finished ones."""
    highest = run.learning_rate or models.NETWORKS[run.network].learning_rate
    first = _Phase(range(run.epochs), highest, 1.0)
    second = _Phase(range(run.epochs, run.epochs + run.refine_epochs), highest / 3, 0.5)
    return [phase for phase in (first, second) if phase.epochs and done < phase.epochs.stop]


def _built(data: Dataset, run: Run, offline: bool) -> keras.Model:
    with _precision(run):
        return models.build(data, run, offline)


@contextmanager
def _precision(run: Run) -> Iterator[None]:
    """Layers created inside compute in float16 where that is faster: on a GPU."""
    mixed = run.mixed_precision == "on" or (
        run.mixed_precision == "auto" and bool(tf.config.list_physical_devices("GPU"))
    )
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16" if mixed else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _started(
    network: keras.Model,
    examples: _Examples,
    data: Dataset,
    run: Run,
    phase: _Phase,
    context: Context,
    state: checkpoints.State,
) -> tuple[int, tf.data.Dataset]:
    """Compile the network for the phase, with the best weights of the previous one, or those of the state.

    Returns the steps of an epoch, and the pairs from the state's epoch on.
    """
    if state.epoch == phase.epochs.start > 0:
        network.load_weights(context.checkpoint_dir / "best.keras")
    steps, pairs = _compiled(network, examples, data, run, phase, state.epoch)
    if state.epoch > phase.epochs.start:
        checkpoints.restore(context.checkpoint_dir, network, state)
    return steps, pairs


def _compiled(
    network: keras.Model, examples: _Examples, data: Dataset, run: Run, phase: _Phase, first_epoch: int
) -> tuple[int, tf.data.Dataset]:
    """Compile the network for the phase; return the steps of an epoch, and the pairs from `first_epoch` on."""
    size, rounds = _epoch(run, len(examples[0]))
    pairs, steps = augment.batches(
        *examples,
        size,
        run.seed,
        augment.change_for(run, data, phase.strength),
        range(first_epoch * rounds, phase.epochs.stop * rounds),
    )
    steps *= rounds
    rate = _learning_rate(phase.learning_rate, steps * len(phase.epochs))
    if models.is_classifier(network):
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=run.label_smoothing)
        network.compile(_optimizer(run, rate), loss, metrics=["accuracy"])
    else:
        network.compile(_optimizer(run, rate), outliers.loss if examples[1].any() else _LOSS)
    return steps, pairs


def _epoch(run: Run, count: int) -> tuple[int, int]:
    """The batch size, and how often an epoch goes through a set of `count` images."""
    rounds = max(1, models.NETWORKS[run.network].epoch_images // count)
    return run.batch_size or min(_BATCH, max(_SMALLEST_BATCH, count * rounds // 10)), rounds


def _optimizer(run: Run, rate: keras.optimizers.schedules.LearningRateSchedule) -> keras.optimizers.Optimizer:
    average = {"use_ema": True, "ema_momentum": run.weight_average} if run.weight_average else {}
    if not run.weight_decay:
        return keras.optimizers.Adam(rate, **average)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=run.weight_decay, **average)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _examples(
    network: keras.Model, labelled: LabelledImages, data: Dataset, foreign: np.ndarray | None = None
) -> _Examples:
    """Images and targets: one-hot labels, or for an autoencoder an error: 0, for foreign images `outliers.ERROR`."""
    if models.is_classifier(network):
        return labelled.images, keras.utils.to_categorical(labelled.labels, len(data.labels))
    strange = labelled.images[:0] if foreign is None else foreign
    errors = np.repeat([0, outliers.ERROR], [len(labelled), len(strange)]).astype(np.float32)
    return np.concatenate([labelled.images, strange]), errors


def _learning_rate(highest: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up in the first tenth, then cosine decay to 0."""
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - steps // 10), warmup_target=highest, warmup_steps=steps // 10
    )


class _Seeds(keras.callbacks.Callback):
    """Sets the seeds of dropout in each epoch, so that a resumed run draws as if it had not been stopped."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras names it
        drawing = [layer for layer in models.layers_of(self.model) if hasattr(layer, "seed_generator")]
        for number, layer in enumerate(drawing):
            layer.seed_generator.state.assign([self.seed + number, epoch << 16])


def _finished(
    network: keras.Model,
    run: Run,
    data: Dataset,
    held_out: LabelledImages,
    context: Context,
    state: checkpoints.State,
    own: keras.Model | None,
) -> Trained:
    """Take the best state in float32, as it will be served; measure it, write the results for TensorBoard, save it."""
    network.load_weights(context.checkpoint_dir / "best.keras")
    if own is None and network.dtype_policy.name != "float32":
        weights = network.get_weights()
        network = models.build(data, run.model_copy(update={"weights": "none"}))
        network.set_weights(weights)
    quantiles = evaluation.quantiles_of(network, held_out)
    scores = evaluation.scores_of(network, data.test)
    metrics = evaluation.measured(scores, data, quantiles[evaluation.THRESHOLD] if quantiles else None)
    results.write(context.log_dir, network, data, scores, metrics, state.epoch)
    make_shared(context.keras_file.parent)
    if network.compiled and not models.is_classifier(network):
        network.compile(network.optimizer, _LOSS)  # so that Keras can load the file without this package
    network.save(context.keras_file)
    checkpoints.forget(context)
    distillation.forget(run, data, context)
    return Trained(network, metrics, state.history, data, quantiles)
