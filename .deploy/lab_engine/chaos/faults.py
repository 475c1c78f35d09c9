"""The faults that `bin/compose.sh chaos NAME` injects into a running lab.

Each is bounded in count and time, affects only 127.0.0.1, and is undone at its end, also after Ctrl-C. `play` returns
whether the fault's criterion was met; docs/reliability.md lists them.
"""

import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

from .. import console, sample
from ..errors import EngineError
from ..settings import HOST, Settings
from ..verbs import confirm
from ..waiting import wait_until
from .load import Summary
from .stage import Stage

_MODEL = "chaos"  # the one that is published and removed
_QUARANTINE_SECONDS = 60.0
_CONNECTIONS = 64


@dataclass(frozen=True)
class Fault:
    """A fault: what it does, the criterion for passing, and how it is injected."""

    about: str
    criterion: str
    play: Callable[[Stage], bool]
    confirmation: str = ""  # what the user has to agree that it will do


def run(settings: Settings, engine: str, name: str, sure: bool) -> int:
    """Inject a fault; return the exit code: 0 if its criterion was met, else 1."""
    fault = FAULTS[name]
    if fault.confirmation:
        confirm(sure, f"{fault.confirmation} of the lab in {settings.home}, and put everything back at the end")
    sample.classify(settings)
    console.say(f"{name}: {fault.about}")
    stage = Stage(settings, engine)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        met = fault.play(stage)
    finally:
        kept = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the undo must not be interrupted
        stage.undo.close()
        signal.signal(signal.SIGINT, kept)
    console.say(f"criterion: {fault.criterion}: {console.good('met') if met else console.bad('missed')}")
    return 0 if met else 1


def _kill_serving(stage: Stage) -> bool:
    with stage.load(20) as load:
        stage.pause(3)
        stage.say(f"KILL to the model server (process {stage.kill_model_server()})")
        stage.pause(12)
    return _say(stage, load.summary()).failed == 0


def _kill_worker(stage: Stage) -> bool:
    in_flight = 0
    with stage.load(60) as load:
        for _ in range(3):
            stage.pause(4)
            in_flight += load.in_flight()
            stage.say(f"KILL to a worker of the gateway (process {stage.kill_worker()})")
            in_flight += 1  # one that arrives in between
        stage.pause(4)
    stage.say(f"calls in flight when the signals were sent: at most {in_flight}")
    return _say(stage, load.summary()).failed <= in_flight


def _corrupt_model(stage: Stage) -> bool:
    return _bad_model(stage, lambda: stage.python("tensor-jupyter", "publish_damaged", _MODEL, sample.MODEL))


def _crash_model(stage: Stage) -> bool:
    return _bad_model(stage, lambda: stage.python("tensor-jupyter", "crash_model", "--publish", _MODEL))


def _bad_model(stage: Stage, publish: Callable[[], object]) -> bool:
    """Check that other models answer, and that this one is quarantined with a reason and unlisted when deleted."""
    stage.undo.callback(stage.python, "tensor-jupyter", "remove_model", _MODEL)
    with stage.load(20) as load:
        publish()
        stage.say(f"published as model {_MODEL}, version 1")
        reason = stage.quarantine(_MODEL, _QUARANTINE_SECONDS)
        stage.say(f"quarantined: {reason[:160]}" if reason else f"not quarantined in {_QUARANTINE_SECONDS:.0f} s")
        stage.pause(3)
    stage.undo.close()
    forgotten = wait_until(lambda: not stage.model(_MODEL), 15)
    stage.say("deleted, and forgotten" if forgotten else "deleted, and still listed after 15 s")
    return not _say(stage, load.summary()).failed and bool(reason) and forgotten


def _fill_disk(stage: Stage) -> bool:
    filler = stage.hold("tensor-rest", "fill_disk")
    assert filler.stdout is not None
    if not (free := filler.stdout.readline().strip()):
        raise EngineError("the disk was not filled; the line above says why")
    stage.say(f"the disk of the feedback folder is full ({int(free) >> 20} MiB more than before)")
    with stage.load(20) as load:
        stage.pause(10)
    stage.undo.close()
    again = stage.answers_again(10)
    stage.say(f"space again: an answer after {again:.1f} s")
    return not _say(stage, load.summary()).failed and again < 10


def _slow_client(stage: Stage) -> bool:
    head = b"POST /predictlabel HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    return _beside(stage, [head + b"Content-Length: 1000\r\n\r\n"] * _CONNECTIONS, b"-", "send one byte a second")


def _stall_upload(stage: Stage) -> bool:
    head = b"POST /predictlabel HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    half = head + b"Content-Length: %d\r\n\r\n" % (10 << 20) + bytes(5 << 20)
    return _beside(stage, [half] * _CONNECTIONS, b"", "stop in the middle of 10 MiB")


def _beside(stage: Stage, greetings: list[bytes], more: bytes, what: str) -> bool:
    """Compare the load without and with stalled connections: 95 % answered, p99 at most twice that without."""
    with stage.load(20) as quiet:
        stage.pause(5)
    before = _say(stage, quiet.summary())
    stage.say(f"{len(greetings)} connections that {what}")
    with stage.load(20) as load:
        connections: list[socket.socket] = []
        for greeting in greetings:
            connection = socket.create_connection((HOST, stage.settings.ports.rest), timeout=5)
            connections.append(stage.undo.enter_context(connection))
            _send(connection, greeting)
        for _ in range(10):
            for connection in connections if more else ():
                _send(connection, more)
            stage.pause(1)
    after = _say(stage, load.summary())
    return after.failed <= 0.05 * after.calls and after.p99 <= 2 * max(before.p99, 25.0)


def _send(connection: socket.socket, data: bytes) -> None:
    """Send as much as the server accepts: it may refuse, or read only a part."""
    connection.settimeout(0.2)
    try:
        connection.sendall(data)
    except OSError:
        return


def _say(stage: Stage, figures: Summary) -> Summary:
    stage.say(str(figures))
    return figures


_BESIDE = "95 % of other requests answered, their p99 at most twice that before the fault (or 50 ms)"
FAULTS = {
    "kill-serving": Fault("the model server ends", "0 failed", _kill_serving, "kill the model server"),
    "kill-worker": Fault(
        "a worker of the gateway ends, three times",
        "lost at most what was in flight",
        _kill_worker,
        "kill workers",
    ),
    "corrupt-model": Fault(
        "a model with a damaged file is published", "0 failed, quarantined, forgotten when deleted", _corrupt_model
    ),
    "crash-model": Fault(
        "a model that aborts its server in warm-up is published",
        "0 failed, quarantined, forgotten when deleted",
        _crash_model,
        "crash the model server",
    ),
    "fill-disk": Fault("the disk of the feedback folder is full for 10 s", "0 failed", _fill_disk, "fill the disk"),
    "slow-client": Fault("64 clients send their bodies byte by byte", _BESIDE, _slow_client),
    "stall-upload": Fault("64 uploads stop half way", _BESIDE, _stall_upload),
}
