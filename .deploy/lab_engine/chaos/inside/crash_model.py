"""Export a model that crashes its server: `FOLDER WHEN SECONDS`, or publish one: `--publish NAME`. Needs TensorFlow.

The model returns x / 2. If x has a value above zero, it first computes for SECONDS and then aborts (SIGABRT, as a
failed check in an operation does). WHEN is `load`: a warm-up record has such a value; or `request`: none has.
This program runs in the workbench, by `exec`, because the engine has no TensorFlow.
"""

import os
import shutil
import sys
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

_TURNS_PER_SECOND = 50_000  # of the loop below, on one core, roughly


def export(folder: Path, when: str, seconds: float) -> None:
    """Write the SavedModel."""
    turns = int(seconds * _TURNS_PER_SECOND)

    class Crash(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def half(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            def crash() -> tf.Tensor:
                count = tf.while_loop(lambda i: i < turns, lambda i: i + 1, [tf.constant(0)])[0]
                with tf.control_dependencies([count]):
                    abort = tf.raw_ops.Abort(error_msg="staged by bin/compose.sh chaos")
                with tf.control_dependencies([abort]):
                    return x / 2

            return {"y": tf.cond(tf.reduce_any(x > 0), crash, lambda: x / 2)}

    model = Crash()
    tf.saved_model.save(model, str(folder), signatures=model.half)
    if when == "load":
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = "serving_default"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
        record = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
        (folder / "assets.extra").mkdir()
        with tf.io.TFRecordWriter(str(folder / "assets.extra" / "tf_serving_warmup_requests")) as writer:
            writer.write(record.SerializeToString())


def publish(name: str) -> None:
    """Publish the model as version 1 of `name`; it crashes when it is loaded."""
    models = Path(os.environ["LAB_MODELS"])
    staged = models / ".staging" / name
    shutil.rmtree(staged, ignore_errors=True)
    export(staged / "1", "load", 0)
    staged.rename(models / name)


if __name__ == "__main__":
    if sys.argv[1] == "--publish":
        publish(sys.argv[2])
    else:
        export(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
