"""Models run by TensorFlow's C API in a process of their own: what it imports, says and keeps."""

import subprocess
import sys
from pathlib import Path

import example_models
import pytest
import tensorflow as tf
from serving_kit import environment

FRESH = """
import sys
import threading
from pathlib import Path
import numpy as np
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.runtime import Model

def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

def once(folder=sys.argv[1]):
    model = Model(Path(folder))
    signature = model.signatures["serving_default"]
    (feed,), fetches = (i.name for i in signature.inputs.values()), tuple(i.name for i in signature.outputs.values())
    call = Call("serving_default", (feed,), (np.zeros((8, 1000), np.float32),), fetches)
    threads = [threading.Thread(target=model.run, args=(call,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    before = megabytes()
    model.close()
    return before
"""


def _fresh(code: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", FRESH + code, *map(str, arguments)],
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


class Heavy(tf.Module):
    """32 MB of variables, 8 MB of a constant in the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = [tf.Variable(tf.ones((1000, 1000))) for _ in range(8)]
        self.constant = tf.random.normal((2000, 1000))

    @tf.function(input_signature=[tf.TensorSpec((None, 1000), tf.float32, name="x")])
    def product(self, x):
        for weights in self.weights:
            x = x @ weights
        return {"y": x @ tf.transpose(self.constant)}


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heavy") / "1"
    module = Heavy()
    tf.saved_model.save(module, str(folder), signatures=module.product)
    return folder


def test_a_fresh_process_runs_a_model_without_tensorflow_and_without_a_word(heavy: Path) -> None:
    done = _fresh("once(); assert 'tensorflow.python' not in sys.modules; print(len(sys.modules) < 500)", heavy)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_unloading_gives_the_memory_back(heavy: Path, tmp_path: Path) -> None:
    """With a single malloc arena: several keep up to 130 MB of freed memory, and how much differs between runs."""
    small = tmp_path / "small"
    example_models.stateless(small)
    code = "once(sys.argv[2]); print(*[size for _ in range(8) for size in (once(), megabytes())])"
    sizes = [float(word) for word in _fresh(code, heavy, small, MALLOC_ARENA_MAX="1").stdout.split()]
    loaded, left = sizes[::2], sizes[1::2]
    assert min(loaded) > max(left) + 100
    assert max(left) - min(left) < 8, "the model's constant alone has 8 MB"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_strings_passing_through_leave_nothing_behind(heavy: Path) -> None:
    code = """
from tensor_serving.embedded.native.tensors import to_array, to_tensor
text = np.array([b"x" * 1_000_000], dtype=object)
to_array(to_tensor(text))
low = megabytes()
for _ in range(200):
    to_array(to_tensor(text))
print(low, megabytes())
"""
    low, high = (float(word) for word in _fresh(code, heavy).stdout.split())
    assert high < low + 20


def test_the_stand_in_identifies_itself(heavy: Path) -> None:
    done = _fresh("import tensorflow as tf\ntf.constant(1)", heavy)
    assert "tensorflow.constant is not there: tensor_serving.embedded keeps only" in done.stderr
