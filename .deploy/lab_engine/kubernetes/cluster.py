"""The verbs on a cluster: apply and wait, status, a sample request, logs, delete."""

import base64
import json
import re
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from .. import console, report, token, verbs
from ..errors import EngineError
from ..settings import Settings
from . import manifests
from .kubectl import Kubectl
from .manifests import Choice

_OURS = ",".join(f"{name}={value}" for name, value in manifests.LABELS.items())
KINDS = (
    *("deployments", "services", "ingresses", "horizontalpodautoscalers", "poddisruptionbudgets"),
    *("networkpolicies", "serviceaccounts", "configmaps"),
)
"""What every cluster has, and `delete` removes."""
CUSTOM_KINDS = (
    "httproutes.gateway.networking.k8s.io",
    "scaledobjects.keda.sh",
    "servicemonitors.monitoring.coreos.com",
    "prometheusrules.monitoring.coreos.com",
)
"""What components create and `delete` removes, on clusters that know them."""
_VOLUMES = "persistentvolumeclaims"


def connect(kubectl: Kubectl, context: str, namespace: str) -> Kubectl:
    """Return the kubectl for one cluster. Raises EngineError if no context is named and none is current."""
    if not context:
        code, printed, _ = kubectl.try_run("config", "current-context")
        context = printed.strip()
        if code or not context:
            raise EngineError("no cluster is chosen: name one with --context; kubectl config get-contexts lists them")
    return Kubectl(kubectl.program, context, namespace)


def apply(kubectl: Kubectl, choice: Choice, settings: Settings, sure: bool, seconds: int) -> None:
    """Apply the lab to the cluster, wait until it is ready, and send the sample image through it."""
    if "direct" in choice.components and (serving := settings.versions["LAB_SERVING"]) != "embedded":
        raise EngineError(
            f"the component direct needs LAB_SERVING=embedded; {serving}, TensorFlow Serving, checks no tokens"
        )
    rendered = manifests.render(kubectl, choice, settings)
    kinds = re.findall(r"^kind: (\w+)$", rendered, re.MULTILINE)
    console.rows(
        [
            ("context", kubectl.context),
            ("cluster", _server(kubectl)),
            ("namespace", choice.namespace),
            ("manifests", " + ".join([f"overlay {choice.overlay}", *choice.components]) + f", {len(kinds)} objects"),
            ("images", ", ".join(sorted(set(re.findall(r"^ +(?:- )?image: (\S+)$", rendered, re.MULTILINE))))),
        ]
    )
    verbs.confirm(sure, f"apply this to {kubectl.context}")
    own = _own_objects(kubectl, choice, settings)
    whole = Kubectl(kubectl.program, kubectl.context)  # the manifests name their namespaces
    for first in (_namespace(rendered, choice), own):
        whole.output("apply", "--filename", "-", given=json.dumps(first))
    console.say(whole.output("apply", "--filename", "-", given=rendered).rstrip())
    _wait(kubectl, _deployments(rendered), seconds)
    test(kubectl, settings)
    console.say("Open, each in a terminal of its own:")
    console.rows([*_addresses(kubectl, "JUPYTER_TOKEN_FILE" in rendered, settings), _entry(kubectl, kinds)])


def status(kubectl: Kubectl) -> int:
    """Show Deployments, pods, autoscalers, volumes and the Ingress; return 1 unless every Deployment is ready."""
    kinds = f"deployments,pods,horizontalpodautoscalers,ingresses,{_VOLUMES}"
    if code := kubectl.show("get", kinds, "--selector", _OURS):
        return code
    found = json.loads(kubectl.output("get", "deployments", "--selector", _OURS, "--output", "json"))["items"]
    wanted = {each["metadata"]["name"]: each["spec"].get("replicas", 1) for each in found}
    ready = {each["metadata"]["name"]: each["status"].get("readyReplicas", 0) for each in found}
    missing = [name for name, count in wanted.items() if ready[name] < count]
    if not found:
        console.say(f"there is no lab in namespace {kubectl.namespace}; bin/kube.sh apply installs one")
    for name in missing:
        console.say(f"{console.bad('not ready')}: {name}, {ready[name]} of {wanted[name]} pods")
    return 1 if missing or not found else 0


def test(kubectl: Kubectl, settings: Settings) -> int:
    """Send the sample image to the gateway through a port-forward, and print the answer; return 1 if it was not sent.

    `apply` ignores that: a lab with API keys, or with other models, is complete.
    """
    with forwarded(kubectl, "tensor-rest", 8080) as port:
        lab = replace(settings, ports=replace(settings.ports, rest=port))
        why = report.why_unsent(lab)
        console.say(why or report.proof(lab))
    return 1 if why else 0


def logs(kubectl: Kubectl, services: Sequence[str], tail: int, follow: bool) -> int:
    """Show the last lines of the services' pods; with `follow`, continue."""
    listed = ",".join(verbs.chosen(services))
    options = ["--all-containers", "--prefix", "--ignore-errors", "--max-log-requests=40", f"--tail={tail}"]
    return kubectl.show(
        "logs", "--selector", f"app.kubernetes.io/name in ({listed})", *options, *(["--follow"] if follow else [])
    )


def delete(kubectl: Kubectl, sure: bool, volumes: bool) -> int:
    """Remove the lab; its volumes and Secrets stay, unless `volumes` is set: then the whole namespace is removed."""
    if volumes:
        what = f"remove namespace {kubectl.namespace} of {kubectl.context}, with every model, log and data file in it"
        verbs.confirm(sure, what)
        return kubectl.show("delete", "namespace", kubectl.namespace)
    verbs.confirm(sure, f"remove the lab from namespace {kubectl.namespace} of {kubectl.context} (volumes stay)")
    # kubectl deletes nothing if one of the kinds is unknown to the cluster. An API that is down is left out here.
    known = kubectl.try_run("api-resources", "--namespaced", "--output", "name")[1].split()
    kinds = ",".join([*KINDS, *(kind for kind in CUSTOM_KINDS if kind in known)])
    return kubectl.show("delete", kinds, "--selector", _OURS)


@contextmanager
def forwarded(kubectl: Kubectl, service: str, port: int) -> Iterator[int]:
    """Forward a free port of this machine to the service while the context lasts; yields it. Raises EngineError."""
    command = kubectl.command("port-forward", "--address", "127.0.0.1", f"service/{service}", f":{port}")
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            assert program.stdout is not None
            assert program.stderr is not None
            found = re.match(r"Forwarding from 127\.0\.0\.1:(\d+) ", program.stdout.readline())
            if not found:
                program.terminate()
                raise EngineError(f"no port-forward to {service}: {program.stderr.read().strip() or 'no port given'}")
            yield int(found[1])
        finally:
            program.terminate()


def _server(kubectl: Kubectl) -> str:
    """Return the address of the cluster's API server."""
    return kubectl.output("config", "view", "--minify", "--output", "jsonpath={.clusters[0].cluster.server}").strip()


def _namespace(rendered: str, choice: Choice) -> dict[str, object]:
    """Return the namespace with the labels of the manifests; it is created first, for the Secrets."""
    documents = [text for text in rendered.split("\n---\n") if re.search(r"^kind: Namespace$", text, re.MULTILINE)]
    labels = dict(re.findall(r"^    ([a-z./-]+): (\S+)$", documents[0], re.MULTILINE)) if documents else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": choice.namespace, "labels": labels}}


def _own_objects(kubectl: Kubectl, choice: Choice, settings: Settings) -> dict[str, object]:
    """Return the objects made from this machine's files: JupyterLab's token, API keys if there are any, and rules."""
    objects = []
    if "production" not in choice.components:
        token.make(settings)
        objects.append(_secret("tensor-jupyter-token", "jupyter-token", token.read(settings).encode(), choice))
    if file := manifests.keys_file(settings):
        objects.append(_secret("tensor-rest-api-keys", "api-keys", file.read_bytes(), choice))
    elif "production" in choice.components and kubectl.try_run("get", "secret", "tensor-rest-api-keys")[0]:
        raise EngineError(
            f"the component production requires API keys: set {manifests.KEYS_FILE} to their file (docs/security.md)"
        )
    if "direct" in choice.components and not _has_secret(kubectl, manifests.ROUTE_KEY):
        objects.append(_secret(manifests.ROUTE_KEY, "route-key", secrets.token_hex(32).encode(), choice))
    rules = settings.config / "rules.json"
    data = {"rules.json": rules.read_text(encoding="utf-8")} if rules.is_file() else {}  # {}: earlier ones are removed
    metadata = _named("tensor-rest-config", choice)
    objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    return {"apiVersion": "v1", "kind": "List", "items": objects}


def _has_secret(kubectl: Kubectl, name: str) -> bool:
    """Return whether the Secret exists. Raises EngineError if the query fails, lest an existing key be replaced."""
    return bool(kubectl.output("get", "secret", name, "--ignore-not-found", "--output", "name").strip())


def _secret(name: str, key: str, content: bytes, choice: Choice) -> dict[str, object]:
    data = {key: base64.b64encode(content).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _named(name, choice), "data": data}


def _named(name: str, choice: Choice) -> dict[str, object]:
    return {"name": name, "namespace": choice.namespace, "labels": manifests.LABELS}


def _deployments(rendered: str) -> list[str]:
    documents = [text for text in rendered.split("\n---\n") if re.search(r"^kind: Deployment$", text, re.MULTILINE)]
    found = [re.search(r"^  name: (\S+)$", text, re.MULTILINE) for text in documents]
    return [each[1] for each in found if each]


def _wait(kubectl: Kubectl, deployments: Sequence[str], seconds: int) -> None:
    """Wait for the Deployments. If one is not ready in time, show the pods' events and raise EngineError."""
    for name in deployments:
        if kubectl.show("rollout", "status", f"deployment/{name}", f"--timeout={seconds}s"):
            kubectl.show("get", "pods", "--selector", f"app.kubernetes.io/name={name}")
            kubectl.show("get", "events", "--field-selector", "type=Warning", "--sort-by", ".lastTimestamp")
            raise EngineError(f"{name} is not ready after {seconds} s; the events above, or its logs, say why")


def _addresses(kubectl: Kubectl, workbench: bool, settings: Settings) -> list[tuple[str, str]]:
    """Return how to reach the services by port-forward."""
    command = f"kubectl --context {kubectl.context} --namespace {kubectl.namespace} port-forward"
    found = [("the page", f"{command} service/tensor-rest 8080, then http://127.0.0.1:8080/")]
    if workbench:
        page = f"http://127.0.0.1:8888{report.NOTEBOOK}?token={token.read(settings)}"
        found.append(("JupyterLab", f"{command} service/tensor-jupyter 8888, then {page}"))
        found.append(("TensorBoard", f"{command} service/tensor-board 6006, then http://127.0.0.1:6006/"))
    return found


def _entry(kubectl: Kubectl, kinds: Sequence[str]) -> tuple[str, str]:
    """Return the gateway's name, with the address of its Ingress or the Gateway of its route."""
    if "HTTPRoute" in kinds:
        spec = json.loads(kubectl.output("get", CUSTOM_KINDS[0], "tensor-rest", "--output", "json"))["spec"]
        parents = ", ".join(f"{each.get('namespace', kubectl.namespace)}/{each['name']}" for each in spec["parentRefs"])
        return "HTTPRoute", f"{', '.join(spec.get('hostnames', ['*']))} at the Gateway {parents}"
    document = json.loads(kubectl.output("get", "ingress", "tensor-rest", "--output", "json"))
    where = document.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
    address = where[0].get("hostname") or where[0].get("ip") or "no address yet: is there an Ingress controller?"
    return "Ingress", f"{document['spec']['rules'][0].get('host', '*')} at {address}"
