"""The sample digits of `data/mnist`, for the page to try a model with: GET /samples/ and each file below it."""

from pathlib import Path

import flask

FOLDER = Path(__file__).parents[2] / "data" / "mnist"
"""Beside the package, in the repository and in the image; the list is empty where the folder is missing."""

_MAX_AGE_S = 86_400


def init_app(app: flask.Flask) -> None:
    """Add the routes."""

    @app.get("/samples/")
    def samples() -> flask.Response:
        files = sorted(FOLDER.glob("mnist_*_*.jpg"))
        return flask.jsonify(samples=[{"name": file.name, "label": file.name.split("_")[1]} for file in files])

    @app.get("/samples/<name>")
    def sample(name: str) -> flask.Response:
        if Path(name).suffix != ".jpg":
            flask.abort(404)
        return flask.send_from_directory(FOLDER, name, mimetype="image/jpeg", max_age=_MAX_AGE_S)
