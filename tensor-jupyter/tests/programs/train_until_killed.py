"""`FOLDER STEPS RUN`: trains the run, given as JSON, and kills itself after so many steps; prints nothing."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import keras
from tests.training_kit import bars, context_in

from tensor_jupyter.training import Run, train


class Kill(keras.callbacks.Callback):
    """Kills the process after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        if self.model.optimizer.iterations >= self.steps:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    folder, steps, run = sys.argv[1:]
    kill = Kill(int(steps))
    train(Run.model_validate_json(run), bars(), context_in(Path(folder)), verbose=0, callbacks=[kill])


if __name__ == "__main__":
    main()
