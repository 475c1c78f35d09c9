"""The sample digits as requests for each kind of contestant, and the check of the answers."""

import base64
import http.client
import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rig import SAMPLES

_TIMEOUT_S = 30.0
_TOLERANCE = 1e-3  # of a probability; some round
_BOUNDARY = "------------------------d74496d66958873e"

Scores = dict[int, float]


class WrongAnswerError(Exception):
    """An answer is not what TensorFlow answers."""


@dataclass(frozen=True)
class Asking:
    """The bytes of requests, the numbers of the samples in each, and how to read the scores from an answer."""

    requests: list[bytes]
    samples: list[list[int]]
    read: Callable[[Any], list[Scores]]

    def write(self, file: Path) -> Path:
        """Write the requests as requests.lua reads them."""
        file.write_bytes(b"".join(b"%d\n" % len(request) + request for request in self.requests))
        return file


class Digits:
    """The sample images with TensorFlow's scores; `truth` is the file that reference.py wrote."""

    def __init__(self, truth: Path) -> None:
        data = np.load(truth)
        self._images, self._scores = data["images"], data["scores"]
        self._files = [file.read_bytes() for file in sorted(SAMPLES.glob("*.jpg"))]

    def form(self, path: str) -> Asking:
        """One image in each request, as curl sends a form; the answer of the tutorial's route, or a list of it."""
        requests = [_form(path, [file]) for file in self._files]
        return Asking(requests, self._each(), lambda body: [_best(body[0] if isinstance(body, list) else body)])

    def many(self, path: str) -> Asking:
        """All images in one request to the generic route."""
        return Asking([_form(path, self._files)], [list(range(len(self._files)))], lambda body: _labels(body))

    def inference(self, path: str) -> Asking:
        """One image in each request, in the Open Inference Protocol's JSON."""

        def body(file: bytes) -> Any:
            content = {"parameters": {"content_type": "base64"}, "data": [base64.b64encode(file).decode()]}
            return {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", **content}]}

        requests = [_json(path, body(file)) for file in self._files]
        return Asking(requests, self._each(), lambda answer: [dict(enumerate(answer["outputs"][0]["data"]))])

    def rows(self, path: str) -> Asking:
        """One image in each request, decoded: the rows of TensorFlow Serving's own REST."""
        requests = [_json(path, {"instances": [image.tolist()]}) for image in self._images]
        return Asking(requests, self._each(), lambda answer: [dict(enumerate(row)) for row in answer["predictions"]])

    def check(self, target: str, asking: Asking, numbers: Sequence[int]) -> None:
        """Send these of the requests, and compare the answers with the truth. Raises WrongAnswerError."""
        for number in numbers:
            answers = asking.read(_answer(target, asking.requests[number]))
            samples = asking.samples[number]
            if len(answers) != len(samples):
                raise WrongAnswerError(f"{len(answers)} answers for {len(samples)} images")
            for scores, sample in zip(answers, samples, strict=True):
                _compare(scores, self._scores[sample], sample)

    def _each(self) -> list[list[int]]:
        return [[number] for number in range(len(self._files))]


def _compare(scores: Scores, truth: Any, sample: int) -> None:
    near = all(abs(score - truth[digit]) <= _TOLERANCE for digit, score in scores.items())
    best = truth[max(scores, key=lambda digit: scores[digit])] >= truth.max() - _TOLERANCE
    if len(scores) < 3 or not near or not best:
        raise WrongAnswerError(f"sample {sample}: {scores}; TensorFlow's scores are {truth.tolist()}")


def _answer(target: str, request: bytes) -> Any:
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port)), _TIMEOUT_S) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = response.read()
    if response.status != http.client.OK:
        raise WrongAnswerError(f"status {response.status}: {body[:200]!r}")
    return json.loads(body)


def _form(path: str, files: Sequence[bytes]) -> bytes:
    parts = b"".join(
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{number}.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n".encode()
        + file
        + b"\r\n"
        for number, file in enumerate(files)
    )
    return _post(path, f"multipart/form-data; boundary={_BOUNDARY}", parts + f"--{_BOUNDARY}--\r\n".encode())


def _json(path: str, document: Any) -> bytes:
    return _post(path, "application/json", json.dumps(document, separators=(",", ":")).encode())


def _post(path: str, kind: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _best(answer: Any) -> Scores:
    return {int(item["digit"]): item["probability"] for item in answer["classification_result"]}


def _labels(answer: Any) -> list[Scores]:
    return [{int(item["label"]): item["score"] for item in result["labels"]} for result in answer["results"]]
