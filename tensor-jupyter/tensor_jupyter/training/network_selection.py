"""Choose the network for a set of images: one pretrained on photographs, or a small one trained from scratch."""

from tensor_jupyter.data import Dataset
from tensor_jupyter.errors import LabError
from tensor_jupyter.training.models import build
from tensor_jupyter.training.run import Run

PHOTOGRAPH = 64
"""Pixels a side from which on a network pretrained on photographs helps."""


def choose_network(run: Run, data: Dataset, offline: bool = False) -> tuple[Run, str]:
    """The run with the network that suits the images and the weights at hand, and a line with the reason.

    A network that the run names is kept. offline: download nothing. Raises LabError when weights that the run names
    are not available.
    """
    if "network" in run.model_fields_set:
        return run, f"The network is {run.network}, as given."
    if min(data.image_spec.height, data.image_spec.width) < PHOTOGRAPH:
        return run.model_copy(update={"network": "cnn"}), "Small images: a small network learns from scratch."
    transfer = run.model_copy(update={"network": "transfer"})
    try:
        build(data, transfer, offline)
    except LabError as error:
        if "weights" in run.model_fields_set:
            raise
        message = f"{error} This time a small network learns from scratch; it will know less."
        return run.model_copy(update={"network": "cnn"}), message
    if run.weights == "none":
        return transfer, f"{run.base} learns from scratch, as given."
    return transfer, f"{run.base}, which has seen a million photographs, gets a new last layer."
