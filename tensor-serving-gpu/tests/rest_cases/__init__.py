"""The case table of the REST API: what is asked, and what TensorFlow Serving 2.20 answers, by its documented behaviour.

A row is a request and either the whole document it is answered with or a status with the beginning of its text; the
modules beside this one hold the rows. The models are those of case_models.
"""

from typing import Any, NamedTuple

HALF, SEVERAL, NATIVE = "half_plus_two:predict", "several:predict", "native:predict"
WORDS = '"signature_name": "shout", "instances"'
PRODUCT = '"signature_name": "product"'


class RestCase(NamedTuple):
    """One row: a request and the JSON document it is answered with, or a status and the beginning of its text.

    The path follows /v1/models/. A row with a body is a POST.
    """

    name: str
    path: str
    body: str | None = None
    gives: Any = None
    status: int = 200
    text: str = ""
    method: str = ""
    ours: bool = False
    """The status is that of the real server, but the twin's text says more or the real one leaves it open."""
