"""Helpers: calling a model that this process has loaded."""

import numpy as np
from numpy.typing import ArrayLike

from tensor_serving.embedded.call import Call
from tensor_serving.embedded.runtime import Model


def call(model: Model, signature: str, **inputs: ArrayLike) -> dict[str, np.ndarray]:
    """Call a signature by the aliases of its inputs; return its outputs by theirs."""
    found = model.signatures[signature]
    feeds = sorted((found.inputs[alias].name, np.asarray(value)) for alias, value in inputs.items())
    fetches = {alias: info.name for alias, info in found.outputs.items()}
    names = tuple(sorted(set(fetches.values())))
    values = model.run(Call(signature, tuple(name for name, _ in feeds), tuple(value for _, value in feeds), names))
    return {alias: values[names.index(name)] for alias, name in fetches.items()}


def texts(*values: bytes) -> np.ndarray:
    return np.array(values, dtype=object)
