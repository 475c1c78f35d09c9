"""/metrics adds up what all workers did, also those that died, and names nothing a client made up."""

import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gateway_kit import HTTP, Front, check_http_error, image_file, needs_nginx, start_front, wait_until
from toy_model_server import Model, ModelServer

pytestmark = needs_nginx


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    toy = ModelServer(mnist_net=Model()).start()
    folder = tmp_path_factory.mktemp("metrics") / "run"
    several = {"TENSOR_REST_PROCESSES": "2", "TENSOR_REST_TRUSTED_PROXIES": "127.0.0.1"}
    running = start_front("nginx", folder, toy.address, **several)
    yield running
    running.stop()
    toy.stop()


def classify(front: Front, model: str = "mnist-net") -> int:
    return HTTP.post(f"{front.url}/tf/mnist/{model}", files={"image": image_file(60)}).status_code


def samples(front: Front) -> dict[str, float]:
    """Every line by its name and labels."""
    response = HTTP.get(f"{front.url}/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", response.text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def answered(front: Front, model: str = "mnist-net", version: str = "1", outcome: int = 200) -> float:
    labels = f'model="{model}",outcome="{outcome}",version="{version}"'
    return samples(front).get(f"tensor_rest_request_seconds_count{{{labels}}}", 0)


def masters_workers(front: Front) -> list[int]:
    master = front.processes[0].pid
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def test_requests_of_all_workers_are_counted_even_of_dead_ones(front: Front) -> None:
    before = answered(front)
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: classify(front), range(200))) == {200}
    assert answered(front) == before + 200

    victims = masters_workers(front)
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(masters_workers(front)) == 2 and not set(victims) & set(masters_workers(front)), 20)
    # All of them: uWSGI does not end a worker that is still starting when it stops.
    wait_until(
        lambda: all(f"pid: {each} (default app)" in front.log.read_text() for each in masters_workers(front)), 20
    )
    assert classify(front) == 200
    assert before + 200 < answered(front) <= before + 400
    assert samples(front)["tensor_rest_in_flight"] == 1  # the question itself


def test_a_model_is_named_by_what_it_answers_and_by_nothing_else(front: Front) -> None:
    for model in ("unknown", "mnist-net%22%7D", "x" * 60, "mnist-net%0Aevil"):
        classify(front, model)
    assert HTTP.get(f"{front.url}/tf/models/missing-net").status_code == 404
    names = {name for line in samples(front) for name in re.findall(r'model="([^"]*)"', line)}
    assert names <= {"", "mnist-net"}
    wait_until(lambda: classify(front) == 200 and answered(front) >= 1, 10)


def test_an_error_of_a_known_model_counts_as_its_own(front: Front) -> None:
    def counted() -> bool:
        """A worker knows the models that it has answered for."""
        classify(front)
        HTTP.post(f"{front.url}/tf/mnist/mnist-net", files={"image": b"no image"})
        return answered(front, version="", outcome=415) > 0

    wait_until(counted, 10)


def test_rows_and_histogram_are_whole(front: Front) -> None:
    classify(front)
    found = samples(front)
    assert found['tensor_rest_batch_rows_count{model="mnist-net"}'] >= 1
    buckets = [
        value
        for name, value in found.items()
        if "request_seconds_bucket" in name and 'model="mnist-net",outcome="200"' in name
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == found['tensor_rest_request_seconds_count{model="mnist-net",outcome="200",version="1"}']


def test_clients_of_other_networks_do_not_get_them(front: Front) -> None:
    check_http_error(HTTP.get(f"{front.url}/metrics", headers={"X-Forwarded-For": "8.8.8.8"}), 403)
    assert HTTP.get(f"{front.url}/metrics", headers={"X-Forwarded-For": "10.2.3.4"}).status_code == 200
