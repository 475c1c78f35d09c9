"""The running lab is called from its workbench: a stream of images, an evaluation, and what people corrected."""

import json
from typing import Any

from tests.running import SAMPLES, Lab

MODEL = "mnist-net"

# Runs where the workbench runs, as a person types it.
CLASSIFY = """folder=$(mktemp -d) && trap 'rm -r "$folder"' EXIT
python -m tensor_jupyter samples --out "$folder" --n 20
ls "$folder"/*.jpg | python -m tensor_jupyter predict - --json"""


def workbench(lab: Lab, *words: str) -> str:
    return lab.compose("exec", "tensor-jupyter", "python", "-m", "tensor_jupyter", *words)


def last_document(text: str) -> Any:
    """The JSON document at the end of what was printed on both streams."""
    return json.loads(text[text.index("\n{\n") if not text.startswith("{") else 0 :])


def test_images_are_classified_as_a_stream(lab: Lab) -> None:
    output = lab.compose("exec", "tensor-jupyter", "sh", "-c", CLASSIFY).splitlines()
    assert output[0].startswith("20 digits written")
    documents = [json.loads(line) for line in output[1:]]
    names = [one["file"].rpartition("/")[2] for one in documents]
    assert names == sorted(names)
    assert len(names) == 20
    right = [one["labels"][0]["label"] == name.split("_")[1] for one, name in zip(documents, names, strict=True)]
    assert sum(right) >= 18
    assert {one["model"] for one in documents} == {MODEL}
    assert all(one["version"] >= 1 for one in documents)  # other tests may have published some


def test_an_evaluation_counts_what_is_misread_and_what_failed(lab: Lab) -> None:
    documents = last_document(workbench(lab, "evaluate", MODEL, "--n", "100", "--max-error", "0.1", "--json"))
    assert (documents["answered"], documents["failed"], documents["passed"]) == (100, 0, True)
    assert documents["error_rate"] <= 0.1
    assert lab.compose("exec", "tensor-jupyter", "test", "-s", documents["plot"]) == ""


def test_feedback_given_at_the_gateway_can_be_learned_from(lab: Lab) -> None:
    samples = [sample for sample in SAMPLES if sample.name.split("_")[1] in "27"]
    for sample in samples:
        path = f"/tf/models/{MODEL}/feedback?label={sample.name.split('_')[1]}"
        assert lab.post_image(path, sample).status in (200, 201)  # known already, or new
    listed = {one["name"]: one for one in json.loads(workbench(lab, "data", "list", "--json"))}
    assert f"{len(samples)} images" in listed[f"feedback:{MODEL}"]["about"]

    documents = last_document(workbench(lab, "data", "show", f"feedback:{MODEL}", "--json"))
    counts = {label: sum(parts.values()) for label, parts in documents["classes"].items()}
    assert counts == {digit: sum(f"mnist_{digit}_" in sample.name for sample in samples) for digit in "27"}
    assert documents["image"]["height"] == 28
    assert documents["unreadable"] == 0
