"""The connection to the model server: one gRPC channel per process, over all addresses its name has."""

import json
import threading
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message

# All addresses are connected and take turns.
_SERVICE_CONFIG: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}

_OPTIONS = {
    "grpc.service_config": json.dumps(_SERVICE_CONFIG),
    # A restarted container may come back with another address: gRPC would not look again for 30 seconds.
    "grpc.dns_min_time_between_resolutions_ms": 200,
    # After a restart the channel must be back at once: gRPC's own pauses grow to two minutes.
    "grpc.initial_reconnect_backoff_ms": 50,
    "grpc.min_reconnect_backoff_ms": 500,  # what one attempt to connect may take
    "grpc.max_reconnect_backoff_ms": 500,
    # A peer that vanished without a word is noticed after these; gRPC sends at most two such pings without data, which
    # is what servers bear.
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.enable_retries": 0,  # gate.py decides
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_http_proxy": 0,  # the model server is a neighbour, whatever http_proxy says
}

_SCHEMES = ("dns:", "unix:", "unix-abstract:", "ipv4:", "ipv6:", "xds:")

Method = Callable[..., Any]


def target(address: str) -> str:
    """`address` as gRPC takes it: host:port becomes dns:///host:port, a target with a scheme stays."""
    return address if address.startswith(_SCHEMES) else f"dns:///{address}"


class Channel:
    """Methods of the server at `address`. Connected at the first call: gRPC's threads do not survive uWSGI's fork."""

    def __init__(self, address: str, max_message_bytes: int) -> None:
        self.address = address
        self._options = {
            **_OPTIONS,
            "grpc.max_receive_message_length": max_message_bytes,
            "grpc.max_send_message_length": max_message_bytes,
        }
        self._channel: grpc.Channel | None = None
        self._methods: dict[str, Method] = {}
        self._lock = threading.Lock()

    def method(self, path: str, request: type[Message], answer: type[Message]) -> Method:
        """The unary call at `path`, made once: making it costs as much as a small call's protobuf."""
        known = self._methods.get(path)
        return known or self._made(path, request, answer)

    def _made(self, path: str, request: type[Message], answer: type[Message]) -> Method:
        with self._lock:
            if self._channel is None:
                self._channel = grpc.insecure_channel(target(self.address), options=list(self._options.items()))
            method: Method = self._channel.unary_unary(
                path, request_serializer=request.SerializeToString, response_deserializer=answer.FromString
            )
            self._methods[path] = method
            return method
