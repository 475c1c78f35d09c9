"""The workbench: data, models, training, and the export of self-contained models that the lab serves.

Importing this package is fast: only the modules that need TensorFlow import it, without its messages at start-up.
"""

import os
import platform

__version__ = "0.1.0"

# Read by TensorFlow when it is imported, so set before that: no lines about oneDNN, CPU features or absent GPUs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Without this, the first TensorFlow process reserves nearly all memory of a GPU, and leaves none to another one.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
if platform.machine() in ("x86_64", "AMD64"):
    # TensorFlow disables oneDNN on processors without AVX-512. Convolutions train faster with it there as well.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
