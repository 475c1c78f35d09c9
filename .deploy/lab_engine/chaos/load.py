"""An open-loop load: calls start at a fixed rate whether or not earlier ones have been answered.

A latency counts from the moment a call was due, so that a stall shows in every call it delayed (no coordinated
omission). Standard library only, like the rest of the engine.
"""

import http.client
import select
import socket
import statistics
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

_MAX_CALLS = 1024  # at the same time; a thread each, started when needed
_ERRORS = {
    ConnectionRefusedError: "refused",
    TimeoutError: "timed out",
    http.client.RemoteDisconnected: "closed without an answer",
    http.client.IncompleteRead: "cut off",
    ConnectionResetError: "reset",
    BrokenPipeError: "reset",
}


@dataclass(frozen=True)
class Call:
    """A finished call: when it was due and how long its answer took, both in seconds, and its status or error."""

    due: float  # time.monotonic()
    seconds: float
    outcome: str

    @property
    def failed(self) -> bool:
        return self.outcome != "200"


@dataclass(frozen=True)
class Summary:
    """Statistics of a load's calls."""

    calls: int
    failed: int
    rate: float  # calls started per second
    p50: float  # milliseconds, of the calls that were answered with 200
    p99: float
    longest: float
    outcomes: dict[str, int]  # status or error -> calls

    def __str__(self) -> str:
        named = ", ".join(f"{outcome}: {count}" for outcome, count in sorted(self.outcomes.items()))
        return (
            f"{self.calls} calls at {self.rate:.1f}/s, {self.failed} failed ({named}); "
            f"p50 {self.p50:.0f} ms, p99 {self.p99:.0f} ms, longest {self.longest:.0f} ms"
        )


class Client:
    """Sends one request to an address again and again, over one keep-alive connection for each thread.

    A connection that the server has closed meanwhile is replaced before the request is sent; no request is retried.
    """

    def __init__(self, url: str, body: bytes | None, headers: Mapping[str, str], timeout: float = 60) -> None:
        parts = urllib.parse.urlsplit(url)
        assert parts.hostname == "127.0.0.1", "loads are aimed at this machine only"
        self._host, self._port, self._path = parts.hostname, parts.port or 80, parts.path
        self._body, self._headers, self._timeout = body, dict(headers), timeout
        self._local = threading.local()

    def __call__(self) -> str:
        """Send the request; return the status, or a word for the error."""
        connection = self._connection()
        try:
            connection.request("POST" if self._body else "GET", self._path, self._body, self._headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return _ERRORS.get(type(error), type(error).__name__)
        return str(answer.status)

    def _connection(self) -> http.client.HTTPConnection:
        kept: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if kept is None:
            kept = self._local.connection = http.client.HTTPConnection(self._host, self._port, self._timeout)
        elif kept.sock and _is_readable(kept.sock):  # no answer is expected, so it has been closed
            kept.close()
        return kept


def _is_readable(connection: socket.socket) -> bool:
    found = select.poll()  # select() is limited to file descriptors up to 1023
    found.register(connection, select.POLLIN)
    return bool(found.poll(0))


class Load:
    """Calls `send` at `rate` per second until the block ends, then waits for the last answers."""

    def __init__(self, send: Callable[[], str], rate: float) -> None:
        self.calls: list[Call] = []
        self._send, self._rate = send, rate
        self._stop = threading.Event()
        self._due: list[float] = []  # of every call that was started
        self._pool = ThreadPoolExecutor(_MAX_CALLS, "load")
        self._clock = threading.Thread(target=self._start_calls, name="load clock")

    def __enter__(self) -> "Load":
        self._clock.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._clock.join()
        self._pool.shutdown()

    def in_flight(self) -> int:
        """Return the number of calls that were started and have no answer yet."""
        return len(self._due) - len(self.calls)

    def between(self, begin: float, end: float) -> list[Call]:
        """Return the finished calls that were due in this interval (time.monotonic())."""
        return [call for call in self.calls if begin <= call.due < end]

    def answers(self) -> int:
        return sum(not call.failed for call in self.calls)

    def summary(self) -> Summary:
        return summary(self.calls)

    def _start_calls(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            self._due.append(due)
            self._pool.submit(self._call, due)
            due += 1 / self._rate

    def _call(self, due: float) -> None:
        outcome = self._send()
        self.calls.append(Call(due, time.monotonic() - due, outcome))


def summary(calls: list[Call]) -> Summary:
    """Return the statistics of these calls."""
    good = sorted(call.seconds * 1000 for call in calls if not call.failed)
    due = [call.due for call in calls]
    span = max(due) - min(due) if len(due) > 1 else 0.0
    cuts = statistics.quantiles(good, n=100, method="inclusive") if len(good) > 1 else [0.0] * 99
    return Summary(
        len(calls),
        sum(call.failed for call in calls),
        (len(due) - 1) / span if span else 0.0,
        cuts[49],
        cuts[98],
        good[-1] if good else 0.0,
        dict(Counter(call.outcome for call in calls)),
    )
