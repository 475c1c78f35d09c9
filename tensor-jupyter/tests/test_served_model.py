"""A served model in a notebook, against a gateway on loopback that answers in the real one's shapes."""

import http.server
import io
import json
import re
import threading

import numpy as np
import pytest

from tensor_jupyter import served_model
from tensor_jupyter.errors import LabError
from tensor_jupyter.served_model import ServedModel

TENSOR = {"dtype": "uint8", "shape": [-1, 2, 2, 1]}
SIGNATURES = {
    "describe": {"inputs": {"index": {"dtype": "int32", "shape": [-1]}}, "outputs": {"card": {"dtype": "string"}}},
    "serving_default": {"inputs": {"images": TENSOR}, "outputs": {"scores": {"dtype": "float", "shape": [-1, 2]}}},
}

DEFAULT = {"version": 3, "signatures": SIGNATURES, "card": {"labels": ["light", "dark"], "threshold": 0.5}}
METADATA = {
    "/tf/models/greys/metadata": DEFAULT,
    "/tf/models/greys/versions/3/metadata": DEFAULT,
    "/tf/models/greys/versions/2/metadata": {
        "version": 2,
        "signatures": {"serving_default": SIGNATURES["serving_default"]},
        "card": None,
    },
}


@pytest.fixture
def gateway(monkeypatch):
    """What the gateway received, (path, type, body); it serves version 3 of `greys` from the second look on."""
    received, looks = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            looks.append(self.path)
            versions = [{"version": number, "state": "AVAILABLE"} for number in ((2, 3) if len(looks) > 1 else (2,))]
            one = {"name": "greys", "versions": versions, "labels": {}, "quarantined": []}
            self.answer(200, {"models": [one]} if self.path == "/tf/models" else METADATA[self.path])

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Content-Type"], body))
            if "classify" in self.path:
                results = [{"labels": [{"label": "dark", "score": 0.75}]}] * body.count(b"PNG\r\n")
                self.answer(200, {"results": results})
            elif self.headers["Accept"] == "application/x-npz":
                with np.load(io.BytesIO(body)) as given:
                    buffer = io.BytesIO()
                    np.savez(buffer, doubled=2 * given["x"])
                self.answer(200, buffer.getvalue())
            elif "y" in json.loads(body)["inputs"]:
                self.answer(400, {"message": "There is no input 'y'.", "code": 400})
            else:
                self.answer(200, {"outputs": {"doubled": [2, 4]}})

        def answer(self, status, document):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(document if isinstance(document, bytes) else json.dumps(document).encode())

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("LAB_REST_URL", f"http://127.0.0.1:{server.server_port}")
    yield received
    server.shutdown()
    server.server_close()


def test_it_waits_for_its_version_and_shows_its_inputs(gateway):
    model = ServedModel("greys", version=3)
    assert model.version == 3
    assert repr(model).splitlines() == [
        "greys, version 3",
        "  serving_default: images uint8 [*, 2, 2, 1] -> scores float [*, 2]",
        "  describe: index int32 [*] -> card string of any shape",
        "  labels: light, dark",
    ]
    assert model.card["threshold"] == 0.5
    assert gateway == []


@pytest.mark.usefixtures("gateway")
def test_a_version_that_is_not_the_default_shows_its_own_metadata():
    model = ServedModel("greys", version=2)
    assert repr(model).splitlines() == [
        "greys, version 2",
        "  serving_default: images uint8 [*, 2, 2, 1] -> scores float [*, 2]",
    ]
    assert model.card == {}
    assert ServedModel("greys").card["labels"] == ["light", "dark"]


@pytest.mark.usefixtures("gateway")
def test_a_version_that_does_not_come_is_reported():
    with pytest.raises(LabError, match=r"After 0\.3 s the gateway still shows greys with these versions: 2, 3"):
        ServedModel("greys", version=4, wait=0.3)


def test_images_go_as_png_in_as_many_requests_as_needed(gateway, monkeypatch):
    monkeypatch.setattr(served_model, "MAX_IMAGES", 2)
    answers = ServedModel("greys").classify(np.zeros((3, 2, 2, 1), np.uint8), limit=1)
    assert answers == [{"dark": 0.75}] * 3
    assert [path for path, _, _ in gateway] == ["/tf/models/greys/classify?limit=1"] * 2
    assert [len(re.findall(b'name="image"', body)) for _, _, body in gateway] == [2, 1]


def test_numbers_go_as_json_and_as_arrays(gateway):
    model = ServedModel("greys")
    assert model.predict(x=np.array([1, 2])) == {"doubled": [2, 4]}
    assert json.loads(gateway[0][2]) == {"inputs": {"x": [1, 2]}}
    found = model.predict_arrays(x=np.array([0.1], np.float64))
    assert found["doubled"].tolist() == [0.2]
    assert gateway[1][1] == "application/x-npz"


@pytest.mark.usefixtures("gateway")
def test_a_refusal_has_the_gateways_message():
    model = ServedModel("greys")
    with pytest.raises(LabError, match="There is no input 'y'"):
        model.predict(y=[1])
    with pytest.raises(LabError, match="A set cannot be sent as JSON"):
        model.predict(x={1})
