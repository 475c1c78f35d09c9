"""One SavedModel in memory, and running it.

It is loaded the way the C++ server does, as a graph in a session, and not by `tf.saved_model.load`: that one accepts
exports on which the C++ server fails, and its signature call costs twice as much.
"""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from tensor_serving.embedded.errors import ServingError, by_number
from tensor_serving.embedded.tensors import Array
from tensor_serving.savedmodel import Inspector

_LONGEST_TEXT = 1024  # characters of an error the real server sends
# Requests may ask for any subset of a signature's outputs; only so many of these are kept ready.
_MOST_CALLABLES = 64


class Model:
    """A loaded SavedModel; `signatures` are its SignatureDefs by key. Calls may come from any number of threads.

    Raises ServingError when it cannot be loaded.
    """

    def __init__(self, folder: Path, intra_op_threads: int = 0, inter_op_threads: int = 0) -> None:
        self._own_thread = inter_op_threads < 2
        settings = config_pb2.ConfigProto(
            intra_op_parallelism_threads=intra_op_threads,
            inter_op_parallelism_threads=inter_op_threads,
            gpu_options=config_pb2.GPUOptions(allow_growth=True),  # or the first model takes the whole GPU
        )
        # The loader leaves variables alone when their folder is missing; every call would fail then.
        if reason := Inspector().problem(folder):
            raise ServingError(_UNLOADABLE, f"{folder}: {reason}")
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=settings)
        try:
            with graph.as_default():
                loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
        except Exception as error:
            self._session.close()
            raise _as_serving_error(error) from error
        self.signatures: dict[str, meta_graph_pb2.SignatureDef] = dict(loaded.signature_def)
        self._callable = functools.lru_cache(_MOST_CALLABLES)(self._make_callable)

    def run(self, feeds: Sequence[str], values: Sequence[Array], fetches: tuple[str, ...]) -> list[Any]:
        """Feed the tensors named with the values, return the fetched ones, as arrays, numpy scalars or bytes.

        Raises ServingError with TensorFlow's own code and text when the graph fails.
        """
        try:
            return self._callable(tuple(feeds), fetches)(*values)
        except Exception as error:
            raise _as_serving_error(error) from error

    def close(self) -> None:
        """Give the memory back. No call may be under way."""
        self._callable.cache_clear()
        self._session.close()

    def _make_callable(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Any:
        options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
        if self._own_thread:  # no hand-over between threads: a third less time for a small model
            options.run_options.inter_op_thread_pool = -1
        # The public Session.make_callable falls back to Session.run as soon as something is fed, at twice the cost.
        return self._session._make_callable_from_options(options)


def quieten() -> None:
    """Have TensorFlow say its first words in graph mode into the void.

    They are two lines on stderr, once per process, about a compiler pass nobody asked for; no log level and no option
    reaches them. A graph of one constant is enough to have them said.
    """
    stderr, void = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(void, 2)
    try:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            session.run(tf.constant(0))
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(void)


_UNLOADABLE = by_number(tf.errors.NOT_FOUND, "").code


def _as_serving_error(error: Exception) -> ServingError:
    if isinstance(error, tf.errors.OpError):
        return by_number(error.error_code, error.message[:_LONGEST_TEXT])
    return by_number(tf.errors.INVALID_ARGUMENT, f"{type(error).__name__}: {error}"[:_LONGEST_TEXT])
