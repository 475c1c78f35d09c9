"""Labelled images to train on and to measure with.

data = load("mnist")         # downloaded once, or scikit-learn's digits where there is no network
data = load("flowers/")      # a folder of images for each class; a CSV, an .npz or a tar does as well
data.train.images            # uint8 [N, H, W, C]
data.test                    # never trained on
data.message                 # where it came from, in one line
"""

from tensor_jupyter.data.dataset import Dataset, ImageSpec, LabelledImages
from tensor_jupyter.data.idx_sets import load_mnist
from tensor_jupyter.data.registry import NAMES, load

__all__ = ["NAMES", "Dataset", "ImageSpec", "LabelledImages", "load", "load_mnist"]
