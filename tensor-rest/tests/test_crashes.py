"""A call that ends the model server: it ends it twice at most, and the calls beside it are answered late."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import grpc
import numpy as np
import pytest
from client_kit import ask, connected, half_plus_two
from gateway_kit import wait_until
from toy_model_server import ModelServer

from tensor_rest.backend.circuit_breaker import CircuitBreaker
from tensor_rest.errors import ApiError, UnavailableError

FATAL = 666.0  # a value that ends the server
AWAY_SECONDS = 0.2  # between its end and its start


class CrashingServer:
    """The model half at one port, in one life after the other: the value FATAL ends a life, the next begins soon."""

    def __init__(self) -> None:
        self.crashes = 0
        self.knows_culprit = False  # as the embedded server may: it refuses the repeat of the call that ended it
        self.calls: list[str] = []
        self.takes = 0.0  # seconds, of calls that are not fatal
        self.slow = threading.Event()  # calls wait for it, but for fatal ones
        self.slow.set()
        self._stopped = False
        self._life = _Life(self, 0)
        self.port = self._life.port

    def stop(self) -> None:
        self.slow.set()
        self._stopped = True
        self._life.end()
        self._life.toy.stop()

    def crashed(self, toy: ModelServer) -> None:
        self.crashes += 1
        restart = threading.Timer(AWAY_SECONDS, self._begin, [toy])
        restart.daemon = True
        restart.start()

    def _begin(self, former: ModelServer) -> None:
        if not self._stopped:
            self._life = _Life(self, self.port)
        former.stop()


class _Life:
    """From a start to a crash: a model server behind a relay, so that the crash cuts all its connections at once."""

    def __init__(self, server: CrashingServer, port: int) -> None:
        self._server = server
        model = half_plus_two()
        model.compute = self._compute
        self.toy = ModelServer(half=model)
        self.toy.calls = server.calls
        if server.knows_culprit and server.crashes:
            self.toy.fail_repeats = (grpc.StatusCode.DATA_LOSS, "this call crashed the model server")
        self.toy.start()
        self._lock = threading.Lock()
        self._ended = False
        self._listener = socket.create_server(("127.0.0.1", port))
        self._ends: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def end(self) -> bool:
        """Cut every connection, and take no more; False if that was done before."""
        with self._lock:
            if self._ended:
                return False
            self._ended = True
            for end in (self._listener, *self._ends):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        return True

    def _compute(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if (inputs["x"] == FATAL).any():
            if self.end():
                self._server.crashed(self.toy)
        elif not self._server.slow.is_set():
            self._server.slow.wait(20)
        time.sleep(self._server.takes)
        return {"y": inputs["x"] / 2 + 2}

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.toy.port))
                with self._lock:
                    self._ends += (near, far)
                    if self._ended:  # between the two
                        near.close()
                        far.close()
                        return
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def server() -> Iterator[CrashingServer]:
    made = CrashingServer()
    yield made
    made.stop()


def fatal(client: object, rows: int = 1, **options: object) -> ApiError:
    with pytest.raises(ApiError) as caught:
        ask(client, FATAL, rows, **options)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("batch", [False, True])
def test_a_call_that_ends_the_server_fails_alone(
    server: CrashingServer, batch: bool, caplog: pytest.LogCaptureFixture
) -> None:
    client = connected(f"127.0.0.1:{server.port}", grace=20, calls=16)
    server.calls.clear()
    with ThreadPoolExecutor(12) as pool:
        server.slow.clear()
        before = [pool.submit(ask, client, number, batch=batch) for number in range(4)]
        wait_until(lambda: "Predict" in server.calls)
        bad = pool.submit(fatal, client, batch=batch)
        more = [pool.submit(ask, client, number, batch=batch) for number in range(4, 8)]
        server.slow.set()
        assert isinstance(bad.result(30), UnavailableError)
        assert all(call.result(30) for call in (*before, *more))
    assert server.crashes == 2
    assert "during a call of model 'half'" in caplog.text
    again = fatal(client, batch=batch)
    assert "model 'half'" in str(again)
    assert again.retry_after > 30
    assert server.crashes == 2  # the same bytes are not sent again
    assert ask(client, 1).version == 1


@pytest.mark.parametrize("batch", [False, True])
def test_a_call_that_the_server_knows_to_have_ended_it_ends_it_once(server: CrashingServer, batch: bool) -> None:
    server.knows_culprit = True
    client = connected(f"127.0.0.1:{server.port}", grace=20, calls=16)
    for _ in range(2):  # the same bytes are not sent again
        refused = fatal(client, batch=batch)
        assert isinstance(refused, UnavailableError)
        assert "model 'half'" in str(refused)
        assert refused.retry_after > 30
    assert server.crashes == 1
    assert ask(client, 1).version == 1


def test_lost_calls_are_repeated_one_at_a_time_however_long_one_takes() -> None:
    breaker, over = CircuitBreaker(20, 8, lambda: None), threading.Event()
    breaker.record_unreachable()
    entered = threading.Event()

    def repeat() -> None:
        with breaker.permit(time.monotonic() + 30, lost=True):
            entered.set()
            over.wait(20)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(repeat)
        assert entered.wait(10)
        entered.clear()
        second = pool.submit(repeat)
        assert not entered.wait(1)  # longer than the others are kept back
        over.set()
        first.result(10)
        second.result(10)


def test_workers_repeat_one_call_at_a_time_among_them(server: CrashingServer, tmp_path: Path) -> None:
    """Else the innocent calls of other workers would be lost twice, and refused."""
    address, lock = f"127.0.0.1:{server.port}", tmp_path / "repeat.lock"
    bad, *others = (connected(address, grace=20, repeat_lock=lock) for _ in range(4))
    server.calls.clear()
    server.slow.clear()
    with ThreadPoolExecutor(4) as pool:
        innocent = [pool.submit(ask, client) for client in others]
        wait_until(lambda: server.calls.count("Predict") == len(others))
        server.takes = 0.5  # of each repeat
        culprit = pool.submit(fatal, bad)
        wait_until(lambda: server.crashes)
        server.slow.set()
        assert isinstance(culprit.result(40), UnavailableError)
        assert all(call.result(40) for call in innocent)
    assert server.crashes == 2


def test_many_calls_that_end_the_server_end_it_twice_each_at_most(server: CrashingServer) -> None:
    client = connected(f"127.0.0.1:{server.port}", grace=20, calls=16)
    over = threading.Event()

    def innocent(seed: int) -> int:
        count = 0
        while not over.is_set():
            ask(client, seed * 10 + count % 10, batch=seed % 2 == 0)
            count += 1
        return count

    with ThreadPoolExecutor(10) as pool:
        calls = [pool.submit(innocent, seed) for seed in range(6)]
        try:
            bad = [pool.submit(fatal, client, rows, batch=False) for rows in (1, 2, 3)]
            assert all(isinstance(each.result(60), UnavailableError) for each in bad)
        finally:
            over.set()
        assert all(call.result(60) for call in calls)
    assert server.crashes <= 6
