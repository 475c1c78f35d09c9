"""The one exception of the local engine."""


class EngineError(Exception):
    """Something the user has to know: what was found, what was wanted, what to do. Printed without a traceback."""
