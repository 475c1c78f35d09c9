"""The pages for people: the gateway's page, Swagger UI and TensorBoard."""

import flask

from tensor_rest.images.formats import MEDIA_TYPES
from tensor_rest.settings import Settings

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
BOARD = "/tensorboard/"
_IMAGE_SHARE = 0.95  # share of a request's body that images may have; the rest is for the form's headers
_BOARD_METHODS = ["GET", "POST"]  # TensorBoard reads time series by POST
# Swagger UI sets style attributes on its elements and draws its icons from data: addresses.
_SWAGGER_POLICY = PAGE_POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'").replace(
    "img-src 'self'", "img-src 'self' data:"
)


def init_app(app: flask.Flask, settings: Settings) -> None:
    """Add the routes."""

    @app.get("/")
    def page() -> flask.Response:
        links = {"TensorBoard": _board_link(settings), "JupyterLab": settings.jupyter_url}
        return _html(
            "page.html",
            PAGE_POLICY,
            links={name: str(url) for name, url in links.items() if url},
            default_model=settings.default_model,
            feedback=settings.feedback_dir is not None,
            max_bytes=int(settings.max_upload_bytes * _IMAGE_SHARE),
            max_pixels=settings.max_pixels,
            accept=MEDIA_TYPES,
        )

    @app.get("/tf/")
    def swagger() -> flask.Response:
        return _html("swagger.html", _SWAGGER_POLICY)

    if _shows_board(settings):
        for path in (BOARD, f"{BOARD}<path:_>", "/font-roboto/<path:_>"):  # its style sheets take fonts from the root
            app.add_url_rule(path, "board", _board, methods=_BOARD_METHODS)


def _board(_: str = "") -> flask.Response:
    """Let nginx pass the request to TensorBoard, once the middleware has accepted it."""
    response = flask.Response()
    del response.headers["Content-Type"]  # nginx would keep it for its own errors
    response.headers["X-Accel-Redirect"] = "@board"
    return response


def _shows_board(settings: Settings) -> bool:
    return settings.front == "nginx" and bool(settings.board_server)


def _board_link(settings: Settings) -> object:
    """Return the page's link to TensorBoard. A browser that follows a link sends no API key."""
    return BOARD if _shows_board(settings) and not settings.api_keys_file else settings.board_url


def _html(template: str, policy: str, **values: object) -> flask.Response:
    response = flask.make_response(flask.render_template(template, **values))
    response.headers["Content-Security-Policy"] = policy
    response.headers["Cache-Control"] = "no-cache"
    return response
