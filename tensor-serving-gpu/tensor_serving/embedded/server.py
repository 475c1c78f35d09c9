"""The process: the port, one thread that loads, and stopping in good order.

The port is taken first, within half a second, so that a taken one is known at once; clients that connect from then on
wait, and get their answers when the first look at the models is done. TensorFlow is imported in the loading thread,
because nothing can interrupt that and the main thread has to hear when it is told to stop.
"""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import grpc

from tensor_serving.cli import on_stop
from tensor_serving.embedded.options import Options

log = logging.getLogger(__name__)

LARGEST_MESSAGE = 64 * 1024 * 1024  # bytes
GRACE = 5.0  # seconds that calls under way get to finish when told to stop


class Server:
    """The embedded model server in this process. Raises RuntimeError when the port cannot be had."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._grpc = grpc.server(
            ThreadPoolExecutor(options.grpc_max_threads, thread_name_prefix="request"),
            options=[
                ("grpc.so_reuseport", 0),  # or two servers could share the port without a word
                ("grpc.max_receive_message_length", LARGEST_MESSAGE),
                ("grpc.max_send_message_length", LARGEST_MESSAGE),
            ],
        )
        self.port = self._grpc.add_insecure_port(f"{options.bind_address}:{options.port}")
        self._stopping = Event()
        self._serving = False
        self.ended = Event()
        self.failure = ""
        self._worker = Thread(target=self._work, name="models", daemon=True)

    def start(self) -> None:
        """Load in the background, then answer. `ended` is set if it cannot go on, with the reason in `failure`."""
        self._worker.start()

    def stop(self) -> bool:
        """Take no more calls, let those under way finish, unload. Return whether the loading thread has ended."""
        if self._serving:  # calls first: they need the models
            self._grpc.stop(GRACE).wait()
        self._stopping.set()
        self._worker.join(timeout=1)
        return not self._worker.is_alive()

    def _work(self) -> None:
        try:
            from tensor_serving.embedded.engine import Engine

            engine = Engine(self._options)
            self._grpc.add_generic_rpc_handlers(engine.handlers())
            if not self._stopping.is_set():
                self._grpc.start()
                self._serving = True
                log.info("serving on %s:%s", self._options.bind_address, self.port)
            engine.keep_up(self._stopping)
            engine.repository.close()
        except Exception as error:
            log.debug("the loading thread ended", exc_info=True)
            self.failure = f"{type(error).__name__}: {error}"
        self.ended.set()


def serve(options: Options) -> int:
    """Serve until TERM or Ctrl-C. Return the exit code: 0 told to stop, 1 could not start."""
    try:
        server = Server(options)
    except RuntimeError as error:
        log.error("cannot listen on %s:%s, is it taken? Choose another --port. (%s)", *_where(options), error)
        return 1
    on_stop(server.ended.set)
    server.start()
    server.ended.wait()
    if server.failure:
        log.error("cannot serve: %s", server.failure)
        return 1
    if not server.stop():
        logging.shutdown()
        os._exit(0)  # a load or the import is under way, in native code that cannot be told to stop
    log.info("stopped")
    return 0


def _where(options: Options) -> tuple[str, int]:
    return options.bind_address, options.port
