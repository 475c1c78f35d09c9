"""TensorFlow is imported before `tensor_serving.embedded`, which otherwise keeps only its messages in this process."""

import tensorflow  # noqa: F401
