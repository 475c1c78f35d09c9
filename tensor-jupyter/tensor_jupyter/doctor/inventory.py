"""Which models are served, and which versions are quarantined: from the watcher, which requires no API key."""

import shlex
from typing import Any

from tensor_jupyter.doctor import web
from tensor_jupyter.doctor.discovery import Where, is_there
from tensor_jupyter.doctor.finding import Finding, ok, problem, warning
from tensor_jupyter.errors import LabError
from tensor_jupyter.gateway import Gateway
from tensor_jupyter.publishing.near_models import near_models
from tensor_jupyter.settings import Settings


def check(where: Where, settings: Settings) -> list[Finding]:
    """One finding on what is served, then one for each version, folder or file that is not."""
    document = web.get(f"{where.watcher}/").document()
    ignored = [
        warning("models", f"{each.path} is not served: {each.reason}", "a model", each.fix)
        for each in near_models(document, settings.models)
    ]
    entries = document.get("models")
    if not isinstance(entries, list):
        return ignored  # what is wrong with the watcher is reported elsewhere
    try:
        found = [*_summary(entries), *(finding for entry in entries for finding in _of(entry, settings))]
        return [*found, *ignored, *_elsewhere(entries, settings), *_of_gateway(where, settings)]
    except (LookupError, TypeError, ValueError):
        return [problem("models", "the watcher's list cannot be read", "services of one release", "bin/compose.sh up")]


def _summary(entries: list[dict[str, Any]]) -> list[Finding]:
    serving = [f"{entry['name']} {', '.join(map(str, entry['serving']))}" for entry in entries if entry["serving"]]
    if not serving:
        return [warning("models", "none is served", "a served model", "bin/lab train mnist-net")]
    return [ok("models", f"served: {'; '.join(serving)}")]


def _of(entry: dict[str, Any], settings: Settings) -> list[Finding]:
    """Findings on one model; a quarantined version is a problem if no other version is served, else a warning."""
    name, level = str(entry["name"]), warning if entry["serving"] else problem
    held = [
        level(
            "models",
            f"{name} {each['version']} is quarantined: {each['reason']}",
            "a version that loads",
            f"bin/lab models retry {name} {each['version']}",
        )
        for each in entry["quarantined"]
    ]
    edit = f"${{EDITOR:-vi}} {shlex.quote(str(settings.models / name / 'serving.json'))}"
    followed = [warning("models", f"{name}: {each}", "a valid serving.json", edit) for each in entry["problems"]]
    return [*held, *followed]


def _elsewhere(entries: list[dict[str, Any]], settings: Settings) -> list[Finding]:
    """A warning if training publishes to a folder that no model server reads."""
    served = [settings.models / entry["name"] / str(version) for entry in entries for version in entry["serving"]]
    if not served or any(is_there(folder) for folder in served):
        return []
    found = f"nothing that is served lies in {settings.models}, where training publishes"
    return [warning("models", found, "the folder that the watcher watches in LAB_MODELS", "unset LAB_MODELS LAB_HOME")]


def _of_gateway(where: Where, settings: Settings) -> list[Finding]:
    """Whether the gateway accepts this workbench's API key, if it requires one, and problems of its rules file."""
    reply = web.get(f"{where.gateway}/tf/models")
    document = reply.document()
    if reply.status == 401:
        try:
            with Gateway(settings, web.SECONDS / 2) as gateway:
                document = gateway.send("GET", "/tf/models").document()
        except LabError as error:
            fix = "bin/compose.sh exec tensor-rest python -m tensor_rest key NAME"
            return [warning("API key", str(error), "a key that the gateway accepts", fix)]
    rules = document.get("rules")
    message = rules.get("message") if isinstance(rules, dict) else ""
    home = shlex.quote(str(where.home)) if where.home else '"${LAB_HOME:-.lab}"'  # in Docker it is the host's
    fix = f"${{EDITOR:-vi}} {home}/config/rules.json"
    return [warning("rules", str(message), "a valid rules.json", fix)] if message else []
