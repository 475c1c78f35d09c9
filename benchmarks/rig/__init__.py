"""The parts of the benchmarks: the servers and gateways under test, the load, and the stages of a call."""

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent
PROJECT = BENCHMARKS.parent / "tensor-serving-gpu"
SHIPPED_MODEL = PROJECT / "serving" / "mnist-net" / "1"
SAMPLES = BENCHMARKS.parent / "tensor-rest" / "data" / "mnist"

if str(PROJECT) not in sys.path:
    sys.path.append(str(PROJECT))

# Before any of TensorFlow's message classes: they are then imported without TensorFlow.
import tensor_serving.embedded  # noqa: E402, F401
