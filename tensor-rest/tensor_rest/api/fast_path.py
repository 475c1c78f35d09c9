"""The short way through the gateway: forms of pictures to the routes nearly all requests go to, without Flask.

Flask's and Werkzeug's part of such a request is more work than everything else the gateway does for it (docs/
gateway-speed.md). The guard stands before both ways, and both call the same functions of the routes. What is
not written as usual goes on to Flask as it came: other paths and methods, queries, forms, refusals of forms.
"""

import io
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tensor_rest.api import classify, mnist, requests
from tensor_rest.errors import BadRequestError
from tensor_rest.inference.metadata import Target
from tensor_rest.inference.service import InferenceService
from tensor_rest.middleware.error_reply import error_reply
from tensor_rest.middleware.guard import MODEL_ASKED
from tensor_rest.payloads import multipart
from tensor_rest.payloads.multipart import File
from tensor_rest.runtime.reply import Reply
from tensor_rest.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_MNIST, _CLASSIFY = (rf"/tf/{kind}/(?P<{kind}>[a-z0-9._-]{{1,63}})" for kind in ("mnist", "models"))
_PATH = re.compile(rf"{_MNIST}|{_CLASSIFY}/classify|/predictlabel")
_QUERY = re.compile(r"(?:limit=([1-9][0-9]{0,5}))?")


class FastPath:
    """Before `application`, which answers what this does not."""

    def __init__(self, application: "WSGIApplication", service: InferenceService, settings: Settings) -> None:
        self._application = application
        self._service = service
        self._most = settings.max_upload_bytes
        self._default = settings.default_model

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer the request."""
        reply = self._reply(environ) if environ["REQUEST_METHOD"] == "POST" else None
        return reply.send(environ, start_response) if reply else self._application(environ, start_response)

    def _reply(self, environ: "WSGIEnvironment") -> Reply | None:
        path = _PATH.fullmatch(environ["PATH_INFO"])
        query = _QUERY.fullmatch(environ.get("QUERY_STRING", ""))
        if not path or not query:
            return None
        environ[MODEL_ASKED] = path["mnist"] or path["models"] or self._default
        try:
            files = self._files(environ)
            return self._answer(path, files, int(query[1] or requests.DEFAULT_LIMIT)) if files else None
        except Exception as error:  # noqa: BLE001 - as Flask does it for its routes
            return error_reply(error, environ)

    def _answer(self, path: re.Match[str], files: list[File], limit: int) -> Reply:
        if model := path["models"]:
            return classify.classified(self._service, Target(model), multipart.opened(files, self._most), limit)
        picture = multipart.only(files)
        if model := path["mnist"]:
            return mnist.classification(self._service, model, picture, limit)
        return mnist.label_prediction(self._service, self._default, picture)

    def _files(self, environ: "WSGIEnvironment") -> list[File] | None:
        """The files of a form of nothing else; None, with the body still to be read, for whatever is not one."""
        boundary = multipart.boundary(environ.get("CONTENT_TYPE", ""))
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if boundary is None or not 0 < length <= self._most:
            return None
        try:
            body = environ["wsgi.input"].read(length)
        except OSError as error:  # the sender is gone, or too slow
            raise BadRequestError("The request could not be read.") from error
        files = multipart.usual(body, boundary) if len(body) == length else None
        if not files:
            environ["wsgi.input"] = io.BytesIO(body)
        return files
