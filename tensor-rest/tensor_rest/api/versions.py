"""One resource under three paths: of the default version, of a version by number, and by label."""

from collections.abc import Callable
from typing import Any

from flask_restx import Namespace, Resource

MODEL = {"model": "Name of a served model"}
VERSION = {"version": {"description": "Number of a version", "type": "integer"}}
LABEL = {"label": "Label of a version, such as stable"}


def route(
    api: Namespace, base: str, ending: str, operation: str, method: str = "post"
) -> Callable[[type[Resource]], type[Resource]]:
    """Add a resource at `base`/<model>`ending`, .../versions/<version>`ending` and .../labels/<label>`ending`.

    `operation` is the first one's id in the specification; the other two ids end in _by_version and _by_label.
    """
    paths: tuple[tuple[str, str, dict[str, Any]], ...] = (
        (f"{base}/<model>{ending}", "", {}),
        (f"{base}/<model>/versions/<version>{ending}", "_by_version", VERSION),
        (f"{base}/<model>/labels/<label>{ending}", "_by_label", LABEL),
    )

    def add(resource: type[Resource]) -> type[Resource]:
        for path, suffix, parameters in paths:
            document = {"params": {**MODEL, **parameters}, method: {"id": f"{operation}{suffix}"}}
            api.route(path, doc=document)(resource)
        return resource

    return add
