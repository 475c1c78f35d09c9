"""Everything behind the ports: the models, kept in step with the config file and the folders.

A thread of its own, "models", reads files, loads, warms up and unloads; the event loop only reads the repository.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from tensorflow_serving.config import model_server_config_pb2

from tensor_serving.embedded.config import ConfigError, ConfigSource, ModelSettings, settings_of
from tensor_serving.embedded.crash import open_record
from tensor_serving.embedded.errors import ServingError, failed_precondition
from tensor_serving.embedded.execution import Execution, Runner
from tensor_serving.embedded.metrics import Metrics
from tensor_serving.embedded.options import Options
from tensor_serving.embedded.repository import Repository
from tensor_serving.embedded.runtime import Model
from tensor_serving.embedded.servable import Retries
from tensor_serving.embedded.warmup import warm_up

log = logging.getLogger(__name__)

_MAX_WAIT_S = 3600.0  # seconds of one wait; a longer one is repeated


class Engine:
    """Serves what the options name, once started. `repository` accepts calls before that; they wait.

    `crashing_request` is the id of the request that crashed the previous process, if it is known.

    `ended` is done when the models thread has ended: with a ConfigError as its exception when the config cannot be
    read and is not polled.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._config = ConfigSource(options)
        self._error = ""
        self._jobs: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._stopping = False
        self._config_due = self._folders_due = float("inf")
        self._record, self._running, self.crashing_request = open_record(options.load_record_file)
        self.metrics = Metrics()
        self.execution = Execution(options, self.metrics)
        retries = Retries(options.max_num_load_retries, options.load_retry_interval_micros / 1e6)
        self.repository = Repository(self._load, self._jobs.put, retries)
        self.ended: Future[None] = Future()
        self._thread = Thread(target=self._work, name="models", daemon=True)

    def start(self) -> None:
        """Start loading; return at once."""
        self._thread.start()

    def close(self, seconds: float) -> bool:
        """Unload everything. Return whether that finished in time; a running load cannot be interrupted."""
        self._jobs.put(self._stop)
        self._thread.join(seconds)
        self._record.server_stopped()
        return not self._thread.is_alive()

    async def reload(self, models: model_server_config_pb2.ModelConfigList) -> None:
        """Serve these models and no others, until the config file changes; wait until the new ones are loaded.

        Raises ServingError: before any change, for an invalid config or a label on a version that is not loaded;
        afterwards, when no version of a new model could be loaded. That is raised after the first try; TF Serving lets
        the caller wait for all retries.
        """
        settings = settings_of(models)
        done: Future[None] = Future()

        def job() -> None:
            if not done.set_running_or_notify_cancel():  # the call was cancelled
                return
            try:
                self._apply_config(settings)
            except Exception as error:  # noqa: BLE001 - raised in the caller, whatever it is
                done.set_exception(error)
            else:
                done.set_result(None)

        self._jobs.put(job)
        await asyncio.wrap_future(done)

    def _work(self) -> None:
        try:
            self._load_first()
            while not self._stopping:
                self._next_turn()
            self.repository.close()
        except Exception as error:  # noqa: BLE001 - raised where `ended` is awaited
            self.ended.set_exception(error)
        else:
            self.ended.set_result(None)

    def _load_first(self) -> None:
        """Load the models of the first config.

        Raises ConfigError if the config is invalid or missing, and its file is not polled.
        """
        options, now = self._options, time.monotonic()
        self._config_due = now + (options.model_config_file_poll_wait_seconds or float("inf"))
        self._folders_due = now + (options.file_system_poll_wait_seconds or float("inf"))
        if not self._read_config():
            if self._error and not options.model_config_file_poll_wait_seconds:
                raise ConfigError(self._error)
            self.repository.configure({})
        self._reconcile()
        gc.freeze()  # the modules' objects live as long as the process and need not be scanned at every collection
        gc.set_threshold(50_000)  # with the default, 700, an image in JSON, hundreds of lists, starts a collection

    def _next_turn(self) -> None:
        """Run the next job, or poll what is due."""
        due = min(self._config_due, self._folders_due, self.repository.next_try())
        try:
            job = self._jobs.get(timeout=min(max(0.0, due - time.monotonic()), _MAX_WAIT_S))
        except Empty:
            self._poll()
        else:
            job()

    def _poll(self) -> None:
        now = time.monotonic()
        changed = False
        if now >= self._config_due:
            changed = self._read_config()
            self._config_due = now + self._options.model_config_file_poll_wait_seconds
        if changed or now >= min(self._folders_due, self.repository.next_try()):
            self._reconcile()
            self._folders_due = now + (self._options.file_system_poll_wait_seconds or float("inf"))

    def _stop(self) -> None:
        self._stopping = True

    def _apply_config(self, settings: Mapping[str, ModelSettings]) -> None:
        new = settings.keys() - self.repository.names()
        self.repository.check_labels(settings)
        self.repository.configure(settings)
        self.repository.reconcile()
        self.repository.check_available(new)

    def _reconcile(self) -> None:
        try:
            self.repository.reconcile()
        except Exception:
            log.exception("the model folders could not be scanned; what is served stays as it is")

    def _read_config(self) -> bool:
        """Apply the config if it is new and valid; else keep the old one and log why, once."""
        settings, error = None, ""
        try:
            settings = self._config.read()
            error = self._error if settings is None else ""
        except ConfigError as problem:
            error = f"{self._options.model_config_file}: {problem}"
        except OSError as problem:
            error = f"{self._options.model_config_file} cannot be read: {problem.strerror}"
        if error and error != self._error:
            log.error("%s; what is served stays as it is", error)
        self._error = error
        if settings is None:
            return False
        log.info("config: %s", ", ".join(sorted(settings)) or "no model")
        self.repository.configure(settings)
        return True

    def _load(self, name: str, _version: int, folder: Path) -> Runner:
        if reason := self._record.reason(folder):
            raise failed_precondition(reason)
        options, started = self._options, time.monotonic()
        succeeded = False
        self._record.begin(folder)
        try:
            model = Model(folder, options.tensorflow_intra_op_parallelism, options.tensorflow_inter_op_parallelism)
            try:
                if options.enable_model_warmup:
                    self._warm_up(model, folder)
                runner = self.execution.runner(name, model, folder, self._running.slot(folder))
            except BaseException:
                model.close()
                raise
            succeeded = True
            self._record.loaded(folder)
        finally:
            if not succeeded:
                self._record.discard(folder)
            self.metrics.load(name, folder, succeeded, time.monotonic() - started)
        return runner

    def _warm_up(self, model: Model, folder: Path) -> None:
        code, started = "UNKNOWN", time.monotonic()
        try:
            warm_up(model, folder)
            code = "OK"
        except ServingError as error:
            code = error.code.name
            raise
        finally:
            self.metrics.warmup(folder, code, time.monotonic() - started)
