"""Classify: many images, zips, refusals one by one, what the model saw; and models known by their signature alone."""

import base64
import io
import zipfile
from typing import Any

import numpy as np
import pytest
from api_kit import client_of, files
from gateway_kit import check_error, image_file
from PIL import Image
from toy_model_server import CARD, Model, ModelServer, signature

from tensor_rest.backend.protos import serving_pb2 as pb

TWO, FIVE = image_file(60), image_file(130)
CLASSIFY = "/tf/models/mnist-net/classify"


def best(answer: Any) -> list[str]:
    return [result["labels"][0]["label"] for result in answer.json["results"]]


# ---- one and many


def test_an_image_gets_its_labels_and_the_models_name(api: Any) -> None:
    answer = api.post(CLASSIFY, data=files(("a.png", TWO)))
    assert answer.json == {
        "model": "mnist-net",
        "version": 1,
        "signature": "serving_default",
        "results": [
            {
                "name": "a.png",
                "labels": [
                    {"label": "2", "score": 0.91},
                    {"label": "0", "score": 0.01},
                    {"label": "1", "score": 0.01},
                ],
            }
        ],
    }
    assert (answer.headers["X-Model-Name"], answer.headers["X-Model-Version"]) == ("mnist-net", "1")


@pytest.mark.parametrize("kind", ["image/png", "image/x-anything", "application/octet-stream"])
def test_an_image_may_be_the_whole_body(api: Any, kind: str) -> None:
    assert best(api.post(CLASSIFY, data=FIVE, content_type=kind)) == ["5"]


def test_many_images_are_answered_in_their_order_by_one_call(api: Any, serves: ModelServer) -> None:
    api.post(CLASSIFY, data=files(("first.png", TWO)))
    serves.calls.clear()
    levels = [10, 30, 60, 85, 110, 130, 155, 180, 205, 230] * 2
    answer = api.post(f"{CLASSIFY}?limit=1", data=files(*((f"{n}.png", image_file(n)) for n in levels[:5])))
    assert best(answer) == ["0", "1", "2", "3", "4"]
    assert [result["name"] for result in answer.json["results"]] == [f"{n}.png" for n in levels[:5]]
    assert serves.calls == ["Predict"]


def test_more_images_than_a_call_takes_go_in_parts_and_come_back_in_order(api: Any, serves: ModelServer) -> None:
    levels = [10, 30, 60, 85, 110] * 16
    sent = [(f"{n}.png", image_file(level)) for n, level in enumerate(levels)]
    sent[3] = sent[40] = ("broken.png", b"rubbish")
    sizes = []
    serves.on_images = lambda images: sizes.append(len(images))
    results = api.post(f"{CLASSIFY}?limit=1", data=files(*sent)).json["results"]
    wanted: list[str | None] = [str(n % 5) for n in range(80)]
    wanted[3] = wanted[40] = None
    assert [result.get("labels", [{}])[0].get("label") for result in results] == wanted
    assert sorted(sizes) == [7, 8, 31, 32]


def test_parts_of_rows_that_are_no_batch_go_as_one_call(api: Any, serves: ModelServer) -> None:
    odd = signature({"images": (pb.DT_UINT8, [-1, 28, 28, 1])}, {"scores": (pb.DT_FLOAT, [40, 10])})
    serves.models["odd-net"] = Model(card=None, signatures={"serving_default": odd})
    sizes = []
    serves.on_images = lambda images: sizes.append(len(images))
    answer = api.post("/tf/models/odd-net/classify", data=files(*(("a.png", TWO),) * 40))
    assert (len(answer.json["results"]), sizes) == (40, [40])


def test_a_zip_is_many_images(api: Any) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/two.png", TWO)
        archive.writestr("five.png", FIVE)
    answer = api.post(CLASSIFY, data=files(("all.zip", file.getvalue())))
    assert best(answer) == ["2", "5"]
    assert [result["name"] for result in answer.json["results"]] == ["a/two.png", "five.png"]


def test_an_image_that_cannot_be_read_fails_alone(api: Any) -> None:
    answer = api.post(CLASSIFY, data=files(("a.png", TWO), ("b.png", b"rubbish"), ("c.png", FIVE)))
    assert answer.status_code == 200
    first, broken, last = answer.json["results"]
    assert (first["labels"][0]["label"], last["labels"][0]["label"]) == ("2", "5")
    assert set(broken) == {"name", "error"}
    assert "not an image" in broken["error"]


def test_if_none_can_be_read_the_first_one_s_error_is_the_answer(api: Any) -> None:
    check_error(api.post(CLASSIFY, data=files(("a.png", b"rubbish"), ("b.png", b""))), 415, "not an image")
    check_error(api.post(CLASSIFY, data=files(("b.png", b""), ("a.png", b"rubbish"))), 400, "empty")


def test_the_limit_is_the_most_and_more_than_all_are_all(api: Any) -> None:
    for limit, wanted in ((1, 1), (3, 3), (10, 10), (99, 10)):
        answer = api.post(f"{CLASSIFY}?limit={limit}", data=files(("a.png", TWO)))
        assert len(answer.json["results"][0]["labels"]) == wanted
    for wrong in ("0", "-1", "x"):
        check_error(api.post(f"{CLASSIFY}?limit={wrong}", data=files(("a.png", TWO))), 400, "limit")


def test_a_version_or_a_label_is_requested(api: Any, serves: ModelServer) -> None:
    serves.models["mnist-net"].versions = [1, 2]
    for path, version in (("", 2), ("/versions/1", 1), ("/labels/stable", 1)):
        answer = api.post(f"/tf/models/mnist-net{path}/classify", data=files(("a.png", TWO)))
        assert answer.json["version"] == version
    check_error(
        api.post("/tf/models/mnist-net/versions/9/classify", data=files(("a.png", TWO))), 404, "version 9", "1, 2"
    )


def test_a_label_that_moves_is_followed(api: Any, serves: ModelServer) -> None:
    model = serves.models["mnist-net"]
    assert best(api.post("/tf/models/mnist-net/labels/stable/classify", data=files(("a.png", TWO)))) == ["2"]
    model.versions, model.labels, model.card = [1, 2], {"stable": 2}, {**CARD, "labels": list("ABCDEFGHIJ")}
    answer = api.post("/tf/models/mnist-net/labels/stable/classify", data=files(("a.png", TWO)))
    assert (best(answer), answer.json["version"]) == (["C"], 2)


def test_an_image_by_its_address_is_refused_unless_allowed(api: Any) -> None:
    check_error(api.post(CLASSIFY, json={"url": "http://127.0.0.1/a.png"}), 403, "switched off")
    for wrong in ({}, {"url": 5}, {"url": "http://a", "more": 1}, []):
        check_error(api.post(CLASSIFY, json=wrong), 400)


def test_words_that_mean_nothing_are_refused(api: Any) -> None:
    check_error(api.post(f"{CLASSIFY}?explain=maybe", data=files(("a.png", TWO))), 400, "explain='maybe'")
    check_error(api.post(f"{CLASSIFY}?signature=nope", data=files(("a.png", TWO))), 400, "'nope'", "serving_default")
    check_error(api.post(f"{CLASSIFY}?signature=describe", data=files(("a.png", TWO))), 409, "describe needs one image")
    check_error(api.post(CLASSIFY, data={"other": "x"}), 400, "no file")


# ---- what the model saw


def seen(answer: Any) -> np.ndarray:
    head, data = answer.json["results"][0]["explain"]["saw"].split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_explain_shows_what_serving_got(api: Any, serves: ModelServer) -> None:
    got = []
    serves.on_images = got.append
    light = image_file(190, (60, 50))
    answer = api.post(f"{CLASSIFY}?explain=1", data=files(("a.png", light)))
    assert np.array_equal(seen(answer), got[0][0, ..., 0])
    explained = answer.json["results"][0]["explain"]
    assert {k: v for k, v in explained["polarity"].items() if k != "why"} == {
        "image": "dark-on-light",
        "model": "light-on-dark",
        "inverted": True,
    }
    assert "border of the image is light" in explained["polarity"]["why"]
    assert explained["size"]["image"] == {"width": 60, "height": 50}
    assert explained["size"]["model"] == {"width": 28, "height": 28, "channels": 1}
    assert "scaled" in explained["size"]["how"]
    assert explained["levels"] == "uint8, 0 to 255"
    assert answer.json["model_ms"] > 0
    assert answer.json["queue_ms"] >= 0
    assert "explain" not in api.post(CLASSIFY, data=files(("a.png", light))).json["results"][0]


def test_a_model_without_a_card_reports_what_was_assumed(api: Any, serves: ModelServer) -> None:
    floats = signature({"keras_tensor": (pb.DT_FLOAT, [-1, 8, 6, 3])}, {"output_0": (pb.DT_FLOAT, [-1, 2])})
    serves.models["keras-net"] = Model(
        card=None,
        signatures={"serving_default": floats},
        compute=lambda given: {"output_0": np.stack([g.mean(axis=(0, 1))[:2] for g in given["keras_tensor"]])},
    )
    file = io.BytesIO()
    Image.new("RGB", (60, 80), (51, 204, 0)).save(file, "PNG")
    answer = api.post("/tf/models/keras-net/classify?explain=1", data=files(("a.png", file.getvalue())))
    result = answer.json["results"][0]
    assert result["labels"] == [{"label": "1", "score": 0.8}, {"label": "0", "score": 0.2}]
    explained = result["explain"]
    assert "divided by 255" in explained["levels"]
    assert explained["polarity"]["inverted"] is False
    assert "taken as it is" in explained["polarity"]["why"]
    assert seen(answer).shape == (8, 6, 3)


def test_an_open_size_is_the_cards_or_an_error(api: Any, serves: ModelServer) -> None:
    open_size = signature({"images": (pb.DT_UINT8, [-1, -1, -1, -1])}, {"scores": (pb.DT_FLOAT, [-1, 10])})
    describe = signature({"index": (pb.DT_INT32, [-1])}, {"card": (pb.DT_STRING, [-1])})
    serves.models["open-net"] = Model(card=None, signatures={"serving_default": open_size})
    check_error(
        api.post("/tf/models/open-net/classify", data=files(("a.png", TWO))), 409, "unknown size", "card", "predict"
    )
    serves.models["open-net"] = Model(
        versions=[2],
        card={**CARD, "input": {"height": 14, "width": 12, "channels": 3}},
        signatures={"serving_default": open_size, "describe": describe},
    )
    shapes = []
    serves.on_images = lambda images: shapes.append(images.shape)
    assert best(api.post("/tf/models/open-net/classify", data=files(("a.png", TWO)))) == ["2"]
    assert shapes == [(1, 14, 12, 3)]


def test_the_tutorial_s_route_points_here_where_labels_are_no_digits(api: Any, serves: ModelServer) -> None:
    serves.models["letters-net"] = Model(card={**CARD, "labels": list("ABCDEFGHIJ")})
    check_error(api.post("/tf/mnist/letters-net", data=files(("a.png", TWO))), 409, "/tf/models/letters-net/classify")
    assert best(api.post("/tf/models/letters-net/classify", data=files(("a.png", TWO)))) == ["C"]


def test_scores_that_are_no_numbers_are_serving_s_fault(api: Any, serves: ModelServer) -> None:
    images = signature({"images": (pb.DT_UINT8, [-1, 28, 28, 1])}, {"scores": (pb.DT_FLOAT, [-1, 10])})
    serves.models["nan-net"] = Model(
        card=None,
        signatures={"serving_default": images},
        compute=lambda given: {"scores": np.full((len(given["images"]), 10), np.nan, np.float32)},
    )
    check_error(api.post("/tf/models/nan-net/classify", data=files(("a.png", TWO))), 502, "finite scores")


def test_a_bound_on_pixels_holds_for_every_image_of_many(serves: ModelServer, tmp_path: Any) -> None:
    small = client_of(serves, tmp_path, max_pixels=1000)
    answer = small.post(CLASSIFY, data=files(("a.png", TWO), ("b.png", image_file(60, (100, 100)))))
    assert "100 x 100" in answer.json["results"][1]["error"]


def test_a_signature_of_one_image_gets_one_after_the_other(api: Any, serves: ModelServer) -> None:
    single = signature({"images": (pb.DT_UINT8, [1, 28, 28, 1])}, {"scores": (pb.DT_FLOAT, [1, 10])})
    serves.models["single-net"] = Model(card=None, signatures={"serving_default": single})
    shapes = []
    serves.on_images = lambda images: shapes.append(images.shape)
    answer = api.post("/tf/models/single-net/classify", data=files(("a", TWO), ("b", b"x"), ("c", FIVE)))
    assert [result.get("labels", [{}])[0].get("label") for result in answer.json["results"]] == ["2", None, "5"]
    assert shapes == [(1, 28, 28, 1)] * 2
    four = signature({"images": (pb.DT_UINT8, [4, 28, 28, 1])}, {"scores": (pb.DT_FLOAT, [4, 10])})
    serves.models["four-net"] = Model(card=None, signatures={"serving_default": four})
    check_error(api.post("/tf/models/four-net/classify", data=files(("a", TWO))), 409, "exactly 4 images")


def test_many_large_images_are_refused_before_they_are_decoded(api: Any, serves: ModelServer) -> None:
    large = signature({"images": (pb.DT_FLOAT, [-1, 1024, 1024, 3])}, {"scores": (pb.DT_FLOAT, [-1, 10])})
    serves.models["large-net"] = Model(card=None, signatures={"serving_default": large})
    answer = api.post("/tf/models/large-net/classify", data=files(*(("a", b"rubbish"),) * 6))
    check_error(answer, 413, "6 images", "1024 x 1024", "at most 5")
