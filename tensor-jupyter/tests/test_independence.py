"""Rows are declared independent only if no row's answer depends on the rows beside it."""

import numpy as np
import pytest
import tensorflow as tf

from tensor_jupyter.publishing.graph import Graph
from tensor_jupyter.publishing.independence import Finding, compare_rows
from tensor_jupyter.publishing.replay import check
from tensor_jupyter.publishing.samples import Sample, write_golden_samples

LINE = tf.TensorSpec([None], tf.float32, "x")
TABLE = tf.TensorSpec([None, 4], tf.float32, "x")
WORDS = tf.TensorSpec([None], tf.string, "x")


class Counter(tf.Module):
    """Answers the same for every call, and counts the calls."""

    def __init__(self):
        self.calls = tf.Variable(0)

    @tf.function(input_signature=[LINE])
    def run(self, x):
        self.calls.assign_add(1)
        return {"y": x}


class Normalizing(tf.Module):
    """BatchNormalization in training mode: the mean of the batch is taken off."""

    @tf.function(input_signature=[TABLE])
    def run(self, x):
        mean, variance = tf.nn.moments(x, 0)
        return {"y": tf.nn.batch_normalization(x, mean, variance, None, None, 1e-3)}


def module(function, spec):
    made = tf.Module()
    made.run = tf.function(lambda x: {"y": function(x)}, input_signature=[spec])
    return made


def found(folder, made, samples=()):
    tf.saved_model.save(made, str(folder), {"serving_default": made.run})
    with Graph(folder) as graph:
        return compare_rows(graph, samples, imagined=True)


@pytest.mark.parametrize(
    ("function", "spec"),
    [
        (lambda x: 2 * x, LINE),
        (tf.nn.softmax, TABLE),
        (lambda x: tf.reduce_sum(x, 1), TABLE),
        (lambda x: tf.gather(tf.eye(3), x), tf.TensorSpec([None], tf.int64, "x")),
        (lambda x: tf.reduce_mean(x, [1, 2]), tf.TensorSpec([None, None, None, 3], tf.float32, "x")),
    ],
    ids=["double", "softmax", "sum of a row", "table", "image"],
)
def test_rows_of_their_own_are_independent(tmp_path, function, spec):
    assert found(tmp_path / "m", module(function, spec)) == Finding(True)


@pytest.mark.parametrize(
    "made",
    [
        module(tf.cumsum, LINE),
        module(tf.sort, LINE),
        module(lambda x: x / tf.reduce_sum(x), LINE),
        module(lambda x: tf.nn.softmax(x, 0), TABLE),
        module(lambda x: x - tf.reduce_mean(x, 0), TABLE),
        module(lambda x: tf.concat([x[:1], x[1:] - x[:-1]], 0), LINE),
        module(lambda x: tf.clip_by_norm(x, 50.0), TABLE),
        module(lambda x: tf.boolean_mask(x, x > 0), LINE),
        module(lambda x: tf.unique(x)[0], LINE),
        module(tf.reduce_sum, LINE),
        module(lambda x: x + tf.random.uniform(tf.shape(x)), LINE),
        Normalizing(),
        Counter(),
    ],
    ids="cumsum sort share softmax centre difference clip filter unique sum random batch-norm counter".split(),  # noqa: SIM905
)
def test_rows_that_depend_on_others_are_found(tmp_path, made):
    finding = found(tmp_path / "m", made)
    assert finding.independent is False
    assert finding.reason.startswith("serving_default: ")


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (module(tf.strings.length, WORDS), "an input of string cannot be made up"),
        (module(tf.identity, tf.TensorSpec(None, tf.float32, "x")), "without an open number of rows"),
        (module(tf.identity, tf.TensorSpec([2, 3], tf.float32, "x")), "without an open number of rows"),
        (module(lambda x: tf.ensure_shape(x, [3]), LINE), "InvalidArgumentError"),
    ],
    ids=["string", "unknown rank", "two rows", "refuses numbers"],
)
def test_what_cannot_be_compared_is_not_known(tmp_path, made, reason):
    finding = found(tmp_path / "m", made)
    assert finding.independent is None
    assert reason in finding.reason


def test_the_width_of_padded_texts_depends_on_the_longest(tmp_path):
    """Golden samples say what random numbers cannot: texts of other lengths."""
    made = module(lambda x: tf.strings.length(tf.strings.split(x).to_tensor()), WORDS)
    texts = [np.array([text], object) for text in (b"one", b"two words", b"now three words")]
    samples = [Sample("serving_default", {"x": text}, {}) for text in texts]
    assert found(tmp_path / "m", made, samples).independent is False
    assert found(tmp_path / "n", made, samples[:1]).independent is None


def test_every_signature_must_pass(tmp_path):
    made = tf.Module()
    made.good = tf.function(lambda x: {"y": x}, input_signature=[LINE])
    made.bad = tf.function(lambda x: {"y": tf.cumsum(x)}, input_signature=[LINE])
    tf.saved_model.save(made, str(tmp_path), {"serving_default": made.good, "total": made.bad})
    with Graph(tmp_path) as graph:
        finding = compare_rows(graph, [], imagined=True)
    assert finding == Finding(False, "total: y differs when the rows are split")


def test_the_check_in_a_process_of_its_own_has_the_same_result(tmp_path, caplog):
    made = module(tf.cumsum, LINE)
    tf.saved_model.save(made, str(tmp_path), {"serving_default": made.run})
    rows = np.float32([[1], [2]])
    write_golden_samples(tmp_path, "m", [Sample("serving_default", {"x": row}, {"y": row}) for row in rows])
    assert check(tmp_path) is False
    assert "each request will run alone, since the rows depend on each other" in caplog.text
