"""The pages' templates. Jinja escapes all values but the style sheet and charts, which the templates mark as safe."""

import os
import tempfile
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tensor_jupyter import __version__
from tensor_jupyter.context import make_shared
from tensor_jupyter.pages import charts

_FOLDER = Path(__file__).with_name("templates")


def render(template: str, **values: Any) -> str:
    """Return the HTML of a template with these values; the filter `svg` turns a matplotlib figure into SVG."""
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(_FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"svg": charts.svg, "percent": _percent, "size": _size, "moment": _moment}
    style = (_FOLDER / "style.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=style, release=__version__, **values)


def write(path: Path, text: str) -> None:
    """Write the file atomically: a reader sees the former file or this one."""
    make_shared(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o664)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.2%}"


def _size(count: float) -> str:
    return f"{count / 1e6:.1f} MB"


def _moment(time: str) -> str:
    """A card's time in the form "2026-01-31 12:00 UTC"."""
    return f"{time[:16].replace('T', ' ')} UTC"
