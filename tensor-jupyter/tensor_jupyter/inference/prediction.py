"""The prediction for a picture, by a served model or one loaded here."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Prediction:
    """A version's answer for one picture: labels with their scores, best first; or why the picture cannot be read."""

    model: str
    version: int
    labels: tuple[tuple[str, float], ...] = ()
    error: str = ""


class Classifier(Protocol):
    """A model that classifies pictures."""

    def classify(self, pictures: list[bytes]) -> list[Prediction]:
        """Return a prediction for each picture file, in order. Raises LabError when the model itself cannot answer."""
