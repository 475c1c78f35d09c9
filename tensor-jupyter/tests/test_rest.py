"""The notebook's REST call, against a gateway on loopback that answers as configured."""

import email.parser
import email.policy
import http.server
import io
import json
import threading

import numpy as np
import pytest
from PIL import Image

from tensor_jupyter import rest
from tensor_jupyter.errors import LabError
from tensor_jupyter.rest import Answer, classify, client

DIGIT = np.arange(784, dtype=np.uint16).reshape(28, 28, 1).astype(np.uint8)
RESULT = {"results": [{"name": "image", "labels": [{"label": "2", "score": 0.998}]}]}


@pytest.fixture
def gateway(monkeypatch):
    """gateway(*answers): answers are (status, version); the last one is repeated. Returns the requests received."""
    servers = []

    def serve(*answers):
        received = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append((self.path, self.headers["Content-Type"], body))
                status, version = answers[min(len(received), len(answers)) - 1]
                self.send_response(status)
                if version:
                    self.send_header("X-Model-Version", str(version))
                self.end_headers()
                document = RESULT if status == 200 else {"message": "no such model", "code": status}
                self.wfile.write(json.dumps(document).encode())

            def do_GET(self):
                received.append((self.path, self.headers["Host"], b""))
                status, _ = answers[min(len(received), len(answers)) - 1]
                self.send_response(status)
                self.end_headers()
                text = "curl" if status == 200 else json.dumps({"message": "Model 'x' is not served.", "code": status})
                self.wfile.write(text.encode())

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        monkeypatch.setenv("LAB_REST_URL", f"http://127.0.0.1:{server.server_port}/")
        return received

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_call_as_text_is_the_gateway_s(gateway):
    received = gateway((200, None))
    assert client("a b/c", "curl") == "curl"
    assert received[0][0] == "/tf/models/a%20b%2Fc/client?lang=curl"


def test_a_call_is_written_with_the_public_address(gateway, monkeypatch):
    received = gateway((200, None))
    monkeypatch.setenv("LAB_REST_PUBLIC_URL", "http://127.0.0.1:8080/")
    client("mnist-net", "python")
    assert received[0][1] == "127.0.0.1:8080"


def test_a_model_that_is_not_served_has_the_gateways_message(gateway):
    gateway((404, None))
    with pytest.raises(LabError, match=r"^Model 'x' is not served\.$"):
        client("x", "python")


def test_the_image_arrives_as_it_was(gateway):
    received = gateway((200, 3))
    answer = classify(DIGIT, "mnist-net")
    assert answer == Answer(3, 3, RESULT)
    (path, kind, body), *more = received
    assert not more
    assert path == "/tf/models/mnist-net/classify"
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        f"Content-Type: {kind}\r\n\r\n".encode() + body
    )
    (part,) = message.iter_parts()
    assert part.get_param("name", header="content-disposition") == "image"
    assert np.asarray(Image.open(io.BytesIO(part.get_payload(decode=True)))).tolist() == DIGIT[..., 0].tolist()


def test_classify_a_version_that_is_loaded_later_waits_for_it(gateway):
    received = gateway((404, None), (503, None), (200, 2))
    answer = classify(DIGIT, "mnist-tutorial", version=2)
    assert str(answer) == "version 2 answers 2 (0.9980); it is the default"
    version = "/tf/models/mnist-tutorial/versions/2/classify"
    assert [path for path, _, _ in received] == [version] * 3 + ["/tf/models/mnist-tutorial/classify"]


def test_classify_a_candidate_names_the_default_version(gateway):
    gateway((200, 5), (200, 4))
    answer = classify(DIGIT, "mnist-net", version=5)
    assert (answer.version, answer.default) == (5, 4)
    assert str(answer).endswith("it is not the default, which is version 4")


def test_classify_a_version_that_is_never_served_raises(gateway):
    gateway((404, None))
    with pytest.raises(LabError, match=r"no answer from .*/versions/2/classify within 0 s: 404 no such model"):
        classify(DIGIT, "mnist-net", version=2, wait=0)


class Clock:
    """Stands in for the module `time`: sleeping takes no time."""

    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_classify_a_version_and_the_default_share_the_wait(gateway, monkeypatch):
    monkeypatch.setattr(rest, "time", clock := Clock())
    gateway(*[(404, None)] * 10, (200, 2), (404, None))
    with pytest.raises(LabError, match=r"no answer from .*/mnist-net/classify within"):
        classify(DIGIT, "mnist-net", version=2, wait=3)
    assert clock.now == pytest.approx(3, abs=0.5)


def test_an_unknown_model_has_the_gateways_message(gateway):
    gateway((404, None))
    with pytest.raises(LabError, match=r"404 .*no such model"):
        classify(DIGIT, "missing-net", wait=0)


def test_a_refused_image_is_reported_at_once(gateway):
    received = gateway((415, None))
    with pytest.raises(LabError, match="rejects the image: 415"):
        classify(DIGIT, "mnist-net")
    assert len(received) == 1


def test_another_program_on_the_port_is_reported(gateway):
    gateway((200, None))
    with pytest.raises(LabError, match="does not answer as the lab's gateway does"):
        classify(DIGIT, "mnist-net")


def test_a_lab_that_does_not_run_is_reported_in_one_line(monkeypatch):
    monkeypatch.setenv("LAB_REST_URL", "http://127.0.0.1:9")
    with pytest.raises(LabError, match=r"start it with \./bin/compose\.sh up") as caught:
        classify(DIGIT, "mnist-net")
    (line,) = caught.value._render_traceback_()
    assert line.startswith("SilentError: The lab does not answer at http://127.0.0.1:9/tf/models/mnist-net/classify")
