"""The error whose text is meant for the user."""


class LabError(Exception):
    """Something the user can fix; the text names what was found, what was expected and a remedy."""

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in a notebook: the message, not the traceback."""
        return [f"{type(self).__name__}: {self}"]
