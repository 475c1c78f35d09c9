"""What a person opens: the page and Swagger UI."""

import flask

from tensor_rest.settings import Settings

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ROOM = 0.95  # of a request's body is for pictures, the rest for the form around them
# Swagger UI sets style attributes on its elements and draws its icons from data: addresses.
_SWAGGER_POLICY = PAGE_POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'").replace(
    "img-src 'self'", "img-src 'self' data:"
)


def init_app(app: flask.Flask, settings: Settings) -> None:
    """Add the routes."""

    @app.get("/")
    def page() -> flask.Response:
        links = {"TensorBoard": settings.board_url, "JupyterLab": settings.jupyter_url}
        return _html(
            "page.html",
            PAGE_POLICY,
            links={name: str(url) for name, url in links.items() if url},
            default_model=settings.default_model,
            feedback=settings.feedback_dir is not None,
            most_bytes=int(settings.max_upload_bytes * _ROOM),
            most_pixels=settings.max_pixels,
        )

    @app.get("/tf/")
    def swagger() -> flask.Response:
        return _html("swagger.html", _SWAGGER_POLICY)


def _html(template: str, policy: str, **values: object) -> flask.Response:
    response = flask.make_response(flask.render_template(template, **values))
    response.headers["Content-Security-Policy"] = policy
    response.headers["Cache-Control"] = "no-cache"
    return response
