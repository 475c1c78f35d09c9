"""How uvicorn runs the application, with bounds on the length of a request's head and on the time to receive it.

httptools collects the path, headers and trailers of a request without a limit: a client that never ends its first line
would fill the memory. uvicorn also waits for them without a limit: clients that send none would occupy all connections.
"""

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024  # bytes of first line and headers, and of the trailers
HEAD_SECONDS = 20.0  # from the connection, or from the first byte of a later request, to the end of the head
_MAX_CONNECTIONS = 1024  # further ones are answered 503
_KEPT_OPEN = 75  # seconds an idle connection stays open; a client that reuses it later may lose its request


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds on a request's head and its trailers: MAX_HEAD_BYTES (plus a read), HEAD_SECONDS.

    A connection that exceeds them is closed.
    """

    # What follows the line with a chunk's size counts as a head until data comes: after the last chunk, the trailers.
    _in_head, _head = True, 0
    _late: asyncio.TimerHandle | None = None  # closes the connection when the awaited head takes too long

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._end_wait()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol. The last read does not count, as it may contain more than the end of the head."""
        if self._in_head:
            if self._head > MAX_HEAD_BYTES:
                text = f"The request's path and headers, or its trailers, are longer than {MAX_HEAD_BYTES} bytes."
                self.send_400_response(text)
                return
            if self._late is None:
                self._await_head()
        self._head += len(data)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._in_head = False
        self._end_wait()
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Called by the parser."""
        self._in_head, self._head = True, 0

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._in_head = False
        self._end_wait()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._in_head, self._head = True, 0
        self._end_wait()
        super().on_message_complete()

    def _await_head(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _end_wait(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def config(application: Any) -> uvicorn.Config:
    """Return the settings to run the application with, on sockets the caller opens."""
    return uvicorn.Config(
        application,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",  # at lower levels it logs every request it cannot parse
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_keep_alive=_KEPT_OPEN,
    )
