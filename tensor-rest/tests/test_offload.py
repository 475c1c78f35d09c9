"""Long work under gevent: the worker's other requests go on, and an error is raised where the work was started."""

import pytest
from gateway_kit import played

from tensor_rest.runtime import offload


def test_a_request_that_computes_is_in_nobodys_way() -> None:
    assert played("work_beside_requests.py") == "['other', 'long'] broken image\n"


def test_without_gevent_it_is_a_mere_call() -> None:
    assert offload.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        offload.run(divmod, 7, 0)
