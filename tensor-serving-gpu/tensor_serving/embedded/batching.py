"""Dynamic batching: calls that wait at the same time are run as one.

The event loop puts calls into queues, one queue for each kind of call (model, tensors fed and fetched, dtypes, shapes
but for axis 0); a few threads, shared by all models, take batches out of them, queue after queue. No call waits for
others unless `batch_timeout_micros` is set: a batch is what came while the one before it ran. For that to be much,
and to spare the hand-over between threads, a queue is emptied by one thread at a time. A second one joins when a full
batch waits, so a large call that is split runs on several cores, or when the model is so slow that hand-overs do not
count. What is expected to take less than ten milliseconds the loop runs itself, once it knows which others arrived: the
way to a thread and back would cost a small model as much as its run.

Kinder than the real server: calls of unequal shapes do not spoil each other's batch, and when a batch fails its calls
are run again one by one, so that only the faulty one fails.
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
_LEAST_PART = 12
"""Rows: what is split finer costs more in hand-overs than it gains."""


class Batcher:
    """The threads that run batches, and the queues before them."""

    def __init__(self, threads: int, metrics: Metrics) -> None:
        self.threads, self._metrics = threads, metrics
        self._lock = Lock()  # guards everything below, and the queues
        self._queues: dict[Hashable, Queue] = {}
        self._turns: deque[Queue] = deque()  # the same queues, the next one to be served in front
        # A lock each that an idle thread waits at; a caller with work for it takes it off the list and opens it. A
        # Condition would do the same in three times the time.
        self._idle: list[Any] = []
        self._closed = False
        for number in range(threads):
            Thread(target=self._work, name=f"batch-{number}", daemon=True).start()

    def submit(self, kind: Kind, tasks: list[Task], key: Hashable) -> None:
        """Put the tasks of one call into the queue of this key: all of them, or none and raise ServingError."""
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
                self._ring()

    def _turn(self, queue: Queue) -> None:
        """Run on the loop what has come by now, unless that has become more than a moment's work."""
        with self._lock:
            queue.called = False
            if not queue.batches:
                return  # withdrawn, or taken by a thread
            if not queue.brief():
                for _ in range(max(1, queue.closed())):
                    self._ring()
                return
            taken = queue.batches.popleft()
            queue.running += 1
        self._run(queue, taken, _settle)

    def withdraw(self, key: Hashable, tasks: list[Task]) -> None:
        """Remove tasks without a waiting caller from their queue, unless they are running."""
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
                self._ring()

    def _ring(self) -> None:
        if self._idle:
            self._idle.pop().release()

    def _drop_if_unused(self, queue: Queue) -> None:
        if not queue.batches and not queue.running:
            del self._queues[queue.key]
            self._turns.remove(queue)

    def _work(self) -> None:
        bell = Lock()
        bell.acquire()
        while True:
            with self._lock:
                queue, due = self._next()
                if queue:
                    self._turns.remove(queue)
                    self._turns.append(queue)
                    taken = queue.batches.popleft()
                    queue.running += 1
                    if self._idle and self._next()[1] is not None:
                        self._ring()  # there is more than this thread can do now
                elif self._closed:
                    return
                else:
                    self._idle.append(bell)
            if queue:
                self._run(queue, taken, _settle_from_thread)
            elif not bell.acquire(timeout=-1 if due is None else max(0.0, due - time.monotonic())):
                self._wake(bell)

    def _next(self) -> tuple[Queue | None, float | None]:
        """Return the queue whose turn it is and 0, or None and when to look again, if there is anything to wait for."""
        now, soonest = 0.0, None
        for queue in self._turns:
            due = queue.due()
            if due:  # the clock is read only where a caller has to wait
                now = now or time.monotonic()
            if due is not None and due <= now:
                return queue, 0.0
            if due is not None:
                soonest = due if soonest is None else min(soonest, due)
        return None, soonest

    def _wake(self, bell: Any) -> None:
        """Be no longer idle after waiting in vain."""
        with self._lock:
            if bell in self._idle:
                self._idle.remove(bell)
            else:
                bell.acquire()  # rung in the same moment

    def _run(self, queue: Queue, taken: Batch, settle: Callable[[list[Task], list[Outcome]], None]) -> None:
        started = time.monotonic()
        tasks = [task for task in taken.tasks if not task.future.cancelled()]
        outcomes = queue.kind.outcomes([task.call for task in tasks], [task.rows for task in tasks]) if tasks else []
        if tasks:  # first of all: while the loop wakes up there is time for the rest
            settle(tasks, outcomes)
        with self._lock:
            queue.running -= 1
            if tasks and not any(isinstance(outcome, Exception) for outcome in outcomes):  # a failure is no measure
                queue.took(time.monotonic() - started, sum(task.rows for task in tasks))
            self._drop_if_unused(queue)
        if tasks:
            rows = [task.rows for task in tasks]
            executed = batch.padded_size(sum(rows), queue.kind.parameters.allowed_batch_sizes)
            self._metrics.batch(queue.kind.name, rows, executed, [started - task.since for task in tasks])


class BatchedModel:
    """A model's calls on their way through the batcher. For `seconds` and `paces` see Kind."""

    def __init__(self, name: str, run: Run, parameters: BatchingParameters, batcher: Batcher) -> None:
        self.name, self.parameters, self.seconds = name, parameters, 0.0
        self.paces: dict[Hashable, float] = {}
        self._run, self._batcher = run, batcher

    async def run(self, call: Call, rows: int) -> list[Array]:
        """Return the outputs of a call of so many rows, at least one.

        Raises ServingError: UNAVAILABLE when too much waits already, or what the graph fails with. Raises NotRowsError
        when the outputs are not one row for each row of the inputs.
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
        except BaseException:  # cancelled, or one part failed: no caller waits for the others
            for task in tasks:
                if not task.future.cancel() and not task.future.cancelled():
                    task.future.exception()  # seen, or asyncio complains
            self._batcher.withdraw(key, tasks)
            raise
        return outputs[0] if len(outputs) == 1 else batch.join(outputs)

    def outcomes(self, calls: list[Call], rows: list[int]) -> list[Outcome]:
        """Run calls as one and return what came of each. The batcher calls it, in a thread or on the loop."""
        try:
            padding = batch.padded_size(sum(rows), self.parameters.allowed_batch_sizes) - sum(rows)
            merged = calls[0]
            if len(calls) > 1 or padding:
                merged = batch.merge(calls, padding, self.parameters.pad_variable_length_inputs)
            outputs = batch.split(self._run(merged), rows, padding)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the calls, not to the thread
            if len(calls) == 1:
                return [error]
            return [self.outcomes([call], [length])[0] for call, length in zip(calls, rows, strict=True)]
        return list(outputs)

    def _part(self, rows: int) -> int:
        """Return how many rows of a call go into one batch at most.

        The real server cuts into pieces of max_execution_batch_size; ours also spreads a smaller call over the
        threads. Not with allowed sizes: padding could cost more than that gains. The bounds are those of batches: a
        call that is larger than one is cut, or is a batch of its own, and never into more pieces than may wait.
        """
        parameters = self.parameters
        if not parameters.enable_large_batch_splitting:
            return rows
        smallest = -(-rows // max(1, parameters.max_enqueued_batches // 2))
        if parameters.allowed_batch_sizes:
            return max(smallest, parameters.max_execution_batch_size)
        parts = max(1, min(self._batcher.threads, rows // _LEAST_PART))
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
