"""What the gateway lists about the served models: cards, and which one was trained last."""

from typing import Any

from tensor_jupyter.errors import LabError
from tensor_jupyter.gateway import Gateway, foreign
from tensor_jupyter.inference.remote import path_of
from tensor_jupyter.settings import Settings


def trained_last(settings: Settings) -> tuple[str, int]:
    """The image classifier whose card has the latest date, and its default version.

    Raises LabError when there is none.
    """
    with Gateway(settings) as gateway:
        reply = gateway.send("GET", "/tf/models")
        if reply.status != 200:
            raise LabError(reply.message)
        try:
            names = [str(entry["name"]) for entry in reply.document()["models"] if entry["ready"]]
        except (LookupError, TypeError) as error:
            raise foreign(reply.url, repr(error)) from error
        found = []
        for name in names:
            try:
                version, card = default_version(gateway, name)
            except LabError:  # skip a model whose card is invalid or that is no longer served
                continue
            # With a single score there is no choice between labels, whatever the card contains.
            if len(card.get("labels") or ()) > 1 and card.get("input") and card.get("created"):
                found.append((str(card["created"]), name, version))
    if not found:
        raise LabError(
            "No served model is known as a classifier of images, with labels, an image input and a date on its card: "
            f"name one with --model, of {', '.join(names) or 'none'}."
        )
    _, name, version = max(found)
    return name, version


def default_version(gateway: Gateway, model: str) -> tuple[int, dict[str, Any]]:
    """A model's default version and its card, {} without one. Raises LabError with the gateway's message."""
    reply = gateway.send("GET", path_of(model))
    if reply.status != 200:
        raise LabError(reply.message)
    try:
        found = reply.document()["default"]
        return int(found["version"]), dict(found["card"] or {})
    except (LookupError, TypeError, ValueError) as error:
        raise foreign(reply.url, repr(error)) from error


def metadata(gateway: Gateway, model: str, version: int | None = None, label: str | None = None) -> dict[str, Any]:
    """The "signatures" and "card" of a version, by default of the default one; the card is {} if there is none.

    Raises LabError with the gateway's message.
    """
    reply = gateway.send("GET", f"{path_of(model, version, label)}/metadata")
    if reply.status != 200:
        raise LabError(reply.message)
    try:
        found = reply.document()
        return {"signatures": dict(found["signatures"]), "card": dict(found["card"] or {})}
    except (LookupError, TypeError, ValueError) as error:
        raise foreign(reply.url, repr(error)) from error
