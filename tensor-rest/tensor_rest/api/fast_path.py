"""The fast path: forms of images to the image routes, answered without Flask.

Flask and Werkzeug take longer for such a request than everything else the gateway does for it (docs/gateway-speed.md).
The middleware is in front of both paths, and the routes are declared once for both (api/image_routes.py). Everything
else is passed to Flask with its body unread or put back: other paths and methods, other query parameters than `limit`,
forms with other fields.
"""

import io
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tensor_rest.api import image_routes, requests
from tensor_rest.api.image_routes import ImageRequest, ImageRoute
from tensor_rest.errors import BadRequestError
from tensor_rest.inference.metadata import Target
from tensor_rest.inference.service import InferenceService
from tensor_rest.middleware.error_reply import error_reply
from tensor_rest.middleware.guard import REQUESTED_MODEL
from tensor_rest.payloads import multipart
from tensor_rest.payloads.multipart import File
from tensor_rest.runtime.reply import Reply
from tensor_rest.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_QUERY = re.compile(r"(?:limit=([1-9][0-9]{0,5}))?")


class FastPath:
    """WSGI middleware: answers forms of images, and passes all other requests to `application`."""

    def __init__(
        self,
        application: "WSGIApplication",
        service: InferenceService,
        settings: Settings,
        routes: tuple[ImageRoute, ...],
    ) -> None:
        self._application = application
        self._service = service
        self._max_bytes = settings.max_upload_bytes
        self._default_model = settings.default_model
        self._routes = routes
        self._pattern = image_routes.pattern(routes)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer the request."""
        reply = self._reply(environ) if environ["REQUEST_METHOD"] == "POST" else None
        return reply.send(environ, start_response) if reply else self._application(environ, start_response)

    def _reply(self, environ: "WSGIEnvironment") -> Reply | None:
        path = self._pattern.fullmatch(environ["PATH_INFO"])
        query = _QUERY.fullmatch(environ.get("QUERY_STRING", ""))
        if not path or not query:
            return None
        number = next(number for number in range(len(self._routes)) if path[f"r{number}"])
        route = self._routes[number]
        model = path.groupdict().get(f"m{number}") or self._default_model
        environ[REQUESTED_MODEL] = model
        try:
            files = self._files(environ)
            if not files:
                return None
            images = multipart.opened(files, self._max_bytes) if route.many else [("", multipart.only(files))]
            limit = int(query[1] or requests.DEFAULT_LIMIT)
            return route.reply(ImageRequest(self._service, Target(model), images, limit))
        except Exception as error:  # noqa: BLE001 - as Flask does it for its routes
            return error_reply(error, environ)

    def _files(self, environ: "WSGIEnvironment") -> list[File] | None:
        """Return the files of a form that has only files; None for any other body, which can still be read then."""
        boundary = multipart.boundary(environ.get("CONTENT_TYPE", ""))
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if boundary is None or not 0 < length <= self._max_bytes:
            return None
        try:
            body = environ["wsgi.input"].read(length)
        except OSError as error:  # the client closed the connection, or was too slow
            raise BadRequestError("The request could not be read.") from error
        files = multipart.usual(body, boundary) if len(body) == length else None
        if not files:
            environ["wsgi.input"] = io.BytesIO(body)
        return files
