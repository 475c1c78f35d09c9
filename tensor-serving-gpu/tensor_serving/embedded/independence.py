"""Whether the rows of a version are independent: only then are its requests batched, split or joined.

A graph does not show it: a sum over axis 0, a sort or a counter has the same signature as a layer. So it must be
declared, by the exporter, which checks it, or by the operator.
"""

from pathlib import Path

from tensor_serving import serving_settings

_FILE = "batching_params.pbtxt"


def independent_rows(version: Path) -> bool:
    """Return whether the rows of this version folder are declared independent.

    `independent_rows` in the model's serving.json decides. Without it, rows are independent if the version has a file
    of batching parameters. A serving.json with a mistake might mean false, so the rows count as dependent.
    """
    try:
        declared = serving_settings.read(version.parent).independent_rows
    except serving_settings.SettingsError:
        return False
    return parameters_file(version) is not None if declared is None else declared


def parameters_file(version: Path) -> Path | None:
    """Return the version's own batching parameters: where TensorFlow Serving has them, or in assets.extra."""
    return next((file for file in (version / _FILE, version / "assets.extra" / _FILE) if file.is_file()), None)
