"""A version as the model server loads it: from its graph alone, without the Python code that made it.

with Graph(folder) as graph:
    graph.signatures["serving_default"].inputs        # {"images": Tensor("uint8", (-1, 28, 28, 1))}
    graph.run("serving_default", {"images": images})["scores"]
"""

import contextlib
import functools
import json
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tensorflow as tf

from tensor_jupyter.errors import LabError

DEFAULT = "serving_default"

tf.get_logger().setLevel(logging.ERROR)  # it warns that the loader is deprecated, but servers load this way
_stderr_lock = threading.Lock()
_BROKEN = (tf.errors.OpError, KeyError, OSError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Tensor:
    """The type and shape of an input or output.

    dtype: numpy's name, or "string" for bytes. shape: -1 for an open size; None for any rank.
    """

    dtype: str
    shape: tuple[int, ...] | None

    def __str__(self) -> str:
        sizes = "any shape" if self.shape is None else [size if size >= 0 else None for size in self.shape]
        return f"{self.dtype} {sizes}".replace("None", "*").replace("'", "")


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of one signature, by alias."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    @property
    def is_card(self) -> bool:
        """Whether it has the form of our `describe`: index int32 [N] -> card string [N]."""
        index, card = self.inputs.get("index"), self.outputs.get("card")
        return (
            len(self.inputs) == len(self.outputs) == 1
            and index == Tensor("int32", (-1,))
            and card is not None
            and card.dtype == "string"
        )


class Graph:
    """The graph with the tag "serve" of a SavedModel folder. Every method raises LabError with TensorFlow's reason."""

    def __init__(self, folder: Path) -> None:
        _open_first_session_silently()
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        try:
            with self._session.graph.as_default():
                meta = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
        except _BROKEN as error:
            self._session.close()
            raise _load_error(error) from error
        self._defs = {name: found for name, found in meta.signature_def.items() if not name.startswith("__")}
        self.signatures = {name: _signature(found) for name, found in sorted(self._defs.items())}

    def run(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Every output of a signature by alias, for its inputs by alias."""
        try:
            found = self._defs[signature]
            feeds = {found.inputs[alias].name: value for alias, value in inputs.items()}
            fetches = {alias: tensor.name for alias, tensor in found.outputs.items()}
            return dict(self._session.run(fetches, feeds))
        except _BROKEN as error:
            raise _load_error(error) from error

    def operations(self, signature: str) -> set[str]:
        """The types of all operations that a call of the signature may run, those of its functions included."""
        graph = self._session.graph.as_graph_def()
        nodes = {node.name: node for node in graph.node}
        library = {function.signature.name: function.node_def for function in graph.library.function}
        outputs = self._defs[signature].outputs.values()
        waiting = [_node(tensor.name) for tensor in outputs]
        found: set[str] = set()
        seen: set[str] = set()
        bodies = []
        while waiting:
            name = waiting.pop()
            if name in seen or name not in nodes:
                continue
            seen.add(name)
            waiting += map(_node, nodes[name].input)
            bodies.append([nodes[name]])
        while bodies:
            for node in bodies.pop():
                found.add(node.op)
                for called in (node.op, *_functions(node)):
                    if called in library:
                        bodies.append(library.pop(called))
        return found

    def card(self) -> dict[str, Any] | None:
        """The card that `describe` returns; None if the signature is missing, not the lab's, or returns no JSON object.

        Raises LabError when the lab's `describe` cannot be run.
        """
        signature = self.signatures.get("describe")
        if signature is None or not signature.is_card:
            return None
        answer = self.run("describe", {"index": np.zeros(1, np.int32)})["card"]
        try:
            card = json.loads(answer.ravel()[0])
        except (IndexError, TypeError, ValueError):
            return None
        return card if isinstance(card, dict) else None

    def __enter__(self) -> "Graph":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()


def _open_first_session_silently() -> None:
    """Open the process's first session with stderr redirected: it writes two lines, whatever the log level."""
    with _stderr_lock:  # two threads that swap stderr at once would lose it
        _open_first_session()


@functools.cache
def _open_first_session() -> None:
    with contextlib.suppress(OSError), open(os.devnull, "w") as nowhere:  # noqa: PTH123 - no path of ours
        kept = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            with tf.Graph().as_default(), tf.compat.v1.Session() as session:
                session.run(tf.constant(0))
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _node(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _functions(node: Any) -> list[str]:
    """The names of the functions that a node calls."""
    values = node.attr.values()
    return [value.func.name for value in values] + [each.name for value in values for each in value.list.func]


def _signature(found: Any) -> Signature:
    inputs, outputs = (
        {alias: _tensor(info) for alias, info in sorted(tensors.items())} for tensors in (found.inputs, found.outputs)
    )
    return Signature(inputs, outputs)


def _tensor(info: Any) -> Tensor:
    sizes = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
    return Tensor(tf.dtypes.as_dtype(info.dtype).name, sizes)


def _load_error(error: Exception) -> LabError:
    """The error in one line, without the trace of graph nodes that TensorFlow appends."""
    text = error.message if isinstance(error, tf.errors.OpError) else str(error)
    return LabError(" ".join(f"{type(error).__name__}: {text}".partition("[[")[0].split())[:500])
