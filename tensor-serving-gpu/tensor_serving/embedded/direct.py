"""Tokens of clients that call the model server directly: issued by the gateway for one model and one minute.

`v1.PAYLOAD.SIGNATURE`: the payload is JSON in base64url, {"model": NAME, "expires": seconds since 1970}; the signature
is the HMAC-SHA256 of `v1.PAYLOAD` with the shared key, in base64url. docs/contracts.md has an example, which the tests
of both sides use.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from tensor_serving.embedded.errors import ServingError

MIN_KEY_BYTES = 32
_MAX_CHARS = 1024
_BEARER = "Bearer "


def read_key(path: Path) -> bytes:
    """Return the key in a file, without white space around it. Raises OSError, and ValueError where it is too short."""
    key = path.read_bytes().strip()
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"{path} has {len(key)} bytes; a key has at least {MIN_KEY_BYTES}")
    return key


class Tokens:
    """Verifies tokens signed with `key`."""

    def __init__(self, key: bytes, now: Callable[[], float] = time.time) -> None:
        self._key, self._now = key, now

    def check(self, authorization: str, model: str) -> None:
        """Raise ServingError UNAUTHENTICATED unless the call's metadata has a token for this model."""
        if self.model(authorization) != model:
            raise _refused("the token is for another model")

    def model(self, authorization: str) -> str:
        """Return the model that the token in a call's metadata is for. Raises ServingError UNAUTHENTICATED."""
        token = authorization.removeprefix(_BEARER)
        if token == authorization or len(token) > _MAX_CHARS:
            raise _refused("a token of GET /tf/route is required, as metadata authorization: Bearer TOKEN")
        signed, _, signature = token.rpartition(".")
        version, _, payload = signed.partition(".")
        wanted = hmac.digest(self._key, signed.encode(), hashlib.sha256)
        if version != "v1" or not hmac.compare_digest(wanted, _decoded(signature)):
            raise _refused("the token was not made with this server's key")
        found = json.loads(_decoded(payload))  # written by the gateway, as the signature is valid
        if found["expires"] <= self._now():
            raise _refused("the token has expired; GET /tf/route gives another one")
        return str(found["model"])


def metadata_value(context: Any, key: str) -> str:
    """Return a value of a call's metadata, an empty string if there is none."""
    return next((str(value) for name, value in context.invocation_metadata() if name == key), "")


def _decoded(text: str) -> bytes:
    """Decode base64url without padding; return empty bytes if it is invalid."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""


def _refused(text: str) -> ServingError:
    return ServingError(grpc.StatusCode.UNAUTHENTICATED, text)
