"""The table of steps as manifests for Argo Workflows, written by hera. This module runs nothing.

Every container runs the same command as `lab pipeline run`, with the same parameters, on the same folders, so its
stamps are the same. Needs the extra [argo].
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tensor_jupyter.errors import LabError
from tensor_jupyter.pipeline.parameters import PREFIX, Parameters
from tensor_jupyter.pipeline.steps import STEPS, Step

ARGO_VERSIONS = "3.6 to 4.0"
"""Releases of Argo Workflows that the manifests support: `schedules` needs 3.6, and hera has the schema of 4.0."""

ARGO_MODULE = "github.com/argoproj/argo-workflows/v4@v4.0.5"
"""The release that tests lint and run them with."""

NAME = "tensor-pipeline"
"""The name of the workflows, the service account and its role."""

DEADLINE_SECONDS = 2 * 60 * 60

_FOLDERS = ("models", "data", "logs", "feedback")
_VOLUMES = {f"tensor-{name}": f"/{name}" for name in _FOLDERS}  # as in Compose
_KEPT_SECONDS = 7 * 24 * 60 * 60  # finished workflows


@dataclass(frozen=True)
class Target:
    """Where the manifests will run.

    images: the prefix of the images' names, such as registry.example/lab. rest_url: the gateway, as a pod reaches it.
    schedule: of the CronWorkflow, in cron's form. storage: the size of each volume.
    """

    images: str = "localhost:5000/lab"
    tag: str = "latest"
    rest_url: str = "http://tensor-rest:8080"
    schedule: str = "0 3 * * *"
    storage: str = "10Gi"


def manifests(parameters: Parameters, target: Target) -> dict[str, list[dict[str, Any]]]:
    """Return the documents by file name. Raises LabError where hera is not installed."""
    try:
        from hera.workflows import CronWorkflow, Workflow
    except ImportError as error:
        raise LabError("lab pipeline argo needs hera, the extra [argo]: pip install 'hera>=7.1,<8'.") from error
    once = _filled(
        Workflow(**_common(parameters, target), generate_name=f"{NAME}-", active_deadline_seconds=DEADLINE_SECONDS)
    )
    cron = CronWorkflow(
        **_common(parameters, target),
        name=NAME,
        active_deadline_seconds=DEADLINE_SECONDS,
        schedules=[target.schedule],
        concurrency_policy="Forbid",
        successful_jobs_history_limit=3,
        failed_jobs_history_limit=3,
    )
    return {
        "volumes.yaml": [_claim(name, target.storage) for name in _VOLUMES],
        "access.yaml": _access(),
        "workflow.yaml": [once],
        "cron-workflow.yaml": [_filled(cron)],
    }


def _common(parameters: Parameters, target: Target) -> dict[str, Any]:
    """The arguments that Workflow and CronWorkflow share; `_filled` adds the graph of steps to the templates."""
    from hera.workflows import Parameter
    from hera.workflows import models as m

    values = {name: "" if value is None else str(value) for name, value in parameters.model_dump(mode="json").items()}
    values["rest_url"] = target.rest_url
    containers = [_container(step, target) for step in STEPS]
    return {
        "entrypoint": "steps",
        "arguments": [Parameter(name=name, value=value) for name, value in values.items()],
        "service_account_name": NAME,
        "pod_gc": m.PodGC(strategy="OnPodSuccess"),
        "ttl_strategy": m.TTLStrategy(seconds_after_completion=_KEPT_SECONDS),
        "security_context": m.PodSecurityContext(
            run_as_user=1000,
            run_as_group=100,
            fs_group=100,
            run_as_non_root=True,
            seccomp_profile=m.SeccompProfile(type="RuntimeDefault"),
        ),
        "volumes": [*_volumes()],
        "templates": containers,
    }


def _filled(workflow: Any) -> dict[str, Any]:
    """The manifest, with the graph of steps as its entry point."""
    from hera.workflows import DAG, Task

    with workflow, DAG(name="steps"):
        for step in STEPS:
            Task(name=step.name, template=step.name, depends=" && ".join(step.needs) or None)
    found: dict[str, Any] = workflow.to_dict()
    return found


def _container(step: Step, target: Target) -> Any:
    from hera.workflows import Container, Env, Resources, RetryStrategy
    from hera.workflows import models as m

    # All parameters, not only the step's own: deploy and the run's page check the stamps of other steps.
    variables = {f"{PREFIX}{name.upper()}": name for name in Parameters.model_fields} | {"LAB_REST_URL": "rest_url"}
    folders = {f"LAB_{name.upper()}": f"/{name}" for name in _FOLDERS}
    program, *words = step.command
    retry = RetryStrategy(
        limit=step.retries, retry_policy="Always", backoff=m.Backoff(duration="30s", factor=m.IntOrString(root=2))
    )
    return Container(
        name=step.name,
        image=f"{target.images}/{step.image}:{target.tag}",
        command=[program],
        args=words,
        env=[
            *(Env(name=name, value=f"{{{{workflow.parameters.{value}}}}}") for name, value in variables.items()),
            *(Env(name=name, value=value) for name, value in folders.items()),
        ],
        resources=Resources(
            cpu_request=step.resources.cpu,
            memory_request=step.resources.memory,
            memory_limit=step.resources.memory,
        ),
        retry_strategy=retry if step.retries else None,
        security_context=m.SecurityContext(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            capabilities=m.Capabilities(drop=["ALL"]),
        ),
        volume_mounts=[
            *(m.VolumeMount(name=name, mount_path=path) for name, path in _VOLUMES.items()),
            m.VolumeMount(name="tmp", mount_path="/tmp"),
        ],
    )


def _volumes() -> Iterable[Any]:
    from hera.workflows import models as m

    for name in _VOLUMES:
        yield m.Volume(name=name, persistent_volume_claim=m.PersistentVolumeClaimVolumeSource(claim_name=name))
    yield m.Volume(name="tmp", empty_dir=m.EmptyDirVolumeSource())


def _claim(name: str, storage: str) -> dict[str, Any]:
    """A PersistentVolumeClaim, ReadWriteMany: several pods write at once, and the model server reads."""
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": storage}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def _access() -> list[dict[str, Any]]:
    """The service account, its role, and a NetworkPolicy.

    The role has only the rights that Argo's executor needs in each pod; without them a workflow stays in Running. The
    policy allows the steps' outgoing connections, since a lab's namespace denies what is not listed.
    """
    rules = [{"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}]
    metadata = {"name": NAME}
    group = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME}],
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": metadata,
            "spec": {
                "podSelector": {"matchExpressions": [{"key": "workflows.argoproj.io/workflow", "operator": "Exists"}]},
                "policyTypes": ["Egress"],
                "egress": [{}],  # data sets, the gateway, and the API server, whose address no policy can name
            },
        },
    ]
