"""The prediction for an image, by a served model or one loaded here."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Prediction:
    """A version's answer for one image: labels with their scores, best first; or why the image cannot be read."""

    model: str
    version: int
    labels: tuple[tuple[str, float], ...] = ()
    error: str = ""


class Classifier(Protocol):
    """A model that classifies images."""

    def classify(self, images: list[bytes]) -> list[Prediction]:
        """Return a prediction for each image file, in order. Raises LabError when the model itself cannot answer."""
