"""Import TensorFlow before `tensor_serving.embedded`, which otherwise installs a stand-in with only its messages."""

import tensorflow  # noqa: F401
