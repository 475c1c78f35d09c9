"""The NetworkPolicies of the manifests, enforced: every port of the lab, tried from every kind of pod."""

from contextlib import suppress

import pytest

from tests.kubernetes.lab import REST, SERVING, KubernetesLab
from tests.kubernetes.policies import (
    API,
    BOARD,
    CLIENT,
    DNS,
    INTERNET,
    JUPYTER,
    METADATA,
    OUTSIDER,
    STRANGER,
    Reach,
    build,
    enforce,
    reach,
)
from tests.running import wait_until

pytestmark = pytest.mark.timeout(1800)
GATEWAY, MODEL_SERVER, INVENTORY, DIRECT = f"{REST}:8080", f"{SERVING}:9000", f"{SERVING}:8502", f"{SERVING}:9001"
UNHINDERED = {DNS, API, INTERNET, METADATA, GATEWAY}  # of a pod that no policy is about: the lab's let it in there
ALLOWED = {
    REST: {MODEL_SERVER, INVENTORY, DNS},
    SERVING: set(),
    BOARD: set(),
    JUPYTER: {GATEWAY, f"{BOARD}:6006", MODEL_SERVER, DNS, INTERNET},
    STRANGER: set(),
    OUTSIDER: UNHINDERED,
    CLIENT: UNHINDERED | {DIRECT},
}


def test_each_pod_reaches_what_the_policies_name_and_nothing_else(lab: KubernetesLab) -> None:
    """With the overlay `local` and the component `direct`. The lab answers all along."""
    lab.own()
    build()
    lab.kube("apply", "--yes", "--overlay", "local", "--component", "direct")
    tried = reach(lab)
    _await(tried, tried.everything(), 20)
    with lab.load("network policies are enforced") as load:
        enforce(lab)
        _await(tried, ALLOWED, 120)
    assert load.failed == 0, load.figures


def _await(tried: Reach, expected: dict[str, set[str]], seconds: float) -> None:
    with suppress(AssertionError):  # the one below says what differs
        wait_until(lambda: tried.measured() == expected, seconds, "other connections")
    assert tried.measured() == expected
