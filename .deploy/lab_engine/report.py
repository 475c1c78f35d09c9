"""What `up` and `status` print about a lab on either engine: models, addresses, and what to try next."""

import os
import shlex
import urllib.error
from collections.abc import Mapping
from http import HTTPStatus

from . import console, sample, token
from .errors import OtherLabError
from .settings import Settings
from .verbs import NOT_RUNNING, SCALED

_WANTS_KEY = "the gateway wants an API key, which LAB_API_KEY or LAB_API_KEY_FILE did not give"
NOTEBOOK = "/lab/tree/notebook/MNIST/MnistNet.ipynb"


def say_how_to_go_on(settings: Settings) -> None:
    """Send the sample image through the lab, and print the answer, the addresses and what to try."""
    why = why_unsent(settings)
    console.say(f"\n{why or proof(settings)}\n\nThe lab is up. Open:")
    console.rows(addresses(settings))
    image = os.path.relpath(sample.image())
    console.say(
        "\nTry:\n"
        f"  curl -F image=@{shlex.quote(image)} {settings.url(settings.ports.rest, f'/tf/mnist/{sample.MODEL}')}\n"
        "  Run All Cells in the notebook, then send the same to the new version\n"
        "  bin/compose.sh status | logs -f | restart tensor-serving | down"
    )


def why_unsent(settings: Settings) -> str:
    """Return a sentence that says why the sample image cannot be sent to the shipped model; "" if it can."""
    try:
        reason = "" if sample.is_listed(settings) else f"the lab has no model {sample.MODEL}"
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.UNAUTHORIZED:
            raise
        reason = _WANTS_KEY
    return f"The sample image was not sent: {reason}." if reason else ""


def proof(settings: Settings) -> str:
    """Return what the shipped model answers for the sample image."""
    best = sample.classify(settings)[0]
    digit, score = console.bold(str(best["digit"])), best["probability"]
    answer = f"{sample.image().name} -> {sample.MODEL}: it is a {digit} (probability {score:.4f})"
    if best["digit"] != sample.DIGIT:
        answer += (
            f"\n{console.bad('wrong')}: the image shows a {sample.DIGIT}. Another version may be better: "
            f"bin/lab models, and bin/lab models rollback {sample.MODEL}"
        )
    return answer


def say_status(settings: Settings, healthy: dict[str, bool], servers: tuple[int, int] = (0, 1)) -> int:
    """Print health by service, models and addresses; return the exit code: 0 if all are healthy, else 1.

    servers: how many model servers are healthy, and how many there are.
    """
    code, models = 0 if all(healthy.values()) else 1, _models(settings)
    found = {
        "running": True,
        "services": {name: "healthy" if fine else "not healthy" for name, fine in healthy.items()},
        "replicas": {SCALED: {"healthy": servers[0], "wanted": servers[1]}},
        "models": dict(models),
        "addresses": dict(addresses(settings)),
    }
    if console.document(found):
        return code
    many = {SCALED: f" ({servers[0]} of {servers[1]})"} if servers[1] > 1 else {}
    console.rows(
        (name, (console.good("healthy") if fine else console.bad("not healthy")) + many.get(name, ""))
        for name, fine in healthy.items()
    )
    console.say("models:")
    console.rows(models)
    console.say("open:")
    console.rows(addresses(settings))
    return code


def say_not_running(document: object) -> None:
    """Print that the lab is not running, or this document as JSON."""
    if not console.document(document):
        console.say(NOT_RUNNING)


def addresses(settings: Settings) -> list[tuple[str, str]]:
    """Return the addresses to open in a browser."""
    ports = settings.ports
    return [
        ("the page", settings.url(ports.rest)),
        ("Swagger UI", settings.url(ports.rest, "/tf/")),
        ("JupyterLab", settings.url(ports.jupyter, f"{NOTEBOOK}?token={token.read(settings)}")),
        ("TensorBoard", settings.url(ports.board)),
    ]


def listed(settings: Settings, ports: Mapping[str, int]) -> str:
    """Return the ports in one line, with a note on those remembered from the last start."""
    line = ", ".join(f"{name} {port}" for name, port in ports.items()) + " on 127.0.0.1"
    kept = ", ".join(name for name in settings.remembered if name in ports)
    return f"{line} (as at the last start: {kept})" if kept else line


def _models(settings: Settings) -> list[tuple[str, str]]:
    try:
        models = sample.served_models(settings)
    except urllib.error.HTTPError as error:
        wants_key = error.code == HTTPStatus.UNAUTHORIZED
        return [("unknown", _WANTS_KEY if wants_key else f"the gateway says {error.code} {error.reason}")]
    except OtherLabError as error:
        return [("unknown", str(error))]
    except OSError as error:
        return [("unknown", f"the gateway does not answer: {error}")]
    return [(name, "version " + ", ".join(map(str, versions))) for name, versions in models.items()] or [("none", "")]
