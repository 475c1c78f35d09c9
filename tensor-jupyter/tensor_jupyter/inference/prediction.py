"""What both ways of asking answer, for each picture."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Prediction:
    """What a version says of one picture: labels with their scores, best first; or why it cannot be read."""

    model: str
    version: int
    labels: tuple[tuple[str, float], ...] = ()
    error: str = ""


class Classifier(Protocol):
    """A model that can be asked."""

    def classify(self, pictures: list[bytes]) -> list[Prediction]:
        """One verdict for each picture file, in their order. Raises LabError when the model itself cannot answer."""
