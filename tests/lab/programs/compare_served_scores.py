"""`MODEL`: runs in the workbench; prints the shapes of version 1's variables, and whether its scores are served."""

import sys

import numpy as np
import tensorflow as tf

from tensor_jupyter.context import Context
from tensor_jupyter.served_model import ServedModel


def main() -> None:
    model = sys.argv[1]
    folder = str(Context(model, 1).model_dir)
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    published = tf.saved_model.load(folder).signatures["serving_default"](images=images)["scores"]
    served = ServedModel(model, version=1).predict_arrays(images=images)["scores"]
    shapes = [tuple(shape) for _, shape in tf.train.list_variables(folder + "/variables/variables")]
    sys.stdout.write(f"shapes {shapes} equal {np.allclose(published, served, atol=1e-4)}\n")


if __name__ == "__main__":
    main()
