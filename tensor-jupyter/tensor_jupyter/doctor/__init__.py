"""What is wrong with the lab, and the command that fixes it. Nothing is changed, TensorFlow is not imported.

    services    whether gateway, model server, watcher, TensorBoard and JupyterLab answer at their addresses
    inventory   what is served, what is quarantined and why
    listening   what listens on the lab's ports, and on which addresses
    secrets     token, API keys, state folder: not accessible to others
    folders     permissions, unfinished exports
    machine     disk, memory, GPU
    versions    Python and packages against the pins

They use discovery (addresses), web, parallel and finding. Each check runs in a thread with a timeout, so that a hung
service or disk is a finding, too.
"""

from collections.abc import Callable, Mapping

from tensor_jupyter.doctor import folders, inventory, listening, machine, secrets, services, versions
from tensor_jupyter.doctor.discovery import find
from tensor_jupyter.doctor.finding import Finding, problem
from tensor_jupyter.doctor.parallel import together
from tensor_jupyter.settings import Settings

__all__ = ["Finding", "examine"]

_SECONDS = 10.0  # of a check, on a machine that trains; reached only where something hangs


def examine(settings: Settings) -> list[Finding]:
    """Every finding, in a fixed order. Raises LabError for settings that are not addresses."""
    where = find(settings)
    looks: dict[str, Callable[[], list[Finding]]] = {
        "services": lambda: services.check(where, settings),
        "models": lambda: inventory.check(where, settings),
        "exposure": lambda: listening.exposure(where),
        "secrets": lambda: secrets.check(where, settings),
        "folders": lambda: folders.check(where, settings),
        "disk": lambda: machine.disks(settings),
        "memory": machine.memory,
        "GPU": machine.gpu,
        "versions": lambda: versions.check(where.container),
    }
    found = _checked(looks)
    silent = services.silent(found["services"])
    ports = _checked({"ports": lambda: listening.check(where, silent)})
    return [finding for each in (found.pop("services"), *ports.values(), *found.values()) for finding in each]


def _checked(looks: Mapping[str, Callable[[], list[Finding]]]) -> dict[str, list[Finding]]:
    """Return the findings of each check, in their order; one that fails or hangs is a problem."""
    found, failed = together(looks, _SECONDS)
    found |= {name: [problem(name, f"could not be checked: {error}", "a result")] for name, error in failed.items()}
    return {name: found[name] for name in looks}
