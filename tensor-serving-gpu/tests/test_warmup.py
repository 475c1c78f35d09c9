"""Warm-up records: every kind is run, a file that is torn or refused keeps the version from going live."""

from collections.abc import Iterator
from pathlib import Path

import case_models
import grpc
import pytest
import tensorflow as tf
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis import prediction_log_pb2

from tensor_serving.embedded import tfrecord
from tensor_serving.embedded.call import Call
from tensor_serving.embedded.errors import ServingError
from tensor_serving.embedded.runtime import Model
from tensor_serving.embedded.warmup import warm_up

X = 'input { example_list { examples { features { feature { key: "x" value { float_list { value: 3 } } } } } } }'
PREDICT = 'predict_log { request { inputs { key: "x" value { dtype: DT_FLOAT tensor_shape {} float_val: 1 } } } }'
CLASSIFY = f'classify_log {{ request {{ model_spec {{ signature_name: "classify" }} {X} }} }}'
REGRESS = f'regress_log {{ request {{ model_spec {{ signature_name: "regress" }} {X} }} }}'
TASK = 'tasks {{ model_spec {{ name: "half" signature_name: "{0}" }} method_name: "tensorflow/serving/{0}" }}'
MULTI = f"multi_inference_log {{ request {{ {X} {TASK.format('regress')} {TASK.format('classify')} }} }}"
SESSION = "session_run_log { request { feed { name: 'no such tensor' } } }"


class Watched:
    """A model that remembers the signatures it was called by."""

    def __init__(self, model: Model) -> None:
        self.signatures, self._model = model.signatures, model
        self.called: list[str] = []

    def run(self, call: Call) -> object:
        self.called.append(call.signature)
        return self._model.run(call)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    folder = tmp_path_factory.mktemp("warmup") / "1"
    case_models.half_plus_two(folder)
    model = Model(folder)
    yield model
    model.close()


def write(folder: Path, *records: str, times: int = 1) -> Path:
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records * times:
            writer.write(text_format.Parse(record, prediction_log_pb2.PredictionLog()).SerializeToString())
    return path


def test_records_of_every_kind_are_run_and_those_of_sessions_passed_over(
    half: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write(tmp_path, PREDICT, CLASSIFY, SESSION, REGRESS, MULTI)
    model = Watched(half)
    warm_up(model, tmp_path)
    assert model.called[:3] == ["serving_default", "classify", "regress"]
    assert len(model.called) == 4
    assert "4 warm-up records replayed" in caplog.text


def test_no_records_are_fine(half: Model, tmp_path: Path) -> None:
    warm_up(half, tmp_path)
    write(tmp_path)
    warm_up(half, tmp_path)


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (lambda data: data[:-1], "DATA_LOSS", "truncated record at 0. Please verify your warmup data"),
        (lambda data: data[:20], "DATA_LOSS", "truncated record at 0"),
        (lambda data: data + data[:5], "DATA_LOSS", "truncated record at "),
        (lambda data: data[:15] + b"?" + data[16:], "DATA_LOSS", "corrupted record at 0"),
        (lambda data: b"\xff" * 8 + data[8:], "DATA_LOSS", "corrupted record at 0"),
        (lambda _: b"not a record at all", "DATA_LOSS", "corrupted record at 0"),
    ],
)
def test_a_torn_file_is_refused(half: Model, tmp_path: Path, change: object, code: str, text: str) -> None:
    path = write(tmp_path, PREDICT)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ServingError, match=text) as refusal:
        warm_up(half, tmp_path)
    assert refusal.value.code is grpc.StatusCode[code]


def test_what_is_not_a_prediction_log_is_refused(half: Model, tmp_path: Path) -> None:
    path = write(tmp_path)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"\xff")
    with pytest.raises(ServingError, match="Failed to parse warmup record 1 from"):
        warm_up(half, tmp_path)


def test_a_record_the_model_refuses_is_reported(half: Model, tmp_path: Path) -> None:
    write(tmp_path, PREDICT, PREDICT.replace("DT_FLOAT", "DT_DOUBLE").replace("float_val", "double_val"))
    with pytest.raises(ServingError, match="to be float but double is provided"):
        warm_up(half, tmp_path)


def test_more_records_than_the_limit_are_refused(half: Model, tmp_path: Path) -> None:
    write(tmp_path, SESSION, times=1001)
    with pytest.raises(ServingError, match=r"Number of warmup records exceeds the maximum \(1000\)"):
        warm_up(half, tmp_path)


@given(data=st.lists(st.binary(max_size=300)))
def test_records_are_read_as_tensorflow_wrote_them(tmp_path_factory: pytest.TempPathFactory, data: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "records"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in data:
            writer.write(record)
    assert list(tfrecord.records(path)) == data
