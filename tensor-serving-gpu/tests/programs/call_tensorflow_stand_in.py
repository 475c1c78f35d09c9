"""Calls a function of TensorFlow that the embedded server's stand-in does not have; ends with its error."""

import importlib


def main() -> None:
    importlib.import_module("tensor_serving.embedded.runtime")  # puts the stand-in in TensorFlow's place
    importlib.import_module("tensorflow").constant(1)


if __name__ == "__main__":
    main()
