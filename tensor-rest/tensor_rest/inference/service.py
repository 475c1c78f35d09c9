"""The gateway's operations, whatever the route; owns one instance of each part per process."""

import re
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from tensor_rest.backend import Addresses, Limits, ModelServer, Prediction
from tensor_rest.errors import BadRequestError, NotFoundError
from tensor_rest.images.decode import decode
from tensor_rest.images.preprocess import Pixels
from tensor_rest.inference import cascade
from tensor_rest.inference.cascade import ClassificationRun
from tensor_rest.inference.catalogue import Catalogue
from tensor_rest.inference.classifier import Answer, Classifier
from tensor_rest.inference.concept import Companions
from tensor_rest.inference.direct_routes import DirectRoute, DirectRoutes
from tensor_rest.inference.explain import explain
from tensor_rest.inference.feedback import Feedback, Kept, check_label
from tensor_rest.inference.image_signature import ImageSignature
from tensor_rest.inference.inventory import Inventory
from tensor_rest.inference.metadata import SIGNATURE, MetadataCache, ModelMetadata, Target
from tensor_rest.inference.rules import Rules
from tensor_rest.payloads.tensor_json import Array, Infos
from tensor_rest.runtime import request_context
from tensor_rest.settings import Settings

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

_LOAD_INTERVAL_S = 0.1  # between two calls for a model that is being loaded
_FEW_ROWS = 32  # a request for tensors with at most so many rows may be batched; a larger one is sent as one call

Result = TypeVar("Result")
Reply = TypeVar("Reply", bound=Message)


class InferenceService:
    """One per process. Every method raises the ApiError that fits what went wrong."""

    def __init__(self, settings: Settings) -> None:
        addresses = Addresses(settings.server, str(settings.inventory_url))
        inventory = Inventory(str(settings.inventory_url), addresses)
        self.server = ModelServer(
            addresses,
            settings.timeout_seconds,
            _limits(settings),
            inventory.independent_rows,
            inventory.having,
            settings.tls(),
        )
        self.metadata_cache = MetadataCache(self.server)
        self.catalogue = Catalogue(
            self.server, self.metadata_cache, inventory, settings.default_model, settings.grace_seconds
        )
        key = settings.route_key_file.read_bytes().strip() if settings.route_key_file else b""
        self._direct = DirectRoutes(addresses, inventory, key, settings.route_port) if key else None
        self.feedback = Feedback(settings.feedback_dir, settings.feedback_max_samples, settings.feedback_max_bytes)
        companions = Companions(self.server, self.metadata_cache, inventory, settings.concept_wait_ms / 1000)
        self._classifier = Classifier(self.server, self.metadata_cache, settings.max_pixels, companions)
        self._rules = Rules(settings.rules)
        self._max_pixels = settings.max_pixels

    def classify(
        self, target: Target, images: Sequence[bytes], signature: str = SIGNATURE, concept: bool = False
    ) -> Answer:
        """Labels and scores for image files; with `concept` the concept scores, where a companion is served."""
        return self._found(target, lambda at: self._classifier.classify(at, images, signature, concept))

    def classify_with_rules(
        self, target: Target, images: Sequence[bytes], signature: str = SIGNATURE
    ) -> ClassificationRun:
        """Classify with the rules, which may send some of the images to other models."""
        return cascade.classify(
            lambda at, some: self.classify(at, some, signature, concept=True), self._rules, target, images
        )

    def explain(self, image: bytes, pixels: Pixels, image_signature: ImageSignature) -> dict[str, Any]:
        """Return what a model received as its input for an image, and why."""
        request_context.check()
        return explain(image, pixels, image_signature, self._max_pixels)

    def keep(self, target: Target, image: bytes, label: str) -> tuple[Answer, Kept]:
        """Store an image under its right label; return also the model's answer."""
        answer = self.classify(target, [image])
        answered = self.metadata_cache.get(Target(target.model, answer.version))
        check_label(label, answered.labels(len(answer.ranking)), target.model)
        decoded = decode(image, self._max_pixels)
        predicted = answer.ranking[0][0]
        return answer, self.feedback.keep(decoded, target.model, answer.version, predicted, label)

    def corrections(self, model: str) -> dict[str, Any]:
        """How many samples are kept of the model, and how many of them since its default version was made."""
        self.feedback.folder()
        metadata = self.metadata(Target(model))
        samples, since = self.feedback.count(model, metadata.card.created_at if metadata.card else 0.0)
        return {"model": model, "version": metadata.version, "samples": samples, "since_version": since}

    def predict(
        self,
        target: Target,
        signature: str,
        inputs: Callable[[Infos], dict[str, Array]],
        outputs: Sequence[str] = (),
    ) -> Prediction:
        """Run a signature on the arrays that `inputs` makes for its input tensors.

        `outputs`: the names of those to return; all if empty.
        """

        def call(metadata: ModelMetadata, exact: Target) -> Prediction:
            definition = metadata.signature(signature)
            _check_outputs(outputs, definition.outputs)
            given = inputs(definition.inputs)
            few = all(array.ndim and len(array) <= _FEW_ROWS for array in given.values())
            return self.server.predict(
                exact.model,
                given,
                version=exact.version,
                label=exact.label,
                signature=signature,
                outputs=outputs,
                batch=few,
            )

        return self._found(target, lambda at: self.metadata_cache.use(at, call))

    def metadata(self, target: Target) -> ModelMetadata:
        """Read a model's metadata as it is now."""
        return self._found(target, self.metadata_cache.read)

    def direct_route(self, model: str, version: int) -> DirectRoute:
        """Return where a client may call a served version directly, and the token for it."""
        assert self._direct, "the path is there only with a key"
        return self._direct.route(model, version)

    def models(self) -> dict[str, Any]:
        """Every model with its versions and their states."""
        return {**self.catalogue.models(), "rules": self._rules.document()}

    def model(self, name: str) -> dict[str, Any]:
        """One model in full."""
        return self.catalogue.describe(name, self.metadata(Target(name)))

    def check(self) -> None:
        """Raise an ApiError unless the model server answers, whatever it serves."""
        self.catalogue.check()

    def call(
        self,
        target: Target,
        path: str,
        request: Callable[[Target], Message],
        answer: type[Reply],
        *,
        of_all: bool = False,
    ) -> Reply:
        """Make any gRPC call about `target`, by its path; `request` makes the message for the resolved target.

        `of_all`: a target without version and label means all versions, not the default one.
        """

        def call(at: Target) -> Reply:
            try:
                return self.server.call(path, request(at), answer, at.model, at.version)
            except BadRequestError:
                if at.label is not None:
                    self.metadata_cache.read(at)  # raises NotFoundError if it is the label that is at fault
                raise

        return self._found(target, call, of_all)

    def _found(self, target: Target, call: Callable[[Target], Result], of_all: bool = False) -> Result:
        """What `call` returns for `target`, or for its default version where it names none.

        A model server that has just started may not know a model yet: if the watcher lists it, the call waits. For a
        model that is not served, the error names those that are.
        """
        if not MODEL_NAME.fullmatch(target.model):
            raise NotFoundError(
                f"{target.model[:80]!r} cannot be a model: names are lower-case letters, digits, '.', '_' and '-'."
            )
        waited = False
        while True:
            try:
                at = target if of_all else self.catalogue.resolve(target)
                try:
                    found = call(at)
                except NotFoundError:
                    if at is target or at.version is not None:
                        raise
                    found = call(self.catalogue.numbered(at))  # the server does not know the label, or not any more
            except NotFoundError as error:
                if _is_over(request_context.current().deadline) or not self.catalogue.may_be_loading(target):
                    raise self.catalogue.missing(target) from error
            else:
                if waited:
                    self.catalogue.mark_found(target)
                return found
            waited = True
            time.sleep(_LOAD_INTERVAL_S)


def _is_over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() > deadline


def _check_outputs(wanted: Sequence[str], outputs: Infos) -> None:
    for name in wanted:
        if name not in outputs:
            known = ", ".join(sorted(outputs))
            raise BadRequestError(f"The signature has no output {name[:80]!r}; its outputs are {known}.")


def _limits(settings: Settings) -> Limits:
    return Limits(
        settings.grace_seconds,
        settings.concurrency,
        settings.max_message_bytes,
        settings.batch_rows,
        settings.batch_calls,
        settings.repeat_lock,
    )
