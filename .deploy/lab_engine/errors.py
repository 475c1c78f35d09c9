"""The exceptions of the engines."""


class EngineError(Exception):
    """Something the user has to know: what was found, what was wanted, what to do. Printed without a traceback."""


class OtherLabError(EngineError):
    """At this lab's address another lab answers."""
