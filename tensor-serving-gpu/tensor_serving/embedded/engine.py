"""Everything behind the port: the repository, and keeping it in step with the config file and the folders."""

import gc
import logging
import time
from pathlib import Path
from threading import Event

import grpc
import tensorflow as tf

from tensor_serving.embedded.config import ConfigError, ConfigSource
from tensor_serving.embedded.options import Options
from tensor_serving.embedded.repository import Repository
from tensor_serving.embedded.runtime import Model, quieten
from tensor_serving.embedded.servicers import Servicers
from tensor_serving.embedded.warmup import warm_up

log = logging.getLogger(__name__)


class Engine:
    """Serves what the options name. Raises ConfigError when that cannot be read and will not be looked at again."""

    def __init__(self, options: Options) -> None:
        quieten()
        tf.get_logger().setLevel(logging.ERROR)  # its deprecation notes are about the graph mode wanted here
        gc.freeze()  # TensorFlow's 300,000 long-lived objects need not be walked at every collection
        self._options = options
        self._config = ConfigSource(options)
        self._error = ""
        self.repository = Repository(self._load)
        self._read_config()
        if self._error and not options.model_config_file_poll_wait_seconds:
            raise ConfigError(self._error)
        self._reconcile()

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Return the gRPC services."""
        return Servicers(self.repository).handlers()

    def keep_up(self, stop: Event) -> None:
        """Look at the config file and at the folders, each at its own pace, until told to stop."""
        paces = (self._options.model_config_file_poll_wait_seconds, self._options.file_system_poll_wait_seconds)
        config_due, folders_due = (time.monotonic() + pace if pace else float("inf") for pace in paces)
        while not stop.wait(min(max(0.0, min(config_due, folders_due) - time.monotonic()), 3600.0)):
            now = time.monotonic()
            changed = now >= config_due and self._read_config()
            if changed or now >= folders_due:
                self._reconcile()
                folders_due = now + paces[1] if paces[1] else folders_due
            config_due = now + paces[0] if now >= config_due else config_due

    def _reconcile(self) -> None:
        try:
            self.repository.reconcile()
        except Exception:
            log.exception("the models could not be looked at; what is served stays as it is")

    def _read_config(self) -> bool:
        """Take over the config if it is new and sound; else keep the old one and say why, once."""
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
        self.repository.follow(settings)
        return True

    def _load(self, _name: str, _version: int, folder: Path) -> Model:
        options = self._options
        model = Model(folder, options.tensorflow_intra_op_parallelism, options.tensorflow_inter_op_parallelism)
        try:
            warm_up(model, folder)
        except Exception:
            model.close()
            raise
        return model
