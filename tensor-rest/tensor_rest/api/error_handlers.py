"""Responses to errors raised within Flask, in the same form as all others."""

import flask
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from tensor_rest.middleware.error_reply import error_reply, message_reply

_HTTP_MESSAGES = {
    400: "The request could not be read.",
    404: "Nothing is served at this path; /tf/ lists the routes.",
    413: "The request body is too large; at most {limit} bytes are taken.",
}
_FORM_MESSAGE = (
    "The form is too large: at most {parts:,} parts are accepted, and {fields:,} bytes of a field that is not a file. "
    "Send many images as one zip."
)


def init_app(app: flask.Flask) -> None:
    """Register the handler of every error of the app, expected or not."""
    app.register_error_handler(Exception, _answer)


def _answer(error: Exception) -> flask.Response:
    environ = flask.request.environ
    flask.request.routing_exception = None  # its traceback refers to the request
    if isinstance(error, HTTPException) and error.code:
        found = message_reply(environ, error.code, _http_message(error))
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            found.headers.append(("Allow", ", ".join(sorted(error.valid_methods))))
    else:
        found = error_reply(error, environ)
    return flask.Response(found.body, found.status, found.headers)


def _http_message(error: HTTPException) -> str:
    if isinstance(error, MethodNotAllowed):
        return f"{flask.request.method} is not allowed here; allowed: {', '.join(sorted(error.valid_methods or []))}."
    request = flask.request
    if isinstance(error, RequestEntityTooLarge) and (request.content_length or 0) <= (request.max_content_length or 0):
        return _FORM_MESSAGE.format(parts=request.max_form_parts, fields=request.max_form_memory_size)
    text = _HTTP_MESSAGES.get(error.code or 0, error.description or error.name)
    return text.format(limit=flask.current_app.config["MAX_CONTENT_LENGTH"])
