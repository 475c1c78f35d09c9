"""Pictures in a notebook."""

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure


def contact_sheet(images: np.ndarray, titles: Sequence[object], columns: int = 10) -> Figure:
    """The pictures in rows of `columns`, each under its title; an empty row where there are none.

    images: uint8 [N, H, W, 1] or [N, H, W, 3].
    """
    rows = max(1, -(-len(images) // columns))
    figure, axes = pyplot.subplots(rows, columns, figsize=(columns, 1.25 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set_title(str(title), fontsize=9)
    figure.tight_layout()
    pyplot.close(figure)  # the notebook shows the figure it is given; open ones would be shown twice
    return figure
