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
"""On every response; nginx adds them to its own responses. A page may have its own POLICY."""

MODEL, VERSION = "X-Model-Name", "X-Model-Version"
"""Which served model, and which version of it, answered."""

KEY_NAME = "X-Key-Name"
"""The name of the API key, for nginx's access log; nginx does not send it to the client."""

PROBES = ("/healthz", "/readyz")
"""Answered for any caller, under any host name, without admission."""
