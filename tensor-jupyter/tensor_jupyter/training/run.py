"""The typed settings of a training run: defaults, then a file, then the environment, then flags; the last one wins.

Run.read(Path("run.toml"), epochs=5)      # LAB_TRAIN_BATCH_SIZE=64 in the environment counts as well
"""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tensor_jupyter import layers

PREFIX = "LAB_TRAIN_"
"""Prefix of the environment's variables: LAB_TRAIN_LEARNING_RATE=0.001."""


class Run(BaseModel):
    """How to train; what is left out is decided by the network and the data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Literal["cnn", "vgg", "dnn", "autoencoder", "transfer"] = Field(
        "cnn", description="Which network to train."
    )
    epochs: int = Field(10, ge=1, le=10_000, description="How often to go through the images.")
    refine_epochs: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Further epochs, at a third of the learning rate, on less distorted images.",
    )
    batch_size: int | None = Field(
        None, ge=1, le=65_536, description="Images in one step; none: 128, or fewer of a small set."
    )
    learning_rate: float | None = Field(
        None, gt=0, le=1, description="Learning rate after warm-up; none: the network's own."
    )
    seed: int = Field(7, ge=0, lt=2**31, description="The same seed gives the same model on the same CPU.")
    validation_split: float = Field(
        0.05, ge=0, lt=0.9, description="Part of the training images that chooses the epoch to keep; 0: the last."
    )
    weight_decay: float = Field(0.0, ge=0, lt=1, description="Of AdamW; 0: Adam.")
    weight_average: float = Field(
        0.0, ge=0, lt=1, description="Momentum of a moving average of the weights, which is what is kept; 0: none."
    )
    teachers: int = Field(
        0,
        ge=0,
        le=16,
        description="How many networks of other seeds are trained first, for the final one to learn from.",
    )
    augmentation: Literal["auto", "digits", "photographs", "none"] = Field(
        "auto", description="How the images are varied; auto: as fits the data."
    )
    label_smoothing: float = Field(
        0.02, ge=0, lt=0.5, description="Label smoothing: a certain answer scores about 0.99."
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Stop after so many epochs without a better one; none: a third of the epochs, at least 3.",
    )
    mixed_precision: Literal["auto", "on", "off"] = Field("auto", description="float16 in training; auto: on a GPU.")
    subset: float = Field(1.0, ge=0.001, le=1, description="Part of the training images; at least 2,000 are taken.")
    base: Literal["MobileNetV2", "EfficientNetB0"] = Field("MobileNetV2", description="Of transfer: what it builds on.")
    weights: str = Field("imagenet", description="Of transfer: imagenet (downloaded), none, or a file.")
    alpha: float = Field(1.0, gt=0, le=2, description="Of MobileNetV2: its width.")
    unfreeze: int = Field(0, ge=0, description="Of transfer: how many of the base's last layers learn as well.")
    profile: bool = Field(False, description="Trace a few steps for TensorBoard's profile plugin.")

    @classmethod
    def read(cls, config: Path | None = None, **flags: object) -> "Run":
        """The settings from the file `config` (TOML or JSON), the environment, and those `flags` that are not None.

        Raises LabError for the first wrong value: its source, what was found and what is expected.
        """
        variables = {name: name.removeprefix(PREFIX).lower() for name in os.environ if name.startswith(PREFIX)}
        return layers.read(cls, "run", layers.read_file(config) if config else {}, config, variables, flags)

    def differences(self) -> dict[str, Any]:
        """The settings that differ from the defaults."""
        return self.model_dump(mode="json", exclude_defaults=True)
