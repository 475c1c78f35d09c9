"""Is a service healthy, and waiting until all are."""

import contextlib
import urllib.error
import urllib.request
from collections.abc import Sequence

from . import console
from .errors import EngineError
from .logs import last_lines
from .manager import Manager, wait_until
from .services import Service
from .settings import Settings

DEADLINE = 120.0  # seconds; TensorFlow alone takes up to 20 to import from a cold disk
TOO_MANY_RESTARTS = 3

# Loopback never goes through a proxy.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def is_healthy(service: Service) -> bool:
    return all(_answers(address) for address in service.health)


def wait_for(settings: Settings, manager: Manager, services: Sequence[Service]) -> None:
    """Wait until every service is healthy; raises EngineError with the log of the one that is not."""
    waiting = list(services)

    def all_healthy() -> bool:
        for service in [service for service in waiting if is_healthy(service)]:
            waiting.remove(service)
        progress.update(f"waiting for {', '.join(service.name for service in waiting)}")
        _refuse_hopeless(settings, manager, waiting)
        return not waiting

    with console.Progress("starting " + ", ".join(service.name for service in services)) as progress:
        if not wait_until(all_healthy, DEADLINE, pause=0.3):
            raise EngineError(_report(settings, waiting[0], f"is not healthy after {DEADLINE:.0f} s"))


def get(url: str, timeout: float = 5.0) -> bytes:
    """The body of a 200 answer; raises OSError."""
    with contextlib.closing(_open(url, timeout=timeout)) as answer:
        return bytes(answer.read())


def post(request: urllib.request.Request, timeout: float = 10.0) -> bytes:
    """The body of a 200 answer to a prepared request; raises OSError."""
    with contextlib.closing(_open(request, timeout=timeout)) as answer:
        return bytes(answer.read())


def _answers(address: str) -> bool:
    try:
        get(address, timeout=2)
    except OSError:
        return False
    return True


def _refuse_hopeless(settings: Settings, manager: Manager, waiting: Sequence[Service]) -> None:
    for process in manager.processes():
        service = next((service for service in waiting if service.name == process.service), None)
        if service and (process.state == "FATAL" or process.restarts > TOO_MANY_RESTARTS):
            verdict = f"cannot start: its program {process.program} ends by itself ({process.why or 'again and again'})"
            raise EngineError(_report(settings, service, verdict))


def _report(settings: Settings, service: Service, verdict: str) -> str:
    tails = "".join(
        f"\n  last lines of {program.name}:\n"
        + "".join(f"    {line}\n" for line in last_lines(settings, program.name, 15))
        for program in service.programs
    )
    return f"{service.name} {verdict}{tails.rstrip()}\n  The rest: bin/compose.sh logs {service.name}"
