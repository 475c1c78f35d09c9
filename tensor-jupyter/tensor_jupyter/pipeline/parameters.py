"""The parameters of all steps, typed and checked before anything runs: pipeline.yaml, then environment, then flags."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tensor_jupyter import layers
from tensor_jupyter.context import NAME
from tensor_jupyter.errors import LabError

FILE = Path("pipeline.yaml")
"""Read from the working folder if it exists and no other file is given."""

PREFIX = "LAB_PIPELINE_"
"""Prefix of the environment's variables: LAB_PIPELINE_EPOCHS=5."""

_PLAIN = ("learning_rate", "learning_steps", "batch_size", "mnist_data_dir", "notmnist_data_dir")
"""Parameters that variables without the prefix set as well, as in the tutorial: LEARNING_RATE=0.001."""

_GATE = {
    "LAB_GATE_MAX_ACCURACY_LOSS": "max_accuracy_loss",
    "LAB_GATE_MAX_DISAGREEMENT": "max_disagreement",
    "LAB_GATE_IMAGES": "gate_images",
}
"""Thresholds of `lab models promote` that are the pipeline's as well, by their variables."""

_FOLDERS = ("mnist_data_dir", "notmnist_data_dir")
_SUFFIXES = (".yaml", ".yml", ".toml", ".json")
_MAX_NAME = 63 - len("-concept")


class Parameters(BaseModel):
    """What the steps depend on. A step runs again when one of its own parameters changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field("mnist-net", description="What the classifier is called; the concept model is MODEL-concept.")
    network: Literal["cnn", "dnn"] = Field("cnn", description="The classifier's network.")
    epochs: int = Field(8, ge=1, le=10_000, description="How often the classifier goes through the images.")
    learning_steps: int | None = Field(
        None, ge=1, description="Batches to train the classifier on, rounded up to whole epochs; instead of epochs."
    )
    learning_rate: float | None = Field(
        None, gt=0, le=1, description="The classifier's highest learning rate; else its network's own."
    )
    batch_size: int | None = Field(None, ge=1, le=65_536, description="Images in one batch; else chosen by the data.")
    concept_epochs: int = Field(20, ge=1, le=10_000, description="How often the concept model goes through the images.")
    seed: int = Field(7, ge=0, lt=2**31, description="The same seed gives the same models on the same CPU.")
    subset: float = Field(1.0, ge=0.001, le=1, description="Part of the training images; at least 2,000 are taken.")
    mnist_data_dir: str = Field("", description="A folder with MNIST's files; else downloaded once.")
    notmnist_data_dir: str = Field("", description="A folder of letters by class; else downloaded once.")
    feedback: Literal["use", "ignore"] = Field(
        "use", description="Corrections that people gave the model on the page: train with them, or not."
    )
    live_calls: int = Field(1000, ge=1, description="How many images are sent over REST.")
    min_accuracy: float = Field(0.98, ge=0, le=1, description="Share of images that must be right, live and offline.")
    max_accuracy_loss: float = Field(
        0.005, ge=0, le=1, description="How far the accuracy may be below that of the version in place."
    )
    max_disagreement: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of images classified other than by it, beyond the gain in accuracy.",
    )
    gate_images: int = Field(2000, ge=1, description="Most test images that the classifier is measured on offline.")
    min_auroc: float = Field(
        0.99, ge=0.5, le=1, description="Least AUROC of the concept score, digits against letters."
    )
    min_fitted_auroc: float = Field(
        0.95, ge=0.5, le=1, description="The same, for letters fitted into MNIST's box as drawn ones are."
    )
    max_false_alarms: float = Field(0.02, ge=0, le=1, description="Share of unseen digits over the threshold.")
    max_latency_ms: float = Field(100.0, gt=0, description="Median milliseconds of the graph for one image.")
    max_live_latency_ms: float = Field(250.0, gt=0, description="Median milliseconds of a live call.")

    @field_validator("model")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if not NAME.fullmatch(value) or len(value) > _MAX_NAME:
            raise ValueError(f"wanted are 1 to {_MAX_NAME} lower-case letters, digits, '.', '_' or '-'")
        return value

    @property
    def concept(self) -> str:
        """The concept model's name."""
        return f"{self.model}-concept"

    @classmethod
    def read(cls, file: Path | None = None, **flags: object) -> "Parameters":
        """Return the parameters from a file, the environment, and those `flags` that are not None.

        Args:
            file: YAML, TOML or JSON; None: pipeline.yaml of the working folder, if it exists.
            **flags: Values by name.

        Raises:
            LabError: For the first wrong value, with its source, the value and what is expected; also for a folder
                that is not on this machine.
        """
        found = cls._read(file, flags)
        for name in _FOLDERS:
            folder = getattr(found, name)
            if folder and not Path(folder).is_dir():
                raise LabError(f"{name} is {folder!r}: there is no such folder.")
            if folder:  # so that a stamp does not depend on the working folder
                found = found.model_copy(update={name: str(Path(folder).absolute())})
        return found

    @classmethod
    def read_for_remote_run(cls, file: Path | None = None, **flags: object) -> "Parameters":
        """Return the parameters for steps that run on another machine: folders need not exist here.

        Raises:
            LabError: For the first wrong value; also for a folder that is not an absolute path.
        """
        found = cls._read(file, flags)
        for name in _FOLDERS:
            if (folder := getattr(found, name)) and not Path(folder).is_absolute():
                raise LabError(f"{name} is {folder!r}: expected an absolute path on the machine that runs the steps.")
        return found

    @classmethod
    def _read(cls, file: Path | None, flags: dict[str, object]) -> "Parameters":
        file = file or (FILE if FILE.is_file() else None)
        values = layers.read_file(file, _SUFFIXES) if file else {}
        return layers.read(cls, "pipeline", values, file, dict(variables()), flags)

    def environment(self) -> dict[str, str]:
        """Return the variables for a step's process; a parameter that is None or empty has none."""
        values = {name: value for name, value in self.model_dump(mode="json").items() if value not in (None, "")}
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items()}


def variables() -> Iterator[tuple[str, str]]:
    """Yield environment variables and their parameters; one with the prefix wins over the others."""
    yield from ((name.upper(), name) for name in _PLAIN)
    yield from _GATE.items()
    yield from ((name, name.removeprefix(PREFIX).lower()) for name in os.environ if name.startswith(PREFIX))
