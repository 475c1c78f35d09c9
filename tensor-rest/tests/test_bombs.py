"""The bomb set through the real front: each is refused, in 100 ms of a worker's time and 64 MB of its memory."""

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import bombs
import httpx
import pytest
from gateway_kit import HTTP, Front, check_http_error, image_file, needs_nginx, start_front
from toy_model_server import Model, ModelServer

pytestmark = needs_nginx

MAX_SECONDS = 0.1
MAX_MEMORY_BYTES = 64 << 20
TRIES = 3  # of which the best counts: other programs' work makes ours slower, not faster


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    toy = ModelServer(mnist_net=Model()).start()
    running = start_front("nginx", tmp_path_factory.mktemp("bombs") / "run", toy.address, TENSOR_REST_PROCESSES="2")
    yield running
    running.stop()
    toy.stop()


def workers(front: Front) -> list[Path]:
    """What /proc knows about uWSGI's workers."""
    master = front.processes[0].pid
    return [Path(f"/proc/{pid}") for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def seconds(front: Front) -> float:
    """The time of the CPU that the workers took so far."""
    ticks = [line.read_text().rpartition(")")[2].split()[11:13] for line in (w / "stat" for w in workers(front))]
    return sum(int(tick) for pair in ticks for tick in pair) / os.sysconf("SC_CLK_TCK")


def memory(front: Front, name: str) -> int:
    """A line of the workers' memory in bytes: VmRSS now, VmHWM the most so far."""
    lines = [line for worker in workers(front) for line in (worker / "status").read_text().splitlines()]
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def check_cheap(front: Front, send: Callable[[], httpx.Response], statuses: tuple[int, ...]) -> None:
    took, grew = [], []
    for _ in range(TRIES):
        for worker in workers(front):
            (worker / "clear_refs").write_text("5")  # VmHWM begins anew
        before = seconds(front), memory(front, "VmRSS")
        response = send()
        assert response.status_code in statuses, response.text
        took.append(seconds(front) - before[0])
        grew.append(memory(front, "VmHWM") - before[1])
    if not response.request.url.path.startswith("/v1/"):
        check_http_error(response, response.status_code)
    assert min(took) <= MAX_SECONDS, took
    assert max(grew) <= MAX_MEMORY_BYTES, grew


@pytest.fixture(scope="module", autouse=True)
def _warm(front: Front) -> None:
    """What is loaded at a worker's first image is not a bomb's."""
    for _ in range(20):
        assert HTTP.post(f"{front.url}/predictlabel", files={"image": image_file(60)}).status_code == 200


@pytest.mark.parametrize("bomb", bombs.IMAGES, ids=lambda bomb: bomb.__name__)
def test_a_bomb_for_an_image(front: Front, bomb: Callable[[], bytes]) -> None:
    data = bomb()
    check_cheap(front, lambda: HTTP.post(f"{front.url}/predictlabel", files={"image": data}), bombs.IMAGES[bomb])


@pytest.mark.parametrize("bomb", bombs.ZIPS, ids=lambda bomb: bomb.__name__)
def test_a_zip_of_images_that_is_a_bomb(front: Front, bomb: Callable[[], bytes]) -> None:
    data, url = bomb(), f"{front.url}/tf/models/mnist-net/classify"
    check_cheap(front, lambda: HTTP.post(url, files={"image": ("a.zip", data)}), bombs.ZIPS[bomb])


@pytest.mark.parametrize("path", ["/predictlabel", "/v1/models/mnist-net:predict"])
def test_a_gzip_body_that_is_a_bomb(front: Front, path: str) -> None:
    data, head = bombs.gzip_body(), {"Content-Encoding": "gzip"}
    check_cheap(front, lambda: HTTP.post(front.url + path, content=data, headers=head), (413,))


@pytest.mark.parametrize("path", ["/tf/models/mnist-net/predict", "/v1/models/mnist-net:predict"])
def test_json_that_nests_without_end(front: Front, path: str) -> None:
    head = {"Content-Type": "application/json"}
    for data, statuses in ((bombs.json_depth(), (400,)), (bombs.json_lists(), (400, 413))):
        check_cheap(front, functools.partial(HTTP.post, front.url + path, content=data, headers=head), statuses)


def test_after_all_of_them_the_workers_live(front: Front) -> None:
    """Seen from outside: no worker had to be replaced. Runs last in this file."""
    assert HTTP.post(f"{front.url}/predictlabel", files={"image": image_file(60)}).json()["most_probable_label"] == "2"
    assert "DAMN" not in front.log.read_text()  # uWSGI's word for a worker that died
