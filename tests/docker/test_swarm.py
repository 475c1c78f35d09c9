"""The lab's serving side on three machines of a Swarm: node loss and a rolling update cost no request."""

import http.client
import itertools
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab_engine.chaos.load import Load
from tests.docker.swarm import HOST, Node, nodes, settled, tasks
from tests.keys import api_key
from tests.running import FORM, ROOT, SAMPLES, free_ports, image_form, request, wait_until

pytestmark = [
    pytest.mark.skipif(not os.environ.get("LAB_LONG_TESTS"), reason="ten minutes; set LAB_LONG_TESTS=1"),
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: for root"),
    pytest.mark.timeout(1800),
]
RATE = 50  # requests a second
REFUSED = "refused"
REST, SERVING = "lab_tensor-rest", "lab_tensor-serving"


@pytest.fixture(scope="module")
def key() -> tuple[str, str]:
    """An API key, and its line in the file of keys."""
    return api_key("swarm")


@pytest.fixture(scope="module")
def swarm(
    images: dict[str, str], key: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Node]]:
    """The stack on three nodes, which pull from a registry on the bridge between them."""
    folder = tmp_path_factory.mktemp("swarm")
    registry = f"{HOST}:{free_ports(1)[0]}"
    with nodes(folder, registry) as made, _registry(folder, registry):
        for name in ("tensor-rest", "tensor-serving-embedded"):
            _push(images[name], f"{registry}/lab/{name}", ("one", "two"), made[0])
        made[0].docker("secret", "create", "lab-api-keys", "-", given=key[1] + "\n")
        stack = str(ROOT / ".deploy" / "swarm-stack.yml")
        setup = {"LAB_REGISTRY": registry, "LAB_TAG": "one", "LAB_SERVING": "embedded"}
        made[0].docker("stack", "deploy", "-c", stack, "lab", **setup)
        wait_until(lambda: settled(made[0], REST, ":one", 3) and settled(made[0], SERVING, ":one", 2), 300, "the stack")
        wait_until(lambda: all(call(node, key[0]) == "200" for node in made), 120, "an answer of every node")
        yield made


def load(targets: list[Node], key: str) -> Load:
    """Requests to these nodes in turn; one that refuses the connection is passed over, as a load balancer does."""
    count = itertools.count()

    def send() -> str:
        first = next(count)
        for turn in range(len(targets)):
            outcome = call(targets[(first + turn) % len(targets)], key)
            if outcome != REFUSED:
                break
        return outcome

    return Load(send, RATE)


def call(node: Node, key: str) -> str:
    """The status for the sample digit, of an error with its body; or what went wrong."""
    headers = {**FORM, **({"X-API-Key": key} if key else {})}
    url = f"http://{node.address}:8080/tf/mnist/mnist-net"
    try:
        answer = request(urllib.request.Request(url, image_form(SAMPLES[0]), headers))
    except urllib.error.URLError as error:
        return REFUSED if isinstance(error.reason, ConnectionRefusedError) else repr(error.reason)
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    return "200" if answer.status == 200 else f"{answer.status} {answer.body[:300]!r}"


def test_a_key_is_required_and_model_servers_are_not_published(swarm: list[Node]) -> None:
    assert call(swarm[0], "").startswith("401 ")
    ports = swarm[0].docker("service", "inspect", "--format", "{{json .Endpoint.Ports}}", SERVING)
    assert ports.strip() in ("null", "[]")
    assert len(tasks(swarm[0], SERVING)) == 2


def test_a_new_gateway_is_rolled_out_without_a_failed_request(swarm: list[Node], key: tuple[str, str]) -> None:
    image = _image(swarm[0], REST).replace(":one", ":two")
    with load(swarm, key[0]) as running:
        swarm[0].docker("service", "update", "--detach", "--image", image, REST)
        wait_until(lambda: settled(swarm[0], REST, ":two", 3), 300, "the new gateways")
    assert running.summary().calls > RATE
    assert running.summary().failed == 0, running.summary()


def test_a_new_model_server_is_rolled_out_without_a_failed_request(swarm: list[Node], key: tuple[str, str]) -> None:
    image = _image(swarm[0], SERVING).replace(":one", ":two")
    with load(swarm, key[0]) as running:
        swarm[0].docker("service", "update", "--detach", "--image", image, SERVING)
        wait_until(lambda: settled(swarm[0], SERVING, ":two", 2), 300, "the new model servers")
    assert running.summary().failed == 0, running.summary()


def test_a_node_that_is_lost_costs_the_other_gateways_no_request(swarm: list[Node], key: tuple[str, str]) -> None:
    """It has a model server; that is placed on the node left, and the gateways pass it over meanwhile."""
    lost = next(node for node in swarm[1:] if node.name in tasks(swarm[0], SERVING))
    left = [node for node in swarm if node is not lost]
    with load(left, key[0]) as running:
        lost.lose()
        wait_until(
            lambda: set(tasks(swarm[0], SERVING)) == {node.name for node in left}, 180, "the model server elsewhere"
        )
    assert running.summary().calls > RATE
    assert running.summary().failed == 0, running.summary()


@contextmanager
def _registry(folder: Path, address: str) -> Iterator[None]:
    """Debian's registry at this address."""
    config, storage = folder / "registry.yml", folder / "registry"
    storage.mkdir()
    place = f"storage: {{filesystem: {{rootdirectory: {storage}}}}}"
    config.write_text(f"version: 0.1\n{place}\nhttp: {{addr: {address}}}\n")
    command = ["docker-registry", "serve", str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:
        try:
            wait_until(lambda: _is_there(f"http://{address}/v2/"), 20, "the registry")
            yield
        finally:
            program.terminate()


def _is_there(url: str) -> bool:
    try:
        return request(urllib.request.Request(url)).status == 200
    except OSError:
        return False


def _push(image: str, name: str, tags: tuple[str, ...], node: Node) -> None:
    """From the machine's engine to the node's, which may push to that registry."""
    load = ["docker", "-H", f"unix://{node.folder}/sock", "load", "--quiet"]
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
        subprocess.run(load, stdin=saved.stdout, capture_output=True, check=True)
    for tag in tags:
        node.docker("tag", image, f"{name}:{tag}")
        node.docker("push", "--quiet", f"{name}:{tag}")


def _image(manager: Node, service: str) -> str:
    given = manager.docker("service", "inspect", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Image}}", service)
    return given.strip().partition("@")[0]
