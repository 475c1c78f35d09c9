"""The process: one event loop for gRPC and REST, the ports, and a clean shutdown.

The ports are opened first, so that a port in use is reported at once. Then the APIs accept calls, long before the
models are loaded: early calls wait, and are answered late instead of refused. TERM drains: new calls are refused, calls
in flight finish, everything is unloaded.

The process exits with its connections open. gRPC's own stop would cancel calls that were received but not started, and
clients do not retry those; a closed connection is UNAVAILABLE to them, which they do retry. And a load or run in native
code could not be stopped anyway.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from tensor_serving.embedded import tls
from tensor_serving.embedded.direct import Tokens, metadata_value, read_key
from tensor_serving.embedded.metrics import read_monitoring_config
from tensor_serving.embedded.options import Options
from tensor_serving.embedded.transport import Server as Transport

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Bytes of a request or an answer."""
MAX_CALLS = 1024
"""gRPC calls in the server at the same time, including waiting ones; further calls get RESOURCE_EXHAUSTED."""
MAX_DIRECT_CALLS = 256
"""The same for clients with tokens, on their own port."""
GRACE = 5.0
"""Seconds that calls in flight get to finish after a stop signal."""
_UNLOAD = 1.0  # seconds


def serve(options: Options) -> int:
    """Serve until TERM or Ctrl-C. Return the exit code: 0 stopped by a signal, 1 could not start."""
    loop = _event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(_Server(options, loop).run())


class CannotServeError(Exception):
    """The server cannot start. The text has the reason and a remedy."""


class _Server:
    def __init__(self, options: Options, loop: asyncio.AbstractEventLoop) -> None:
        self._options, self._loop = options, loop
        self._stopping = asyncio.Event()
        self._signals: set[int] = set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)

    async def run(self) -> int:
        options = self._options
        try:
            plain = Transport(MAX_CALLS, MAX_MESSAGE_BYTES)
            over_tls = _OverTls() if options.ssl_config_file else None
            port = self._listen(plain, over_tls)
            direct = self._direct(plain)
            rest_socket = _rest_socket(options)
            # Only now, with the ports open, because this import loads TensorFlow's library.
            from tensor_serving.embedded.engine import Engine

            engine = Engine(options)
            rest = self._rest(rest_socket, engine)
        except Exception as error:
            log.debug("could not start", exc_info=True)
            log.error("cannot serve: %s", error)
            return 1
        from tensor_serving.embedded.servicers import Servicers

        servicers = Servicers(engine.repository, engine.reload, engine.metrics, engine.crashing_request)
        handlers = servicers.handlers()
        plain.add_handlers(handlers)
        await plain.start()
        if direct:
            await direct.start(servicers)
        if over_tls:
            over_tls.server.add_generic_rpc_handlers(handlers)
            await over_tls.server.start()
        log.info("serving on %s:%s", options.bind_address, port)
        if rest:
            rest.start()
        engine.start()
        ended, stopping = asyncio.wrap_future(engine.ended), asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not self._stopping.is_set():
            log.error("cannot serve: %s", ended.exception() or "the models thread has ended")
            return 1
        watchers_ended = servicers.health.drain()
        await asyncio.gather(watchers_ended, engine.repository.drain(GRACE), rest.drain() if rest else asyncio.sleep(0))
        sent_over_tls = over_tls.drain() if over_tls else asyncio.sleep(0)
        await asyncio.gather(plain.drain(GRACE), direct.drain() if direct else asyncio.sleep(0), sent_over_tls)
        if engine.close(_UNLOAD):
            log.info("stopped")
        logging.shutdown()
        os._exit(0)

    def _stop(self, number: int) -> None:
        """Drain and stop; exit at once at a repeated signal. TERM from the parent after Ctrl-C is not a repetition."""
        if number in self._signals:
            log.warning("stop signal again: calls in flight are cut off")
            logging.shutdown()
            os._exit(1)
        self._signals.add(number)
        if not self._stopping.is_set():
            log.info("stop signal; calls in flight get %.0f s to finish", GRACE)
            self._stopping.set()

    def _listen(self, plain: Transport, over_tls: "_OverTls | None") -> int:
        """Open the gRPC port, with TLS if it is configured, and the Unix socket; return the port's number."""
        options = self._options
        where = f"{_host(options)}:{options.port}"
        try:
            if over_tls and options.ssl_config_file:
                credentials = tls.server_credentials(options.ssl_config_file)
                port = int(over_tls.server.add_secure_port(where, credentials))
            else:
                port = plain.listen(options.bind_address, options.port)
        except (OSError, RuntimeError) as error:
            reason = "is it taken, or is the key or certificate wrong?" if options.ssl_config_file else "is it taken?"
            raise CannotServeError(f"cannot listen on {where}, {reason} Choose another --port. ({error})") from error
        if options.grpc_socket_path:
            try:
                plain.listen_at(options.grpc_socket_path)
            except OSError as error:
                text = f"cannot listen on --grpc_socket_path={options.grpc_socket_path} ({error})"
                raise CannotServeError(text) from error
        return port

    def _direct(self, beside: Transport) -> "_Direct | None":
        """Open the port for clients with tokens, if one is configured."""
        options = self._options
        if not options.direct_key_file:
            return None
        try:
            tokens = Tokens(read_key(options.direct_key_file))
            return _Direct(options.bind_address, options.direct_port, tokens, beside)
        except (OSError, ValueError) as error:
            raise CannotServeError(f"cannot serve --direct_port={options.direct_port} ({error})") from error

    def _rest(self, rest_socket: socket.socket | None, engine: Any) -> "_Rest | None":
        options = self._options
        if rest_socket is None:
            return None
        from tensor_serving.embedded.rest.app import App

        timeout = options.rest_api_timeout_in_ms / 1000
        path = read_monitoring_config(options.monitoring_config_file) if options.monitoring_config_file else None
        return _Rest(App(engine.repository, engine.metrics, timeout, path), rest_socket)


class _Direct:
    """The port for clients with tokens, opened by the constructor; `beside` shares its memory. Raises OSError."""

    def __init__(self, host: str, port: int, tokens: Tokens, beside: Transport) -> None:
        def admit(call: Any) -> None:
            tokens.model(metadata_value(call, "authorization"))

        self._transport = Transport(MAX_DIRECT_CALLS, MAX_MESSAGE_BYTES, beside, admit)
        self._tokens = tokens
        self._where = f"{host}:{self._transport.listen(host, port)}"

    async def start(self, servicers: Any) -> None:
        self._transport.add_handlers(servicers.handlers_for_tokens(self._tokens))
        await self._transport.start()
        log.info("serving predictions to clients with tokens on %s", self._where)

    async def drain(self) -> None:
        """Return when every answer is sent, or after the grace period."""
        await self._transport.drain(GRACE)


class _Rest:
    """The REST API: uvicorn on this loop; started when the process is ready."""

    def __init__(self, app: Any, listening: socket.socket) -> None:
        import uvicorn

        from tensor_serving.embedded.rest.http import config

        class Server(uvicorn.Server):
            @contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield  # the process handles signals, not uvicorn

        settings = config(app)
        settings.timeout_graceful_shutdown = int(GRACE)
        self._server, self._socket = Server(settings), listening

    def start(self) -> None:
        log.info("serving REST on %s:%s", *self._socket.getsockname()[:2])
        self._task = asyncio.ensure_future(self._server.serve(sockets=[self._socket]))

    async def drain(self) -> None:
        """Accept no further requests; return when those in flight have been answered."""
        self._server.should_exit = True
        await self._task


class _OverTls(grpc.aio.ServerInterceptor):
    """gRPC's own server, which serves TLS, and the number of its calls whose answers are not sent yet."""

    def __init__(self) -> None:
        self._in_flight = 0
        self.server = grpc.aio.server(
            interceptors=[self],
            maximum_concurrent_rpcs=MAX_CALLS,
            options=[
                ("grpc.so_reuseport", 0),  # or two servers could silently share the port
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ],
        )

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Count a call. The streams of the health service are left out: they end by themselves."""
        handler = await continuation(details)
        if not handler or handler.response_streaming:
            return handler

        async def counted(data: bytes, context: Any) -> bytes:
            self._in_flight += 1
            context.add_done_callback(self._done)
            return bytes(await handler.unary_unary(data, context))

        return grpc.unary_unary_rpc_method_handler(counted)

    async def drain(self) -> None:
        """Return when every answer is sent, or after the grace period."""
        deadline = time.monotonic() + GRACE
        while self._in_flight and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    def _done(self, _context: Any) -> None:
        self._in_flight -= 1


def _event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # it has no wheels for some platforms; asyncio's own loop does the same, slower
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _rest_socket(options: Options) -> socket.socket | None:
    if not options.rest_api_port:
        return None
    family = socket.AF_INET6 if ":" in options.bind_address else socket.AF_INET
    try:
        return socket.create_server((options.bind_address, options.rest_api_port), family=family, backlog=1024)
    except OSError as error:
        where = f"{_host(options)}:{options.rest_api_port}"
        raise CannotServeError(
            f"cannot listen on {where}, is it taken? Choose another --rest_api_port. ({error})"
        ) from error


def _host(options: Options) -> str:
    return f"[{options.bind_address}]" if ":" in options.bind_address else options.bind_address
