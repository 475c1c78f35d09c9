"""The step deploy: publish both models under the label candidate; the present versions stay the default."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

from tensor_jupyter.context import Context
from tensor_jupyter.errors import LabError
from tensor_jupyter.pipeline.bodies.export import exported
from tensor_jupyter.pipeline.execute import Job
from tensor_jupyter.publishing import served
from tensor_jupyter.publishing.default_version import held
from tensor_jupyter.publishing.graph import Graph
from tensor_jupyter.publishing.registry import CANDIDATE, Registry
from tensor_jupyter.publishing.serving_settings import STABLE
from tensor_jupyter.publishing.staging import publish, staging
from tensor_jupyter.settings import Settings
from tensor_jupyter.typed import LAB

WAIT_SECONDS = 60.0
"""How long the gateway may take to show a change of the models folder."""


def run(job: Job) -> None:
    parameters = job.parameters
    pairs = (("classifier", parameters.model), ("concept", parameters.concept))
    versions = {role: _deploy(job, role, name) for role, name in pairs}
    job.write("deployed.json", {"run": job.run, **versions})


def check_there(job: Job) -> dict[str, Any]:
    """Return what was deployed. Raises LabError if it was removed since."""
    deployed = job.read("deploy/deployed.json")
    for each in (deployed["classifier"], deployed["concept"]):
        if not (job.settings.models / each["name"] / str(each["version"])).is_dir():
            raise LabError(
                f"{each['name']} {each['version']} is no longer in the models folder: "
                f"`{LAB} pipeline run --from deploy` publishes it again."
            )
    return deployed


def wait_for_label(name: str, version: int, label: str, settings: Settings) -> None:
    """Wait until the gateway serves the version under the label. Raises LabError when it does not in time."""
    served.wait(
        name,
        settings,
        WAIT_SECONDS,
        lambda seen: version in seen.available and seen.labels.get(label) == version,
    )


def _deploy(job: Job, role: str, name: str) -> dict[str, int | str]:
    source = exported(job.root, f"export-{role}", name)
    registry = Registry(job.settings.models, name)
    with Graph(source) as graph:
        made_by = (graph.card() or {})["run"]
    version = _published(registry, int(source.name), made_by) or _publish(job, source, name)
    if registry.settings().labels.get(STABLE) != version:
        registry.label(CANDIDATE, version)
        wait_for_label(name, version, CANDIDATE, job.settings)
    job.say(f"{name} {version} is served: /tf/models/{name}/versions/{version}")
    return {"name": name, "version": version}


def _published(registry: Registry, first: int, made_by: str) -> int:
    """The version that an earlier, interrupted deployment of the same run published; 0 for none."""
    if not registry.family.is_dir():
        return 0
    for number in registry.numbers():
        if number >= first:
            with contextlib.suppress(LabError), Graph(registry.folder(number)) as graph:  # it may not load
                if (graph.card() or {}).get("run") == made_by:
                    return number
    return 0


def _publish(job: Job, source: Path, name: str) -> int:
    models = job.settings.models
    with staging(models) as folder:
        shutil.copytree(source, folder)
        with held(Context(name, settings=job.settings)):
            return int(publish(folder, models, name, int(source.name)).name)
