"""Choose the network for a set of images: one pretrained on photographs, or a small one trained from scratch."""

from tensor_jupyter.data import Dataset
from tensor_jupyter.errors import LabError
from tensor_jupyter.training.models import build
from tensor_jupyter.training.run import Run

PHOTOGRAPH = 64
"""The least pixels a side of images for which a network pretrained on photographs helps."""


def choose_network(run: Run, data: Dataset, offline: bool = False) -> tuple[Run, str]:
    """Return the run with a network that suits the images and the available weights, and the reason in one line.

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
        message = f"{error} This time a small network learns from scratch; expect a lower accuracy."
        return run.model_copy(update={"network": "cnn"}), message
    if run.weights == "none":
        return transfer, f"{run.base} learns from scratch, as given."
    return transfer, f"{run.base}, pretrained on a million photographs, gets a new last layer."
