"""Toy models of every kind the page can try, for the tests of it."""

import numpy as np
from api_kit import half_plus_two
from toy_model_server import CARD, Model, signature

from tensor_rest.backend.protos import serving_pb2 as pb

Arrays = dict[str, np.ndarray]

ANIMALS = [f"animal {number}" for number in range(20)]
LEVELS = {**CARD, "input": {**CARD["input"], "centering": "none"}}
"""Of a model that looks at the image as it is: one even level is an answer, not a blank sheet."""


def every_kind() -> dict[str, Model]:
    """The models by name, with `_` for `-`."""
    return {
        # two versions, the newest of them the default
        "mnist_net": Model(card=LEVELS, versions=[1, 2], labels={"stable": 2, "candidate": 1}),
        # the default version has names of its own for the same ten classes
        "letters_net": Model(card={**LEVELS, "labels": [*"abcdefghij"]}, versions=[1, 2], cards={1: LEVELS}),
        "glyph_net": Model(card={**CARD, "input": {**CARD["input"], "centering": "mnist"}}),
        "animal_net": Model(card={**LEVELS, "labels": ANIMALS}, classes=len(ANIMALS)),
        "unsure_net": Model(card=LEVELS),  # by its rule never sure enough
        "float_net": _float_images(),
        "logits_net": _scores([2.02, -1.5, 0.5]),
        "named_logits_net": _scores([2.02, -1.5, 0.5], scores="logits"),
        "doubt_net": _scores([0.42, 0.31, 0.27], labels=["cat", "dog", "bird"]),
        "level_net": _one_number(),
        "half_net": half_plus_two(),
        "text_net": _text(),
        "mood_net": _mood([0.03, 0.97]),
        "tone_net": _mood([0.0, 1.0], scores="logits"),
        "broken_net": _text(fails=True),
        "known_net": Model(card={**LEVELS, "run": "7e4c8800"}),
        "known_net_concept": _concept(),
    }


def _float_images() -> Model:
    """Answers the tenth of 0..1 that the mean of the image is in."""
    tensors = signature({"pixels": (pb.DT_FLOAT, [-1, 28, 28, 1])}, {"probs": (pb.DT_FLOAT, [-1, 10])})

    def compute(given: Arrays) -> Arrays:
        tenths = (given["pixels"].reshape(len(given["pixels"]), -1).mean(axis=1) * 9.99).astype(int)
        return {"probs": np.where(np.arange(10) == tenths[:, None], 0.91, 0.01).astype(np.float32)}

    return Model(card=None, signatures={"serving_default": tensors}, compute=compute)


def _scores(row: list[float], **card: object) -> Model:
    """Answers the same scores for every image."""
    tensors = signature({"images": (pb.DT_FLOAT, [-1, 8, 8, 1])}, {"scores": (pb.DT_FLOAT, [-1, len(row)])})
    signatures = {"serving_default": tensors}
    if card:
        signatures["describe"] = signature({"index": (pb.DT_INT32, [-1])}, {"card": (pb.DT_STRING, [-1])})

    def compute(given: Arrays) -> Arrays:
        return {"scores": np.tile(np.float32(row), (len(given["images"]), 1))}

    return Model(card=card or None, signatures=signatures, compute=compute)


def _concept() -> Model:
    """A concept model that finds images lighter than the level 100 foreign."""
    signatures = {
        "serving_default": signature({"images": (pb.DT_UINT8, [-1, 28, 28, 1])}, {"score": (pb.DT_FLOAT, [-1])}),
        "describe": signature({"index": (pb.DT_INT32, [-1])}, {"card": (pb.DT_STRING, [-1])}),
    }

    def compute(given: Arrays) -> Arrays:
        levels = given["images"].reshape(len(given["images"]), -1).mean(axis=1)
        return {"score": (levels / 255).astype(np.float32)}

    return Model(card={"threshold": 100 / 255}, signatures=signatures, compute=compute)


def _one_number() -> Model:
    """The mean of an image, which is not a row of scores."""
    tensors = signature({"images": (pb.DT_UINT8, [-1, 4, 4, 1])}, {"level": (pb.DT_FLOAT, [-1])})

    def compute(given: Arrays) -> Arrays:
        return {"level": given["images"].reshape(len(given["images"]), -1).mean(axis=1).astype(np.float32)}

    return Model(card=None, signatures={"serving_default": tensors}, compute=compute)


def _text(fails: bool = False) -> Model:
    """The text in capitals, and a table of its first letters' codes."""
    tensors = signature(
        {"text": (pb.DT_STRING, [-1])}, {"upper": (pb.DT_STRING, [-1]), "codes": (pb.DT_INT64, [-1, 3])}
    )
    twice = signature({"text": (pb.DT_STRING, [-1])}, {"twice": (pb.DT_STRING, [-1])})

    def compute(given: Arrays) -> Arrays:
        if fails:
            raise RuntimeError("the table is not initialized")
        texts = [bytes(item) for item in given["text"].ravel()]
        codes = np.array([list(text.ljust(3)[:3]) for text in texts], np.int64)
        return {"upper": np.array([text.upper() for text in texts], object), "codes": codes}

    return Model(card=None, signatures={"serving_default": tensors, "twice": twice}, compute=compute)


def _mood(glad: list[float], **card: object) -> Model:
    """A classifier of texts with labels; `glad` are its scores for a text with the word good."""
    signatures = {
        "serving_default": signature({"text": (pb.DT_STRING, [-1, 1])}, {"scores": (pb.DT_FLOAT, [-1, 2])}),
        "describe": signature({"index": (pb.DT_INT32, [-1])}, {"card": (pb.DT_STRING, [-1])}),
    }

    def compute(given: Arrays) -> Arrays:
        is_glad = b"good" in bytes(given["text"].ravel()[0])
        return {"scores": np.float32([glad if is_glad else [0.8, 0.2]])}

    return Model(card={"labels": ["sad", "glad"], **card}, signatures=signatures, compute=compute)
