"""Whether a service is healthy, and waiting until all are."""

from collections.abc import Mapping, Sequence

from .. import console, web
from ..errors import EngineError
from ..settings import Settings
from ..waiting import wait_until
from .logs import last_lines
from .manager import Manager
from .services import Service

DEADLINE = 120.0  # seconds; TensorFlow alone takes up to 20 to import from a cold disk
TOO_MANY_RESTARTS = 3


def is_healthy(service: Service) -> bool:
    addresses = (*(program.probe for program in service.programs), *service.ready)
    return all(web.answers(address, service.lab_id) for address in addresses)


def wait_for(settings: Settings, manager: Manager, services: Sequence[Service]) -> None:
    """Wait until every service is healthy; raises EngineError with the log of the one that is not."""
    waiting = list(services)
    before = {process.program: process.restarts for process in manager.processes()}

    def all_healthy() -> bool:
        for service in [service for service in waiting if is_healthy(service)]:
            waiting.remove(service)
        progress.update(f"waiting for {', '.join(service.group for service in waiting)}")
        _raise_if_failing(settings, manager, waiting, before)
        return not waiting

    with console.Progress("starting " + ", ".join(service.group for service in services)) as progress:
        if not wait_until(all_healthy, DEADLINE, pause=0.3):
            raise EngineError(_report(settings, waiting[0], f"is not healthy after {DEADLINE:.0f} s"))


def _raise_if_failing(
    settings: Settings, manager: Manager, waiting: Sequence[Service], before: Mapping[str, int]
) -> None:
    for process in manager.processes():
        service = next((service for service in waiting if service.group == process.service), None)
        if service and (
            process.state == "FATAL" or process.restarts - before.get(process.program, 0) > TOO_MANY_RESTARTS
        ):
            state = f"cannot start: its program {process.program} ends by itself ({process.why or 'again and again'})"
            raise EngineError(_report(settings, service, state))


def _report(settings: Settings, service: Service, state: str) -> str:
    tails = "".join(
        f"\n  last lines of {program.name}:\n"
        + "".join(f"    {line}\n" for line in last_lines(settings, program.name, 15))
        for program in service.programs
    )
    return f"{service.group} {state}{tails.rstrip()}\n  The rest: bin/compose.sh logs {service.name}"
