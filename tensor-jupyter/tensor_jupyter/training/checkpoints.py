"""Resume a stopped training: after each epoch its whole state is saved.

    <checkpoint_dir>/best.keras                       the best model so far
    <checkpoint_dir>/epoch-3/state.weights.h5         weights and optimizer after epoch 3
    <checkpoint_dir>/epoch-3/state.json               what is trained, the best loss, and how many epochs ago that was
    <checkpoint_dir>/lock                             held by the process that trains

A state appears by one rename, and only then the previous one is removed, so a complete one survives a kill.
"""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras

from tensor_jupyter.context import Context, make_shared, share
from tensor_jupyter.errors import LabError

WEIGHTS = "state.weights.h5"
STATE = "state.json"


@dataclass
class State:
    """The progress of a training. plan: its settings and data, as JSON; only an equal plan may resume from here.

    best: the lowest validation loss so far; waited: epochs since then; history: each epoch's values by name.
    """

    plan: dict[str, Any]
    epoch: int = 0
    best: float | None = None
    waited: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)


@contextlib.contextmanager
def opened(
    context: Context, plan: dict[str, Any], resume: bool | None, say: Callable[[str], object]
) -> Iterator[State]:
    """Yield the state to train from: a stopped training's, whose version the context then takes, or a new one.

    resume: None resumes a stopped training of the same plan if there is one; True requires one; False starts anew.
    A new training that stops before the end of its first epoch leaves no run in TensorBoard. Raises LabError when
    there is nothing to resume, or another process trains this version.
    """
    found: tuple[int, State] | None = None
    with contextlib.ExitStack() as stack:
        reasons: list[str] = []
        for version in _stopped_versions(context) if resume is not False else ():
            found = _resumable(stack, _folder(context, version), plan, reasons, version)
            if found:
                break
        if found:
            context.version = found[0]
            say(f"Resuming the stopped training of version {found[0]} after epoch {found[1].epoch}.")
            yield found[1]
            return
        if resume:
            raise LabError(
                f"There is no stopped training of {context.name} to resume: {'; '.join(reasons) or 'none was kept'}."
            )
        context.claim()
        if not stack.enter_context(_locked(context.checkpoint_dir)):
            raise LabError(f"Version {context.version} of {context.name} is being trained by another process.")
        forget(context)
        with _removed_if_empty(context, state := State(plan)):
            yield state


@contextlib.contextmanager
def _removed_if_empty(context: Context, state: State) -> Iterator[None]:
    earlier = any(context.log_dir.iterdir())  # possible if the user chose the version
    try:
        yield
    except BaseException:
        if not state.epoch and not earlier:
            shutil.rmtree(context.log_dir, ignore_errors=True)
        raise


class Keeper(keras.callbacks.Callback):
    """Keeps the state after each epoch and the best model; stops after `patience` epochs without a better one."""

    def __init__(self, folder: Path, state: State, patience: int, say: Callable[[str], object]) -> None:
        super().__init__()
        self.folder, self.state, self.patience, self.say = folder, state, patience, say

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        state = self.state
        for name, value in values.items():
            state.history.setdefault(name, []).append(value)
        state.epoch = epoch + 1
        state.waited += 1
        loss = values.get("val_loss", -float(epoch))  # without validation the last epoch is the best
        if state.best is None or loss < state.best:
            state.best, state.waited = loss, 0
            replace(self.folder / "best.keras", self.model.save)
        _keep(self.folder, self.model, state)
        self.model.stop_training = state.waited >= self.patience
        if self.model.stop_training and state.epoch < self.params["epochs"]:
            self.say(
                f"Stopped early, after epoch {state.epoch}: the validation loss has been lowest ({state.best:.4f}) in "
                f"epoch {state.epoch - state.waited}, whose model is kept; a higher patience trains longer."
            )


def restore(folder: Path, model: keras.Model, state: State) -> None:
    """Load the state's weights and optimizer variables into the compiled model."""
    model.optimizer.build(model.trainable_variables)
    model.load_weights(folder / f"epoch-{state.epoch}" / WEIGHTS)


def is_kept(context: Context) -> bool:
    """True if there is a state to resume the context's version from."""
    return any(context.checkpoint_dir.glob("epoch-*"))


def forget(context: Context) -> None:
    """Remove the states of a finished training. The best model stays."""
    for folder in context.checkpoint_dir.glob("epoch-*"):
        shutil.rmtree(folder)


def _resumable(
    stack: contextlib.ExitStack, folder: Path, plan: dict[str, Any], reasons: list[str], version: int
) -> tuple[int, State] | None:
    """The version and its state, locked while the stack is open; else None, and the reason is added to `reasons`."""
    with contextlib.ExitStack() as mine:
        state = _read(folder) if mine.enter_context(_locked(folder)) else None
        if state is None:
            reasons.append(f"version {version} is being trained or has no whole state")
        elif state.plan != plan:
            reasons.append(f"version {version} is another training ({_difference(state.plan, plan)})")
        else:
            stack.enter_context(mine.pop_all())
            return version, state
    return None


def _folder(context: Context, version: int) -> Path:
    return context.checkpoint_dir.parent / str(version)


def _stopped_versions(context: Context) -> list[int]:
    """Unpublished versions with a kept state, the newest first."""
    names = [path.parent.name for path in context.checkpoint_dir.parent.glob("*/epoch-*") if path.is_dir()]
    published = context.settings.models / context.name
    versions = {int(name) for name in names if name.isdigit() and not (published / name).exists()}
    return sorted((number for number in versions if not context.pinned or number == context.version), reverse=True)


def _read(folder: Path) -> State | None:
    """The newest complete state in the folder."""
    kept = sorted(folder.glob("epoch-*"), key=lambda path: int(path.name.removeprefix("epoch-")), reverse=True)
    for path in kept:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return State(**json.loads((path / STATE).read_text()))
    return None


def _keep(folder: Path, model: keras.Model, state: State) -> None:
    area = folder / ".new"
    shutil.rmtree(area, ignore_errors=True)
    make_shared(area)
    model.save_weights(area / WEIGHTS)
    (area / STATE).write_text(json.dumps(asdict(state)))
    before = list(folder.glob("epoch-*"))
    area.rename(folder / f"epoch-{state.epoch}")
    for path in before:
        shutil.rmtree(path)


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside `path` and rename it, so that `path` is always complete."""
    make_shared(path.parent)
    new = path.with_name(f"new-{path.name}")
    write(new)
    new.replace(path)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Lock the folder for training, and yield True; yield False if another process holds the lock."""
    make_shared(folder)
    with (folder / "lock").open("w") as file:
        share(folder / "lock")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """The first thing in which two plans differ."""
    for name in {**old, **new}:
        was, now = old.get(name), new.get(name)
        if was != now:
            if isinstance(was, dict) and isinstance(now, dict):
                return _difference(was, now)
            return f"{name} was {was!r} and is {now!r}"
    return "nothing"
