"""Takes a string of 1 MB to TensorFlow and back 200 times; prints the megabytes held after the first and the last."""

import sys

import numpy as np
from tests.programs.model_runs import megabytes

from tensor_serving.embedded.native.tensors import to_array, to_tensor


def main() -> None:
    text = np.array([b"x" * 1_000_000], dtype=object)
    to_array(to_tensor(text))
    low = megabytes()
    for _ in range(200):
        to_array(to_tensor(text))
    sys.stdout.write(f"{low} {megabytes()}\n")


if __name__ == "__main__":
    main()
