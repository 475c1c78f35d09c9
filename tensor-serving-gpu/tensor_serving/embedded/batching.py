"""Dynamic batching: calls that wait at the same time are run as one.

The event loop puts calls into queues, one for each kind of call (model, tensors fed and fetched, dtypes, shapes without
axis 0). A few threads, shared by all models, take batches from the queues in turn. No call waits for others unless
`batch_timeout_micros` is set: a batch is what arrived while the previous one ran. To make batches large and to avoid
hand-overs between threads, one thread at a time serves a queue. A second thread joins when a full batch waits, so that
a large call that is split runs on several cores, or when the model is so slow that the hand-over does not matter. The
loop itself runs batches that are expected to take less than ten milliseconds, after it has received the other calls
that arrived: a hand-over to a thread and back would cost a small model as much as its run.

Unlike in TF Serving, calls of unequal shapes do not make each other fail, and the calls of a batch that fails are run
again one by one, so that only the faulty call fails.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from threading import Lock, Thread
from typing import Any

from tensor_serving.embedded import batch
from tensor_serving.embedded.batch_queue import Batch, Kind, Outcome, Queue, Task
from tensor_serving.embedded.batching_parameters import BatchingParameters
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.metrics import Metrics
from tensor_serving.embedded.tensors import Array

Run = Callable[[Call], list[Array]]
_MIN_PART_ROWS = 12
"""Rows of the smallest part that a call is split into; smaller parts cost more in hand-overs than they gain."""


class Batcher:
    """The threads that run batches, and the queues they take them from."""

    def __init__(self, threads: int, metrics: Metrics) -> None:
        self.threads, self._metrics = threads, metrics
        self._lock = Lock()  # guards everything below, and the queues
        self._queues: dict[Hashable, Queue] = {}
        self._turns: deque[Queue] = deque()  # the same queues, the next one to be served first
        # One lock for each idle thread, which waits to acquire it. A caller with work removes a lock from the list and
        # releases it. A Condition would take three times as long.
        self._idle: list[Any] = []
        self._closed = False
        for number in range(threads):
            Thread(target=self._work, name=f"batch-{number}", daemon=True).start()

    def submit(self, kind: Kind, tasks: list[Task], key: Hashable) -> None:
        """Put the tasks of one call into the queue of this key: all of them, or none, raising ServingError."""
        with self._lock:
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = Queue(key, kind)
                self._turns.append(queue)
            empty, closed = not queue.batches, queue.closed()
            try:
                queue.append(tasks)
            finally:
                self._drop_if_unused(queue)
            if queue.called:
                return
            if queue.brief():
                queue.called = True
                tasks[0].future.get_loop().call_soon(self._turn, queue)
                return
            calls = queue.closed() - closed
            if not calls and empty and queue.due() is not None:
                calls = 1
            for _ in range(calls):
                self._wake_thread()

    def _turn(self, queue: Queue) -> None:
        """Run the waiting tasks on the event loop; if they are no longer expected to be short, wake threads instead."""
        with self._lock:
            queue.called = False
            if not queue.batches:
                return  # all were withdrawn, or a thread has taken the batch
            if not queue.brief():
                for _ in range(max(1, queue.closed())):
                    self._wake_thread()
                return
            taken = queue.batches.popleft()
            queue.running += 1
        self._run(queue, taken, _settle)

    def withdraw(self, key: Hashable, tasks: list[Task]) -> None:
        """Remove tasks whose caller has stopped waiting from their queue, unless they are running."""
        with self._lock:
            queue = self._queues.get(key)
            if queue:
                queue.remove(tasks)
                self._drop_if_unused(queue)

    def close(self) -> None:
        """End the threads once they are idle."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._wake_thread()

    def _wake_thread(self) -> None:
        if self._idle:
            self._idle.pop().release()

    def _drop_if_unused(self, queue: Queue) -> None:
        if not queue.batches and not queue.running:
            del self._queues[queue.key]
            self._turns.remove(queue)

    def _work(self) -> None:
        wakeup = Lock()
        wakeup.acquire()
        while True:
            with self._lock:
                queue, due = self._next()
                if queue:
                    self._turns.remove(queue)
                    self._turns.append(queue)
                    taken = queue.batches.popleft()
                    queue.running += 1
                    if self._idle and self._next()[1] is not None:
                        self._wake_thread()  # there is more work than for this thread
                elif self._closed:
                    return
                else:
                    self._idle.append(wakeup)
            if queue:
                self._run(queue, taken, _settle_from_thread)
            elif not wakeup.acquire(timeout=-1 if due is None else max(0.0, due - time.monotonic())):
                self._end_wait(wakeup)

    def _next(self) -> tuple[Queue | None, float | None]:
        """Return the next queue to serve and 0; or None and the time to check again, None if nothing is waiting."""
        now, soonest = 0.0, None
        for queue in self._turns:
            due = queue.due()
            if due:  # read the clock only if a batch has to wait
                now = now or time.monotonic()
            if due is not None and due <= now:
                return queue, 0.0
            if due is not None:
                soonest = due if soonest is None else min(soonest, due)
        return None, soonest

    def _end_wait(self, wakeup: Any) -> None:
        """Remove this thread from the idle ones, after a wait that timed out."""
        with self._lock:
            if wakeup in self._idle:
                self._idle.remove(wakeup)
            else:
                wakeup.acquire()  # it was released at the same moment

    def _run(self, queue: Queue, taken: Batch, settle: Callable[[list[Task], list[Outcome]], None]) -> None:
        started = time.monotonic()
        tasks = [task for task in taken.tasks if not task.future.cancelled()]
        outcomes = queue.kind.outcomes([task.call for task in tasks], [task.rows for task in tasks]) if tasks else []
        if tasks:  # first, so that the loop wakes up while this thread does the rest
            settle(tasks, outcomes)
        with self._lock:
            queue.running -= 1
            if tasks and not any(isinstance(outcome, Exception) for outcome in outcomes):  # failures do not count
                queue.took(time.monotonic() - started, sum(task.rows for task in tasks))
            self._drop_if_unused(queue)
        if tasks:
            rows = [task.rows for task in tasks]
            executed = batch.padded_size(sum(rows), queue.kind.parameters.allowed_batch_sizes)
            self._metrics.batch(queue.kind.name, rows, executed, [started - task.since for task in tasks])


class BatchedModel:
    """Runs a model's calls through the batcher. For `seconds` and `paces` see Kind."""

    def __init__(self, name: str, run: Run, parameters: BatchingParameters, batcher: Batcher) -> None:
        self.name, self.parameters, self.seconds = name, parameters, 0.0
        self.paces: dict[Hashable, float] = {}
        self._run, self._batcher = run, batcher

    async def run(self, call: Call, rows: int) -> list[Array]:
        """Return the outputs of a call of so many rows, at least one.

        Raises ServingError: UNAVAILABLE when too many batches wait, or the graph's own error. Raises NotRowsError when
        the outputs do not have one row for each row of the inputs.
        """
        loop = asyncio.get_running_loop()
        size = self._part(rows)
        if rows <= size:
            tasks = [Task(call, rows, loop.create_future())]
        else:
            parts = [(batch.slice_rows(call, start, start + size), start) for start in range(0, rows, size)]
            tasks = [Task(part, min(size, rows - start), loop.create_future()) for part, start in parts]
        key = self._key(call)
        self._batcher.submit(self, tasks, key)
        try:
            outputs = [await task.future for task in tasks]
        except BaseException:  # cancelled, or one part failed: the other parts are not needed
            for task in tasks:
                if not task.future.cancel() and not task.future.cancelled():
                    task.future.exception()  # retrieved, or asyncio logs an error
            self._batcher.withdraw(key, tasks)
            raise
        return outputs[0] if len(outputs) == 1 else batch.join(outputs)

    def outcomes(self, calls: list[Call], rows: list[int]) -> list[Outcome]:
        """Run calls as one and return the outcome of each. The batcher calls it, in a thread or on the loop."""
        try:
            padding = batch.padded_size(sum(rows), self.parameters.allowed_batch_sizes) - sum(rows)
            merged = calls[0]
            if len(calls) > 1 or padding:
                merged = batch.merge(calls, padding, self.parameters.pad_variable_length_inputs)
            outputs = batch.split(self._run(merged), rows, padding)
        except Exception as error:  # noqa: BLE001 - it is the calls' outcome and must not end the thread
            if len(calls) == 1:
                return [error]
            return [self.outcomes([call], [length])[0] for call, length in zip(calls, rows, strict=True)]
        return list(outputs)

    def _part(self, rows: int) -> int:
        """Return how many rows of a call go into one batch at most.

        TF Serving splits into parts of max_execution_batch_size; ours also spreads a smaller call over the threads,
        except with allowed sizes, where padding could cost more than that gains. The sizes bound batches, not calls: a
        larger call is split, or is a batch of its own. It is never split into more parts than may wait.
        """
        parameters = self.parameters
        if not parameters.enable_large_batch_splitting:
            return rows
        smallest = -(-rows // max(1, parameters.max_enqueued_batches // 2))
        if parameters.allowed_batch_sizes:
            return max(smallest, parameters.max_execution_batch_size)
        parts = max(1, min(self._batcher.threads, rows // _MIN_PART_ROWS))
        return max(smallest, min(parameters.max_execution_batch_size, -(-rows // parts)))

    def _key(self, call: Call) -> Hashable:
        if self.parameters.pad_variable_length_inputs:
            shapes: tuple[Any, ...] = tuple(value.ndim for value in call.values)
        else:
            shapes = tuple(value.shape[1:] for value in call.values)
        return self, call.feeds, call.fetches, shapes, tuple(value.dtype for value in call.values)


def _settle_from_thread(tasks: list[Task], outcomes: list[Outcome]) -> None:
    with suppress(RuntimeError):  # the loop is closed: the process ends
        tasks[0].future.get_loop().call_soon_threadsafe(_settle, tasks, outcomes)


def _settle(tasks: list[Task], outcomes: list[Outcome]) -> None:
    """Set the outcomes of the waiting calls, on the event loop."""
    for task, outcome in zip(tasks, outcomes, strict=True):
        if task.future.done():
            continue
        if isinstance(outcome, Exception):
            task.future.set_exception(outcome)
        else:
            task.future.set_result(outcome)
