"""A real gRPC server that speaks our wire and computes something one can do in one's head.

The digit of an image is its mean level divided by 25: level 60 is a 2, level 130 a 5. It gets 0.91, the others 0.01.
"""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import numpy as np

from tensor_rest.backend.protos import serving_pb2 as pb
from tensor_rest.backend.tensors import from_tensor, write

LABELS = [str(digit) for digit in range(10)]
CARD = {
    "schema": 1,
    "name": "mean-net",
    "labels": LABELS,
    "input": {"height": 28, "width": 28, "channels": 1, "polarity": "light-on-dark", "centering": "none"},
    "metrics": {"test_accuracy": 0.99},
    "independent_rows": True,
}


@dataclass
class Model:
    """One served model; `card` None: no `describe` signature. `as_floats`: answer in float_val, as TF Serving does."""

    versions: list[int] = field(default_factory=lambda: [1])
    card: dict | str | None = field(default_factory=lambda: dict(CARD))
    cards: dict[int, dict] = field(default_factory=dict)  # of versions that have another one
    as_floats: bool = True
    classes: int = 10
    shift: int = 0  # added to the digit, so that versions differ
    signatures: dict[str, pb.SignatureDef] | None = None
    labels: dict[str, int] = field(default_factory=dict)
    compute: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] | None = None  # instead of looking at images
    strict: bool = False  # refuse shapes that are not the signature's, as most graphs do


class ModelServer:
    """Serves `models` at `address`; `fail` is answered instead while it is set, `calls` counts methods."""

    def __init__(self, **models: Model) -> None:
        self.models = {name.replace("_", "-"): model for name, model in models.items()}
        self.fail: tuple[grpc.StatusCode, str] | None = None
        self.fail_signature: tuple[str, grpc.StatusCode] | None = None  # calls of a signature that end with a code
        self.fail_repeats: tuple[grpc.StatusCode, str] | None = None  # calls that say they were made before
        self.hold: threading.Event | None = None  # calls wait for it
        self.calls: list[str] = []
        self.request_ids: list[str] = []  # of each call, from its metadata
        self.on_images: Callable[[np.ndarray], None] = lambda _: None
        self._server: grpc.Server | None = None
        self.host, self.port = "127.0.0.1", 0
        self.tls: grpc.ServerCredentials | None = None

    def start(self) -> "ModelServer":
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self._handlers("PredictionService"), self._handlers("ModelService")))
        where = f"{self.host}:{self.port}"
        add_port = self._server.add_insecure_port
        self.port = self._server.add_secure_port(where, self.tls) if self.tls else add_port(where)
        self._server.start()
        return self

    def stop(self) -> None:
        if self._server:
            self._server.stop(None).wait()
            self._server = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def _handlers(self, service: str) -> grpc.GenericRpcHandler:
        methods = {
            "PredictionService": {
                "Predict": (self._predict, pb.PredictRequest),
                "GetModelMetadata": (self._metadata, pb.GetModelMetadataRequest),
                "Classify": (self._classify, pb.ClassificationRequest),
                "Regress": (self._regress, pb.RegressionRequest),
            },
            "ModelService": {"GetModelStatus": (self._status, pb.GetModelStatusRequest)},
        }[service]
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._guarded(name, method), request.FromString, lambda answer: answer.SerializeToString()
            )
            for name, (method, request) in methods.items()
        }
        return grpc.method_handlers_generic_handler(f"tensorflow.serving.{service}", handlers)

    def _guarded(self, name, method):
        def call(request, context):
            self.calls.append(name)
            metadata = dict(context.invocation_metadata())
            self.request_ids.append(metadata.get("x-request-id", ""))
            if self.hold:
                self.hold.wait(10)
            if self.fail:
                context.abort(*self.fail)
            if self.fail_repeats and "x-previous-attempts" in metadata:
                context.abort(*self.fail_repeats)
            spec = request.model_spec
            if self.fail_signature and spec.signature_name == self.fail_signature[0]:
                context.abort(self.fail_signature[1], "not now")
            model = self.models.get(spec.name)
            if model is None:
                context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({spec.name})")
            if spec.version_label and spec.version_label not in model.labels:
                text = f"Unrecognized servable version label: {spec.version_label}"
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
            version = model.labels.get(spec.version_label)
            version = version or (spec.version.value if spec.HasField("version") else max(model.versions))
            if version not in model.versions:
                context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found: Specific({spec.name}, {version})")
            if name == "Predict" and model.strict and (text := _misfit(model, request)):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
            return method(model, version, request)

        return call

    def _predict(self, model, version, request):
        answer = pb.PredictResponse()
        answer.model_spec.name = request.model_spec.name
        answer.model_spec.version.value = version
        if request.model_spec.signature_name == "describe":
            card = model.cards.get(version, model.card)
            card = card if isinstance(card, str) else json.dumps(card)
            write(np.array([card.encode()], dtype=object), answer.outputs["card"])
            return answer
        if model.compute is not None:
            inputs = {alias: from_tensor(tensor) for alias, tensor in request.inputs.items()}
            for alias, array in model.compute(inputs).items():
                if alias in request.output_filter or not request.output_filter:
                    write(array, answer.outputs[alias])
            return answer
        images = from_tensor(request.inputs["images"])
        self.on_images(images)
        digits = (images.reshape(len(images), -1).mean(axis=1) // 25).astype(int) + model.shift
        scores = np.full((len(images), model.classes), 0.01, np.float32)
        scores[np.arange(len(images)), digits % model.classes] = 0.91
        tensor = answer.outputs["scores"]
        write(scores, tensor)
        if model.as_floats:
            tensor.ClearField("tensor_content")
            tensor.float_val.extend(scores.ravel().tolist())
        return answer

    def _classify(self, _model, version, request):
        """Each example is "small" or "large" by its feature x, with x as the score."""
        answer = pb.ClassificationResponse()
        answer.model_spec.name, answer.model_spec.version.value = request.model_spec.name, version
        for x in _features(request.input):
            answer.result.classifications.add().classes.add(label="large" if x > 1 else "small", score=x)
        return answer

    def _regress(self, _model, version, request):
        """Half of x plus 2."""
        answer = pb.RegressionResponse()
        answer.model_spec.name, answer.model_spec.version.value = request.model_spec.name, version
        for x in _features(request.input):
            answer.result.regressions.add(value=x / 2 + 2)
        return answer

    def _metadata(self, model, version, request):
        answer = pb.GetModelMetadataResponse()
        answer.model_spec.name = request.model_spec.name
        answer.model_spec.version.value = version
        signatures = pb.SignatureDefMap(signature_def=model.signatures or _signatures(model))
        answer.metadata["signature_def"].type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        answer.metadata["signature_def"].value = signatures.SerializeToString()
        return answer

    def _status(self, model, _version, _request):
        state = pb.ModelVersionStatus.AVAILABLE
        versions = [pb.ModelVersionStatus(version=version, state=state) for version in model.versions]
        return pb.GetModelStatusResponse(model_version_status=versions)


def _misfit(model: Model, request: pb.PredictRequest) -> str:
    """What does not fit the signature in an input's shape; "" if all do."""
    wanted = (model.signatures or _signatures(model))[request.model_spec.signature_name or "serving_default"].inputs
    for alias, tensor in request.inputs.items():
        sizes, found = ([dim.size for dim in t.tensor_shape.dim] for t in (wanted[alias], tensor))
        if len(sizes) != len(found) or any(size not in (-1, have) for size, have in zip(sizes, found, strict=True)):
            return f"{alias} must have shape {sizes}, not {found}"
    return ""


def _features(sent: pb.Input) -> list[float]:
    """The feature x of each example, from the shared context where the example has none."""
    shared = sent.example_list_with_context
    examples = shared.examples if sent.WhichOneof("kind") == "example_list_with_context" else sent.example_list.examples
    sources = [e if "x" in e.features.feature else shared.context for e in examples]
    return [sum(source.features.feature["x"].float_list.value) for source in sources]


def signature(inputs: dict[str, tuple], outputs: dict[str, tuple]) -> pb.SignatureDef:
    """A SignatureDef from alias: (dtype, [sizes])."""
    infos = [{alias: _info(*info) for alias, info in side.items()} for side in (inputs, outputs)]
    return pb.SignatureDef(inputs=infos[0], outputs=infos[1], method_name="tensorflow/serving/predict")


def _info(dtype, sizes):
    dims = [pb.TensorShapeProto.Dim(size=size) for size in sizes]
    return pb.TensorInfo(name="x:0", dtype=dtype, tensor_shape=pb.TensorShapeProto(dim=dims))


def _signatures(model: Model) -> dict[str, pb.SignatureDef]:
    images, scores = (pb.DT_UINT8, [-1, 28, 28, 1]), (pb.DT_FLOAT, [-1, model.classes])
    signatures = {"serving_default": signature({"images": images}, {"scores": scores})}
    if model.card is not None:
        signatures["describe"] = signature({"index": (pb.DT_INT32, [-1])}, {"card": (pb.DT_STRING, [-1])})
    return signatures
