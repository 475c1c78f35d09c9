"""Running calls for the event loop: what runs the graph, in which thread, alone or in a batch.

A pool of threads runs the graph, `--grpc_max_threads` calls at once. With `--enable_batching`, calls of versions whose
rows are declared independent are run by the batch threads, or by the loop itself if that is short (see `batching`).
"""

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Condition
from typing import Protocol

import grpc
from tensorflow.core.protobuf import meta_graph_pb2

from tensor_serving.embedded.batch import NotRowsError, rows_of
from tensor_serving.embedded.batching import BatchedModel, Batcher
from tensor_serving.embedded.batching_parameters import BatchingParameters, BatchingParametersError, read
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.errors import ServingError, invalid
from tensor_serving.embedded.independence import independent_rows, parameters_file
from tensor_serving.embedded.metrics import Metrics
from tensor_serving.embedded.options import Options
from tensor_serving.embedded.runtime import Model
from tensor_serving.embedded.tensors import Array
from tensor_serving.running_versions import Slot

log = logging.getLogger(__name__)

_NO_SLOT = Slot()


class Runner(Protocol):
    """A loaded model as the event loop uses it."""

    signatures: dict[str, meta_graph_pb2.SignatureDef]
    """The model's signatures by key."""

    async def run(self, call: Call) -> list[Array]:
        """Return one array per fetch, in their order. Raises ServingError when the graph fails or the queue is full."""

    def refresh(self) -> None:
        """Apply declarations that changed since the model was loaded. Reads files: not for the event loop."""

    def close(self) -> None:
        """Free the memory. Blocks until the last run has ended: not for the event loop."""


class Execution:
    """The threads that all models share; makes the runner of a loaded model.

    Raises BatchingParametersError when the file of --batching_parameters_file is invalid.
    """

    def __init__(self, options: Options, metrics: Metrics) -> None:
        self._pool = ThreadPoolExecutor(options.grpc_max_threads, thread_name_prefix="call")
        self._per_model = options.enable_per_model_batching_parameters
        self._batcher: Batcher | None = None
        if options.enable_batching:
            file = options.batching_parameters_file
            self._parameters = read(file) if file else BatchingParameters()
            self._batcher = Batcher(self._parameters.num_batch_threads, metrics)

    def runner(self, name: str, model: Model, folder: Path, slot: Slot = _NO_SLOT) -> Runner:
        """Return the runner of a model just loaded from this version folder, under this name. Thread-safe.

        `slot` receives the number of its running calls.

        Raises ServingError when the folder's own batching parameters are wrong.
        """
        alone = PoolRunner(model, self._pool, slot)
        if self._batcher is None:
            return alone
        parameters, file = self._parameters, parameters_file(folder)
        if self._per_model and file:
            try:
                parameters = read(file)
            except BatchingParametersError as error:
                raise invalid(str(error)) from error
        return BatchRunner(alone, BatchedModel(name, alone.run_now, parameters, self._batcher), folder)

    def close(self) -> None:
        """End the threads; calls still waiting are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._batcher:
            self._batcher.close()


class PoolRunner:
    """Runs every call alone, in a thread of the pool; when all threads are busy, calls wait."""

    def __init__(self, model: Model, pool: ThreadPoolExecutor, slot: Slot) -> None:
        self._model, self._pool, self._slot = model, pool, slot
        self.signatures = model.signatures
        self._running, self._closing = 0, False
        self._idle = Condition()

    async def run(self, call: Call) -> list[Array]:
        """See Runner.run. A call that is cancelled while it waits for a thread is not run."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.run_now, call)

    def run_now(self, call: Call) -> list[Array]:
        """Run in this thread. The model is not freed before the run ends, even if the call has been cancelled."""
        with self._idle:
            if self._closing:
                raise ServingError(grpc.StatusCode.CANCELLED, "the call was cancelled")
            self._running += 1
            self._slot.set(self._running, call.request_id if self._running == 1 else "")
        try:
            return self._model.run(call)
        finally:
            with self._idle:
                self._running -= 1
                self._slot.set(self._running)
                if not self._running:
                    self._idle.notify_all()

    def refresh(self) -> None:
        """See Runner.refresh: every call runs alone, whatever is declared."""

    def close(self) -> None:
        """See Runner.close."""
        with self._idle:
            self._closing = True
            self._idle.wait_for(lambda: not self._running)
        self._slot.free()
        self._model.close()


class BatchRunner:
    """Batches the calls of a version whose rows are declared independent, and runs all others alone.

    Also run alone: signatures known to have no batch dimension, requests without rows or with inputs of unequal length,
    and every request after the version has failed to return one row for each row.
    """

    def __init__(self, alone: PoolRunner, batched: BatchedModel, folder: Path) -> None:
        self._alone, self._batched, self._folder = alone, batched, folder
        self.signatures = alone.signatures
        self._unbatchable = frozenset(_unbatchable(alone.signatures))
        self._independent: bool | None = None
        self._disproved = False
        self.refresh()

    async def run(self, call: Call) -> list[Array]:
        """See Runner.run."""
        if self._disproved or not self._independent or not self._unbatchable.isdisjoint(call.feeds + call.fetches):
            return await self._alone.run(call)
        rows = rows_of(call.values)
        if not rows:
            return await self._alone.run(call)
        try:
            return await self._batched.run(call, rows)
        except NotRowsError as error:
            log.error("%s: requests run alone from now on, its rows are not independent: %s", self._folder, error)
            self._disproved = True  # permanent; refresh() in another thread may still set _independent meanwhile
            return await self._alone.run(call)

    def refresh(self) -> None:
        """See Runner.refresh."""
        independent = not self._disproved and independent_rows(self._folder)
        if independent != self._independent:
            log.info("%s: requests are %s", self._folder, "batched" if independent else "run alone")
        self._independent = independent

    def close(self) -> None:
        """See Runner.close."""
        self._alone.close()


def _unbatchable(signatures: dict[str, meta_graph_pb2.SignatureDef]) -> Iterator[str]:
    """Yield the tensors that are known to have no axis 0, or one of a fixed length."""
    for signature in signatures.values():
        for info in (*signature.inputs.values(), *signature.outputs.values()):
            shape = info.tensor_shape
            if not shape.unknown_rank and (not shape.dim or shape.dim[0].size >= 0):
                yield info.name
