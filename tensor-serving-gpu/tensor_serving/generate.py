"""The catalogue as a ModelServerConfig, TensorFlow Serving's list of what to serve, in protobuf's text form.

Every model is listed with the exact versions to serve (policy `specific`), never with `latest` or `all`: with
those the server would load a folder as soon as it appears, before it has been checked for completeness.
"""

import os
from pathlib import Path

from tensor_serving.catalogue import Catalogue, Model


def render(catalogue: Catalogue) -> str:
    """Return the ModelServerConfig text: the models with something to serve, by name.

    Raises ValueError when a path is not UTF-8, which protobuf text cannot hold.
    """
    entries = "".join(_entry(model) for model in catalogue.models if model.serving)
    return f"# Generated from the models volume; changes here are overwritten.\nmodel_config_list {{\n{entries}}}\n"


def _entry(model: Model) -> str:
    versions = " ".join(f"versions: {number}" for number in model.serving)
    labels = "".join(
        f"    version_labels {{ key: {quote(label)} value: {number} }}\n" for label, number in model.labels.items()
    )
    return (
        "  config {\n"
        f"    name: {quote(model.name)}\n"
        f"    base_path: {quote(model.base_path)}\n"
        '    model_platform: "tensorflow"\n'
        f"    model_version_policy {{ specific {{ {versions} }} }}\n"
        f"{labels}"
        "  }\n"
    )


def quote(text: str) -> str:
    """Return a protobuf text literal: everything except printable ASCII as octal escapes of its UTF-8 bytes."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the path {text!r} is not UTF-8; rename it or mount the volume elsewhere") from error
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b"\"\\'" else f"\\{b:03o}" for b in data) + '"'


def write_if_changed(path: Path, text: str) -> bool:
    """Replace the file atomically if its text differs; return whether it was replaced.

    Raises OSError when the folder or the file cannot be written; the old file is then unchanged.
    """
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return True


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, so that it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
