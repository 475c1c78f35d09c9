"""What the Dockerfiles, the compose file and the health checks say about images, as rows of tables."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lab_engine.settings import read_env_file
from lab_engine.verbs import service_of
from tests.running import ROOT

_VERSIONS = read_env_file(ROOT / "versions.env")
_LABEL = r'^ *(?:LABEL )? *([\w.-]+)="([^"]*)"'
Row = tuple[str, ...]


def services() -> Iterator[Row]:
    """The services, what their images hold, and where they listen in the lab."""
    yield "service", "is", "port"
    for name, wanted in _compose().items():
        text = next(path.read_text() for path in _dockerfiles() if service_of(path.parent) == name)
        (published,) = re.findall(r"\$\{(\w+):\?\}", wanted["ports"][0])
        yield f"**{name}**", _labels(text)["org.opencontainers.image.description"], _VERSIONS[published]


def held() -> Iterator[Row]:
    """What is in each image, from what it is built, and its largest size."""
    yield "image", "Dockerfile", "base", "holds", "at most"
    for path in _dockerfiles():
        text = path.read_text()
        labels = _labels(text)
        (base,) = re.findall(r"^ARG BASE_IMAGE=(.*)$", text, re.MULTILINE)
        named = next(name for name, value in _VERSIONS.items() if value == base)
        place = f"`{path.relative_to(ROOT)}`"
        limit = labels.get("tensor-lab.size-limit", "no limit: depends on its base")
        yield _image(path), place, f"`{named}`", labels["org.opencontainers.image.description"], limit


def running() -> Iterator[Row]:
    """Where each container listens, what it mounts, and when it is healthy."""
    yield "image", "listens on", "volumes", "healthy when"
    for path in _dockerfiles():
        folder = path.parent
        (ports,) = re.findall(r"^EXPOSE (.*)$", path.read_text(), re.MULTILINE)
        mounts = _compose()[service_of(folder)].get("volumes", [])
        check = ast.get_docstring(ast.parse((folder / "healthcheck.py").read_text())) or ""
        when = " ".join(re.split(r"\.\s|\.$", check)[0].split())
        assert when.startswith("Healthy when "), f"the docstring of {folder.name}/healthcheck.py begins otherwise"
        yield _image(path), ", ".join(ports.split()), _volumes(mounts), when.removeprefix("Healthy when ")


def _volumes(mounts: list[str]) -> str:
    """Those that are only read, then those that are written."""
    places = [re.findall(r":(/[^:]+)(:ro)?$", mount)[0] for mount in mounts]
    read = ", ".join(f"`{place}`" for place, read_only in places if read_only)
    written = ", ".join(f"`{place}`" for place, read_only in places if not read_only)
    return "; ".join([f"{read} read"] * bool(read) + [f"{written} written"] * bool(written))


def _dockerfiles() -> list[Path]:
    return sorted(ROOT.glob("tensor-*/Dockerfile*"))


def _compose() -> dict[str, Any]:
    """The services that run once by default."""
    found = yaml.safe_load((ROOT / ".deploy" / "localhost-compose.yml").read_text())["services"]
    return {name: service for name, service in found.items() if "profiles" not in service}


def _image(path: Path) -> str:
    """The image's name; that of TensorFlow Serving has two variants."""
    title = _labels(path.read_text())["org.opencontainers.image.title"]
    return f"{title}-cpu, -gpu" if title == "tensor-serving" else title


def _labels(text: str) -> dict[str, str]:
    return dict(re.findall(_LABEL, text, re.MULTILINE))
