"""What a model takes and answers by its card: range, logits, one number, nothing drawn, 16 bits."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from api_kit import files
from gateway_kit import check_error, image_file
from PIL import Image
from toy_model_server import CARD, Model, ModelServer, signature

from tensor_rest.backend.protos import serving_pb2 as pb

CLASSIFY = "/tf/models/mnist-net/classify"


def seen(answer: Any) -> np.ndarray:
    head, data = answer.json["results"][0]["explain"]["saw"].split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def classified(
    api: Any, serves: ModelServer, card: dict[str, Any] | None, output: str, compute: Any, classes: int = 2
) -> Any:
    """The answer of a model that takes float32 [N,4,4,3] for an image of one colour."""
    takes = signature({"images": (pb.DT_FLOAT, [-1, 4, 4, 3])}, {output: (pb.DT_FLOAT, [-1, classes])})
    describe = signature({"index": (pb.DT_INT32, [-1])}, {"card": (pb.DT_STRING, [-1])})
    signatures = {"serving_default": takes} | ({"describe": describe} if card else {})
    serves.models["any-net"] = Model(card=card, signatures=signatures, compute=compute)
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (51, 204, 0)).save(file, "PNG")
    return api.post("/tf/models/any-net/classify?explain=1", data=files(("a.png", file.getvalue())))


@pytest.mark.parametrize(
    ("levels", "expected"), [("0..255", (51, 204)), ("0..1", (0.2, 0.8)), ("-1..1", (-0.6, 0.6)), (None, (0.2, 0.8))]
)
def test_the_card_s_range_is_what_the_model_gets(
    api: Any, serves: ModelServer, levels: str | None, expected: tuple[float, float]
) -> None:
    got = []

    def compute(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        got.append(given["images"])
        return {"scores": np.array([[0.1, 0.9]], np.float32)}

    card = {"labels": ["a", "b"], "input": {"range": levels} if levels else {}}
    answer = classified(api, serves, card, "scores", compute)
    assert got[0][0, 0, 0, :2] == pytest.approx(expected, abs=1e-6)
    assert answer.json["results"][0]["explain"]["levels"].startswith("float32")


@pytest.mark.parametrize(
    ("card", "output", "best"),
    [
        (None, "logits", 0.880797),
        ({"labels": ["a", "b"], "scores": "logits"}, "scores", 0.880797),
        ({"labels": ["a", "b"], "scores": "probabilities"}, "logits", 3),
        (None, "output_0", 3),
    ],
)
def test_logits_become_probabilities_and_other_scores_stay(
    api: Any, serves: ModelServer, card: dict[str, Any] | None, output: str, best: float
) -> None:
    answer = classified(api, serves, card, output, lambda _: {output: np.array([[1, 3]], np.float32)})
    assert answer.json["results"][0]["labels"][0]["score"] == pytest.approx(best)


def test_a_model_that_answers_one_number_classifies_nothing(api: Any, serves: ModelServer) -> None:
    for card in (None, {"labels": ["cat", "dog"]}):
        answer = classified(api, serves, card, "output_0", lambda _: {"output_0": np.ones((1, 1), np.float32)}, 1)
        check_error(answer, 409, "one number", "predict")
        serves.models.clear()


def test_a_model_whose_scores_are_texts_classifies_nothing(api: Any, serves: ModelServer) -> None:
    texts = np.array([[b"cat", b"dog"]], object)
    answer = classified(api, serves, None, "scores", lambda _: {"scores": texts})
    check_error(answer, 502, "finite scores")  # its signature has float32
    serves.models["text-net"] = serves.models.pop("any-net")
    signatures = serves.models["text-net"].signatures or {}
    signatures["serving_default"].outputs["scores"].dtype = pb.DT_STRING
    answer = api.post("/tf/models/text-net/classify", data=files(("a.png", image_file(60, mode="RGB"))))
    check_error(answer, 409, "answers scores of type string")


def test_an_image_on_which_nothing_is_drawn_fails_alone(api: Any, serves: ModelServer) -> None:
    serves.models["glyph-net"] = Model(card={**CARD, "input": {**CARD["input"], "centering": "mnist"}})
    drawing = Image.new("L", (60, 60), 255)
    drawing.paste(0, (20, 10, 26, 50))
    file = io.BytesIO()
    drawing.save(file, "PNG")
    blank = image_file(255, (60, 60))
    path = "/tf/models/glyph-net/classify"
    results = api.post(path, data=files(("a.png", blank), ("b.png", file.getvalue()))).json["results"]
    assert "Nothing is drawn" in results[0]["error"]
    assert results[1]["labels"]
    check_error(api.post(path, data=files(("a.png", blank))), 400, "Nothing is drawn")


def test_a_16_bit_image_reports_how_many_bits_are_read(api: Any) -> None:
    levels = np.full((28, 28), 100, np.uint16)
    levels[5:20, 10:14] = 4000
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    answer = api.post(f"{CLASSIFY}?explain=1", data=files(("a.png", file.getvalue())))
    assert "read as 12" in answer.json["results"][0]["explain"]["levels"]
    assert seen(answer).max() == 250
