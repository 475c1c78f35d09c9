"""Training's progress at a terminal: a bar for the running epoch, a line for each finished one."""

from types import TracebackType

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class EpochProgress(keras.callbacks.Callback):
    """Print a training's progress on `console`: the bar only if that is a terminal, a line for each epoch always.

    As a context manager it also stops the bar, which hides the cursor, when the training is interrupted.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )

    def __enter__(self) -> "EpochProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.on_train_end()  # Keras calls it only when nothing was raised

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras names them
        self.bar = self.progress.add_task("", epoch="-", total=self.params.get("steps"))
        if self.console.is_terminal:
            self.progress.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.progress.reset(self.bar, epoch=f"{epoch + 1}/{self.params['epochs']}")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.progress.update(self.bar, completed=batch + 1, total=self.params.get("steps"))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = logs or {}
        shown = {"accuracy": "accuracy", "validation": "val_accuracy", "loss": "val_loss"}
        texts = (f"  {word} {values[name]:.4f}" for word, name in shown.items() if name in values)
        self.console.print(f"epoch {epoch + 1}/{self.params['epochs']}{''.join(texts)}", highlight=False)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        if self.console.is_terminal:  # elsewhere the bar was not started, but stop() would print an empty line
            self.progress.stop()
