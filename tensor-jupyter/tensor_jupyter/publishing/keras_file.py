"""Keras models from .keras and .h5 files, those of Keras 2 included; no code from a file is run."""

import json
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras

from tensor_jupyter.errors import LabError

FILES = (".keras", ".h5", ".hdf5")

_MAX_CONFIG_BYTES = 64 * 1024 * 1024
_OLD_DEFAULTS = {"groups": 1, "time_major": False}
"""Settings that Keras 2 wrote into layers which no longer have them; with another value the layer would compute
something else."""

_WITHOUT_GROUPS = re.compile("Depthwise|Separable|Transpose")


def load_keras(path: Path) -> keras.Model:
    """Load the model of a .keras or .h5 file for inference. Raises LabError; no code from the file is run."""
    try:
        if path.suffix.lower() == ".keras":
            model = keras.models.load_model(path, compile=False, safe_mode=True)
        else:
            model = _load_h5(path)
    except LabError:
        raise
    except Exception as error:  # a damaged file can make Keras raise anything
        raise LabError(_reason(path, str(error))) from error
    if not getattr(model, "built", False) or not getattr(model, "inputs", None):
        raise LabError(f"{path.name} has no input shape: build the model, or call it once, before saving it.")
    return model


def saved_loss(path: Path) -> Any:
    """The configuration of the loss that the model was compiled with, None if the file does not hold it."""
    try:
        if path.suffix.lower() == ".keras":
            with zipfile.ZipFile(path) as archive:
                if archive.getinfo("config.json").file_size > _MAX_CONFIG_BYTES:
                    return None
                return (json.loads(archive.read("config.json")).get("compile_config") or {}).get("loss")
        with h5py.File(path) as file:
            found = json.loads(file.attrs.get("training_config", "{}"))
            return (found.get("training_config") or found).get("loss")
    except (OSError, KeyError, ValueError, AttributeError, zipfile.BadZipFile):
        return None


def _load_h5(path: Path) -> keras.Model:
    """Load a .h5 file. Raises LabError for one that holds only weights."""
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise LabError(
                f"{path.name} holds weights without their network: load them into it, and save the whole model."
            )
        text = file.attrs["model_config"]
    config = json.loads(text)
    if not _without_old_defaults(config):
        return keras.models.load_model(path, compile=False, safe_mode=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model.h5"
        shutil.copyfile(path, copy)
        with h5py.File(copy, "r+") as file:
            file.attrs["model_config"] = json.dumps(config)
        return keras.models.load_model(copy, compile=False, safe_mode=True)


def _without_old_defaults(config: Any) -> int:
    """Remove settings that Keras 2 wrote and Keras 3 rejects, at any depth; return how many."""
    if isinstance(config, list):
        return sum(map(_without_old_defaults, config))
    if not isinstance(config, dict):
        return 0
    changed = sum(map(_without_old_defaults, config.values()))
    settings, kind = config.get("config"), str(config.get("class_name"))
    if not isinstance(settings, dict):
        return changed
    for name, default in _OLD_DEFAULTS.items():
        refused = name != "groups" or _WITHOUT_GROUPS.search(kind)
        if refused and name in settings and settings[name] == default:
            del settings[name]
            changed += 1
    axis = settings.get("axis")
    if kind == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        settings["axis"], changed = axis[0], changed + 1
    return changed


def _reason(path: Path, text: str) -> str:
    line = " ".join(text.split())[:300]
    if "OpLambda" in text:
        return (
            f"{path.name} has TensorFlow operations between its layers, as Keras 2 saved them, which Keras 3 cannot "
            "read. Load it with TensorFlow 2.15 or older, or with the package tf-keras, write it with "
            "model.export(folder), and import that folder."
        )
    if "ambda" in text:
        return (
            f"{path.name} has a Lambda layer, which is Python code out of a file, and is not run. Replace it by one "
            "of Keras's layers (Rescaling for a scaling), or export the model where it was made with "
            "model.export(folder), and import that folder."
        )
    if "Could not locate" in text or "Unknown layer" in text or "custom_object" in text:
        return (
            f"{path.name} has a custom layer, whose code is not in the file: export the model where it was made with "
            f"model.export(folder), and import that folder. Keras reports: {line.split('. ')[0]}."
        )
    return f"{path.name} cannot be read as a Keras model: {line or 'no reason given'}"
