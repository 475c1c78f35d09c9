"""Training: networks by name, the settings of a run, and its events for TensorBoard.

    trained = train(Run(network="cnn", epochs=5), data, Context("mnist-net"))
    trained.model, trained.metrics, trained.history

`Run` is cheap to import; the rest imports TensorFlow, and only when it is used.
"""

import importlib
from typing import TYPE_CHECKING

from tensor_jupyter.training.run import Run

if TYPE_CHECKING:
    from tensor_jupyter.training.evaluation import evaluate
    from tensor_jupyter.training.fit import Trained, train
    from tensor_jupyter.training.models import build, mnist_net

__all__ = ["Run", "Trained", "build", "evaluate", "mnist_net", "train"]

_MODULES = {"Trained": "fit", "train": "fit", "evaluate": "evaluation", "build": "models", "mnist_net": "models"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
