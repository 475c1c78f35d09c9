"""Models run by TensorFlow's C API in a process of their own: what it imports, says and keeps."""

import subprocess
import sys
from pathlib import Path

import example_models
import pytest
import tensorflow as tf
from serving_kit import environment

PROGRAMS = Path(__file__).parent / "programs"


def _fresh(program: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAMS / program), *map(str, arguments)],
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
    done = _fresh("run_model_without_tensorflow.py", heavy)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_unloading_gives_the_memory_back(heavy: Path, tmp_path: Path) -> None:
    """With a single malloc arena: several keep up to 130 MB of freed memory, and how much differs between runs."""
    small = tmp_path / "small"
    example_models.stateless(small)
    done = _fresh("unload_model_repeatedly.py", heavy, small, MALLOC_ARENA_MAX="1")
    sizes = [float(word) for word in done.stdout.split()]
    loaded, left = sizes[::2], sizes[1::2]
    assert min(loaded) > max(left) + 100
    assert max(left) - min(left) < 8, "the model's constant alone has 8 MB"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_strings_passing_through_leave_nothing_behind() -> None:
    low, high = (float(word) for word in _fresh("convert_strings_repeatedly.py").stdout.split())
    assert high < low + 20


def test_the_stand_in_identifies_itself() -> None:
    done = _fresh("call_tensorflow_stand_in.py")
    assert "tensorflow.constant is not there: tensor_serving.embedded keeps only" in done.stderr
