"""Running calls for the event loop: who runs the graph, in which thread, alone or in a batch.

Without batching a pool of threads runs the graph, `--grpc_max_threads` calls at once. With `--enable_batching` the
batch threads do, or the loop itself where that is over in a moment (see `batching`); the pool takes the rest.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Condition
from typing import Protocol

import grpc
from tensorflow.core.protobuf import meta_graph_pb2

from tensor_serving.embedded.batch import rows_of
from tensor_serving.embedded.batching import BatchedModel, Batcher
from tensor_serving.embedded.batching_parameters import (
    PER_MODEL_FILE,
    BatchingParameters,
    BatchingParametersError,
    read,
)
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.errors import ServingError, invalid
from tensor_serving.embedded.metrics import Metrics
from tensor_serving.embedded.options import Options
from tensor_serving.embedded.runtime import Model
from tensor_serving.embedded.tensors import Array


class Runner(Protocol):
    """A loaded model as the event loop uses it."""

    signatures: dict[str, meta_graph_pb2.SignatureDef]
    """The model's signatures by key."""

    async def run(self, call: Call) -> list[Array]:
        """Return one array per fetch, in their order. Raises ServingError when the graph or the queue refuses."""

    def close(self) -> None:
        """Give the memory back. Blocks until runs have ended that nobody waits for any more, so not for the loop."""


class Execution:
    """The threads all models share, and what turns a loaded model into a runner.

    Raises BatchingParametersError when the file of --batching_parameters_file cannot be followed.
    """

    def __init__(self, options: Options, metrics: Metrics) -> None:
        self._pool = ThreadPoolExecutor(options.grpc_max_threads, thread_name_prefix="call")
        self._per_model = options.enable_per_model_batching_parameters
        self._batcher: Batcher | None = None
        if options.enable_batching:
            file = options.batching_parameters_file
            self._parameters = read(file) if file else BatchingParameters()
            self._batcher = Batcher(self._parameters.num_batch_threads, metrics)

    def runner(self, name: str, model: Model, folder: Path) -> Runner:
        """Return the runner of a model just loaded from this version folder, under this name. For any thread.

        Raises ServingError when the folder's own batching parameters are wrong.
        """
        alone = PoolRunner(model, self._pool)
        if self._batcher is None:
            return alone
        parameters = self._parameters
        if self._per_model:
            file = folder / PER_MODEL_FILE
            if not file.is_file():
                return alone
            try:
                parameters = read(file)
            except BatchingParametersError as error:
                raise invalid(str(error)) from error
        return BatchRunner(alone, BatchedModel(name, alone.run_now, parameters, self._batcher))

    def close(self) -> None:
        """End the threads; calls still waiting are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._batcher:
            self._batcher.close()


class PoolRunner:
    """Every call alone, in a thread of the pool; more calls than threads wait."""

    def __init__(self, model: Model, pool: ThreadPoolExecutor) -> None:
        self._model, self._pool = model, pool
        self.signatures = model.signatures
        self._running, self._closing = 0, False
        self._idle = Condition()

    async def run(self, call: Call) -> list[Array]:
        """See Runner.run. A call that is cancelled while it waits for a thread is not run."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.run_now, call)

    def run_now(self, call: Call) -> list[Array]:
        """Run in this thread. A call may have been given up by now: the model must not be freed under it."""
        with self._idle:
            if self._closing:
                raise ServingError(grpc.StatusCode.CANCELLED, "the call was cancelled")
            self._running += 1
        try:
            return self._model.run(call)
        finally:
            with self._idle:
                self._running -= 1
                if not self._running:
                    self._idle.notify_all()

    def close(self) -> None:
        """See Runner.close."""
        with self._idle:
            self._closing = True
            self._idle.wait_for(lambda: not self._running)
        self._model.close()


class BatchRunner:
    """Calls in batches, but for those that cannot be: signatures whose axis 0 is known to be no batch, empty calls.

    The real server batches every signature, and fails for such.
    """

    def __init__(self, alone: PoolRunner, batched: BatchedModel) -> None:
        self._alone, self._batched = alone, batched
        self.signatures = alone.signatures
        self._unbatchable = frozenset(_unbatchable(alone.signatures))

    async def run(self, call: Call) -> list[Array]:
        """See Runner.run."""
        if self._unbatchable and not self._unbatchable.isdisjoint(call.feeds + call.fetches):
            return await self._alone.run(call)
        rows = rows_of(call.values)
        return await (self._batched.run(call, rows) if rows else self._alone.run(call))

    def close(self) -> None:
        """See Runner.close."""
        self._alone.close()


def _unbatchable(signatures: dict[str, meta_graph_pb2.SignatureDef]) -> Iterator[str]:
    """Return the tensors that are known to have no axis 0 of any length."""
    for signature in signatures.values():
        for info in (*signature.inputs.values(), *signature.outputs.values()):
            shape = info.tensor_shape
            if not shape.unknown_rank and (not shape.dim or shape.dim[0].size >= 0):
                yield info.name
