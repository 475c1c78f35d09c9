"""The model server that a client may call directly, without the gateway, and the token for that call.

A token is `v1.PAYLOAD.SIGNATURE`. The payload is JSON in base64url, {"model": NAME, "expires": seconds since 1970}; the
signature is HMAC-SHA256 of `v1.PAYLOAD` with the key that gateway and model server share, in base64url.
docs/contracts.md has an example, which the tests of both read.
"""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass

from tensor_rest.backend import Addresses
from tensor_rest.backend.status import RpcError
from tensor_rest.errors import UnavailableError
from tensor_rest.inference.inventory import Inventory

TOKEN_SECONDS = 60
"""How long a token is valid. A client that renews it also learns of new model servers."""


@dataclass(frozen=True)
class DirectRoute:
    """A model server's port for clients, HOST:PORT, and a token for one model there."""

    endpoint: str
    token: str


class DirectRoutes:
    """Makes routes to the model servers behind `addresses`, which accept tokens signed with `key` at `port`."""

    def __init__(self, addresses: Addresses, inventory: Inventory, key: bytes, port: int) -> None:
        self._addresses, self._inventory, self._key, self._port = addresses, inventory, key, port

    def route(self, model: str, version: int) -> DirectRoute:
        """Return a route to a random model server that has the version. Raises UnavailableError."""
        try:
            address = self._addresses.random_one(self._inventory.having(model, version))
        except RpcError as error:
            raise UnavailableError(error.details) from error
        if isinstance(address.where, str):
            raise UnavailableError("The model server is at a socket of this machine, which clients cannot reach.")
        host = address.where[0]
        endpoint = f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"
        return DirectRoute(endpoint, make_token(self._key, model, int(time.time()) + TOKEN_SECONDS))


def make_token(key: bytes, model: str, expires: int) -> str:
    """Return a token for a model, until `expires` (seconds since 1970)."""
    payload = json.dumps({"model": model, "expires": expires}, separators=(",", ":")).encode()
    signed = f"v1.{_text(payload)}"
    return f"{signed}.{_text(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
