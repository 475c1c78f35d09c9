"""What a served model takes and answers: its metadata, read once per version, from its signatures and its card."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from tensor_rest.backend import ModelServer
from tensor_rest.backend.protos.serving_pb2 import SignatureDef
from tensor_rest.backend.tensors import type_name
from tensor_rest.errors import ApiError, BadGatewayError, BadRequestError, ConflictError, NotFoundError
from tensor_rest.inference import image_signature, model_card
from tensor_rest.inference.image_signature import ImageSignature
from tensor_rest.inference.model_card import Card

SIGNATURE = "serving_default"
_KEPT = 512  # entries in one process; a version beyond them costs one more call


class Target(NamedTuple):
    """Which version of a model: that `version`, the one under `label`, or, with neither, the default one.

    The gateway resolves the default before it calls; for the model server neither means the newest.
    """

    model: str
    version: int | None = None
    label: str | None = None

    def __str__(self) -> str:
        which = f" version {self.version}" if self.version is not None else f" label {self.label!r}"
        return f"Model {self.model!r}" + (which if self[1:] != (None, None) else "")


@dataclass(frozen=True)
class ModelMetadata:
    """One version of a model: its signatures, and its card or None; `card_problem`: why a card is not used."""

    model: str
    version: int
    signatures: dict[str, SignatureDef]
    card: Card | None
    card_problem: str = ""
    _image_signatures: dict[str, ImageSignature] = field(default_factory=dict, compare=False, repr=False)

    def signature(self, name: str = SIGNATURE) -> SignatureDef:
        """Return one signature. Raises a BadRequestError that names the existing ones."""
        found = self.signatures.get(name)
        if found is None:
            raise BadRequestError(
                f"Model {self.model!r} version {self.version} has no signature {name[:80]!r}; "
                f"it has {', '.join(self.public()) or 'none'}."
            )
        return found

    def public(self) -> list[str]:
        """The names of the signatures, the default first, without TensorFlow's own such as __saved_model_init_op."""
        names = [name for name in self.signatures if not name.startswith("__")]
        return sorted(names, key=lambda name: (name != SIGNATURE, name))

    def image_signature(self, name: str = SIGNATURE) -> ImageSignature:
        """Return how a signature takes images.

        Raises ConflictError if it does not take images, BadRequestError if the model has no such signature.
        """
        found = self._image_signatures.get(name)
        if found is None:
            signature = SignatureDef() if name == SIGNATURE and name not in self.signatures else self.signature(name)
            found = self._image_signatures[name] = image_signature.find(self.model, name, signature, self.card)
        return found

    def labels(self, classes: int) -> list[str]:
        """The names of the `classes` scores, their indices without a card. BadGatewayError if the numbers differ."""
        if self.card is None or not self.card.labels:
            return [str(index) for index in range(classes)]
        if len(self.card.labels) != classes:
            raise BadGatewayError(f"Model {self.model!r} answered {classes} scores for {len(self.card.labels)} labels.")
        return self.card.labels

    def image_signatures(self) -> list[str]:
        """The names of the signatures that classify images."""
        return [name for name in self.public() if self.classifies(name)]

    def classifies(self, name: str = SIGNATURE) -> bool:
        """Whether a signature classifies images."""
        try:
            self.image_signature(name)
        except ConflictError:
            return False
        return True

    def document(self) -> dict[str, Any]:
        """The metadata as JSON: signatures with names, types and shapes (-1 for any size), and the card."""
        return {
            "version": self.version,
            "signatures": {
                name: {"inputs": _tensors(s.inputs), "outputs": _tensors(s.outputs), "method": s.method_name}
                for name, s in ((name, self.signatures[name]) for name in sorted(self.public()))
            },
            "image_signatures": self.image_signatures(),
            "card": self.card.model_dump(mode="json", exclude_unset=True) if self.card else None,
            "card_problem": self.card_problem,
        }


class _Versioned(Protocol):
    @property
    def version(self) -> int: ...


Answer = TypeVar("Answer", bound=_Versioned)


class MetadataCache:
    """The metadata cache of a process, by target. Every answer names its version, so a change is noticed."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._kept: OrderedDict[Target, ModelMetadata] = OrderedDict()
        self._lock = threading.Lock()

    def models(self) -> set[str]:
        """The models requested so far that are served."""
        with self._lock:
            return {target.model for target in self._kept}

    def get(self, target: Target) -> ModelMetadata:
        """Return the cached metadata, or read it."""
        return self._kept.get(target) or self.read(target)

    def read(self, target: Target) -> ModelMetadata:
        """The metadata as it is now. Raises NotFoundError for an unknown target."""
        try:
            version, signatures = self._server.signatures(target.model, target.version, target.label)
        except (NotFoundError, BadRequestError) as error:
            self._forget(target)
            if target.label is None:
                raise
            raise NotFoundError(str(error)) from error  # TensorFlow Serving answers an unknown label with 400
        for known in (self._kept.get(target), self._kept.get(Target(target.model, version))):
            if known is not None and (known.version, known.signatures) == (version, signatures):
                break
        else:
            card, problem = model_card.find(self._server, target.model, version, signatures)
            known = ModelMetadata(target.model, version, signatures, card, problem)
        independent = known.card is not None and known.card.independent_rows
        self._server.declare_independent(target.model, version, independent)
        self._keep(target, known)
        return known

    def use(self, target: Target, call: Callable[[ModelMetadata, Target], Answer]) -> Answer:
        """Run `call` with the cached metadata; if another version answers, read its metadata and run `call` again.

        `call` gets the target to call. It may raise ApiError: 400, 404 and 409 can mean that the target now is another
        version, with another signature.
        """
        kept = self._kept.get(target)
        if kept is None:
            kept = self.read(target)
        try:
            answer = call(kept, target)
            if answer.version == kept.version:
                return answer
        except ApiError as error:
            if error.status not in (400, 404, 409) or (fresh := self.read(target)) is kept:
                raise
        else:
            fresh = self.read(target)
        return call(fresh, Target(target.model, fresh.version))

    def _forget(self, target: Target) -> None:
        """Forget a target that is not served; for a whole model all its versions, whose numbers may be used again."""
        with self._lock:
            gone = [target] if target[1:] != (None, None) else [key for key in self._kept if key.model == target.model]
            for key in gone:
                self._kept.pop(key, None)

    def _keep(self, target: Target, metadata: ModelMetadata) -> None:
        with self._lock:
            for key in {target, Target(target.model, metadata.version)}:
                self._kept[key] = metadata
                self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


def _tensors(infos: Any) -> dict[str, Any]:
    return {
        alias: {
            "dtype": type_name(info.dtype),
            "shape": None if info.tensor_shape.unknown_rank else [dim.size for dim in info.tensor_shape.dim],
        }
        for alias, info in sorted(infos.items())
    }
