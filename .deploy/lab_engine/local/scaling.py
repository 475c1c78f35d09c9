"""Change the number of model servers while the lab answers; each has a watcher and ports of its own.

The gateway reads the list of model servers once a second. A new one is added to the list once it has loaded all models;
one to be removed is stopped only after the gateway has had time to see that the list no longer has it.
"""

import contextlib
import http.client
import time
import xmlrpc.client
from dataclasses import replace

from .. import console, identity, ports
from ..errors import EngineError
from ..settings import ReplicaPorts, Settings
from . import health, services
from .manager import Manager

_UNUSED_SECONDS = 3.0  # the gateway looks each second; a call that it has begun takes part of the rest


def scale(settings: Settings, manager: Manager, count: int) -> Settings:
    """Run so many model servers; returns the settings with them. Raises EngineError if a new one is not healthy."""
    had = len(settings.replicas)
    wanted = with_free_ports(settings, count)
    if count - 1 > had:
        _grow(settings, wanted, manager)
    elif count - 1 < had:
        _shrink(settings, wanted, manager)
    manager.restart(services.monitor(wanted).name)  # it watches over what there was when it started
    return wanted


def with_free_ports(settings: Settings, count: int) -> Settings:
    """Return the settings with `count` model servers in total: first those present, then new ones on free ports."""
    running = settings.replicas[: count - 1]
    used = {*vars(settings.ports).values(), *(port for each in running for port in vars(each).values())}
    chosen = list(running)
    while len(chosen) < count - 1:
        found = {}
        for name in ReplicaPorts.__annotations__:
            found[name] = ports.next_free(vars(settings.ports)[name], used)
            used.add(found[name])
        chosen.append(ReplicaPorts(**found))
    return replace(settings, replicas=tuple(chosen))


def write(settings: Settings) -> None:
    """Write down which model servers there are: for the gateway, the process manager and the next command."""
    _configure(settings)
    _list(settings)


def _configure(settings: Settings) -> None:
    """Have the process manager and the next command know these model servers."""
    identity.remember_replicas(settings.home, [vars(each) for each in settings.replicas])
    (settings.run / "replicas.conf").write_text(services.replicas_config(settings))


def _list(settings: Settings) -> None:
    """Have the gateway use these model servers."""
    fresh = settings.run / "model-servers.new"
    fresh.write_text(services.model_servers(settings))
    fresh.replace(settings.run / "model-servers")


def _grow(before: Settings, wanted: Settings, manager: Manager) -> None:
    added = services.replicas(wanted)[len(before.replicas) :]
    _configure(wanted)
    try:
        manager.change_groups([], [service.group for service in added])
        health.wait_for(wanted, manager, added)
    except BaseException:
        _configure(before)
        for service in added:
            # It may not have been added, and the first error is the one to report.
            with contextlib.suppress(EngineError, OSError, http.client.HTTPException, xmlrpc.client.Fault):
                manager.change_groups([service.group], [])
        raise
    _list(wanted)


def _shrink(before: Settings, wanted: Settings, manager: Manager) -> None:
    gone = services.replicas(before)[len(wanted.replicas) :]
    with console.Progress("stopping " + ", ".join(service.group for service in gone)):
        _list(wanted)
        time.sleep(_UNUSED_SECONDS)
        write(wanted)
        manager.change_groups([service.group for service in gone], [])
