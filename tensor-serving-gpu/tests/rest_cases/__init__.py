"""The case table of the REST API: requests, and what TensorFlow Serving 2.20 answers.

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
    ours: str = ""
    """Why the embedded server is stricter or safer here on purpose; the row is skipped against another server.

    The texts are the embedded server's own: of another server's refusals only the status is compared.
    """
