"""What `up` and `status` say of a lab, whichever engine runs it: models, addresses, and what to try next."""

import os
import urllib.error
from http import HTTPStatus

from . import console, sample, token
from .settings import Settings

_WANTS_KEY = "the gateway wants an API key, which LAB_API_KEY or LAB_API_KEY_FILE did not give"
NOTEBOOK = "/lab/tree/notebook/MNIST/MnistNet.ipynb"


def say_how_to_go_on(settings: Settings) -> None:
    """Send the sample picture through the lab, and print the answer, the addresses and what to try."""
    console.say(f"\n{_proof(settings)}The lab is up. Open:")
    console.rows(addresses(settings))
    picture = os.path.relpath(sample.picture())
    console.say(
        "\nTry:\n"
        f"  curl -F image=@{picture} {settings.url(settings.ports.rest, f'/tf/mnist/{sample.MODEL}')}\n"
        "  Run All Cells in the notebook, then ask the new version the same\n"
        "  bin/compose.sh status | logs -f | restart tensor-serving | down"
    )


def _proof(settings: Settings) -> str:
    """What the shipped model said of the sample picture, or why it was not asked."""
    try:
        if not sample.is_listed(settings):
            return ""
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.UNAUTHORIZED:
            raise
        return f"The sample picture was not sent: {_WANTS_KEY}.\n\n"
    best = sample.classify(settings)[0]
    digit, score = console.bold(str(best["digit"])), best["probability"]
    return f"{sample.picture().name} -> {sample.MODEL}: it is a {digit} (probability {score:.4f})\n\n"


def say_status(settings: Settings, healthy: dict[str, bool]) -> int:
    """Print health by service, models and addresses; returns the exit code: 0 if all are healthy, else 1."""
    console.rows(
        (name, console.good("healthy") if fine else console.bad("not healthy")) for name, fine in healthy.items()
    )
    console.say("models:")
    console.rows(_models(settings))
    console.say("open:")
    console.rows(addresses(settings))
    return 0 if all(healthy.values()) else 1


def addresses(settings: Settings) -> list[tuple[str, str]]:
    """What a person opens in the browser."""
    ports = settings.ports
    return [
        ("the page", settings.url(ports.rest)),
        ("Swagger UI", settings.url(ports.rest, "/tf/")),
        ("JupyterLab", settings.url(ports.jupyter, f"{NOTEBOOK}?token={token.read(settings)}")),
        ("TensorBoard", settings.url(ports.board)),
    ]


def _models(settings: Settings) -> list[tuple[str, str]]:
    try:
        models = sample.served_models(settings)
    except urllib.error.HTTPError as error:
        wants_key = error.code == HTTPStatus.UNAUTHORIZED
        return [("unknown", _WANTS_KEY if wants_key else f"the gateway says {error.code} {error.reason}")]
    except OSError as error:
        return [("unknown", f"the gateway does not answer: {error}")]
    return [(name, "version " + ", ".join(map(str, versions))) for name, versions in models.items()] or [("none", "")]
