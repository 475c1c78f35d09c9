"""The exceptions of the engines."""


class EngineError(Exception):
    """An error for the user: what was found, what was expected, what to do. Printed without a traceback."""


class OtherLabError(EngineError):
    """Another lab answers at this lab's address."""
