"""Header fields and paths that nginx and the application both have to know."""

POLICY = "Content-Security-Policy"

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    POLICY: "default-src 'none'; frame-ancestors 'none'",
}
"""On every answer; nginx adds them to its own. A page may have a POLICY of its own."""

MODEL, VERSION = "X-Model-Name", "X-Model-Version"
"""Which served model, and which version of it, answered."""

KEY_NAME = "X-Key-Name"
"""The key's name for nginx's access log; nginx does not pass it on."""

PROBES = ("/healthz", "/readyz")
"""Answered for any caller, under any name, at any time."""
