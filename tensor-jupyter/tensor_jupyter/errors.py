"""The one kind of error that is meant to be read by the person at the keyboard."""


class LabError(Exception):
    """Something the user can put right; the text says what was found, what was wanted and what to do."""

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in a notebook: the message, not the traceback."""
        return [f"{type(self).__name__}: {self}"]
