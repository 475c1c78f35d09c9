"""Calls the server it is given from many greenlets of one thread; prints "done", then waits for one last answer."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

import gevent  # noqa: E402

from tensor_rest.backend.channel import Channel  # noqa: E402
from tensor_rest.backend.status import Code, RpcError  # noqa: E402


def many(channel: Channel, number: int) -> None:
    for count in range(10):
        message = b"%d %d " % (number, count) * (1 + number * 1000)
        assert channel.call("/t/echo", message, 30) == message


def code_of_a_call_without_time(channel: Channel) -> Code | None:
    try:
        channel.call("/t/wait", b"m", 0.2)
    except RpcError as error:
        return error.code
    return None


def main(server: str) -> None:
    channel = Channel(server, 64 << 20)
    waits = gevent.spawn(channel.call, "/t/wait", b"m", 30)
    gevent.joinall([gevent.spawn(many, channel, number) for number in range(64)], raise_error=True)
    assert channel.call("/t/size", b"20000000", 30) == b"x" * 20_000_000
    assert code_of_a_call_without_time(channel) is Code.DEADLINE_EXCEEDED
    assert not waits.ready()
    sys.stdout.write("done\n")
    sys.stdout.flush()
    waits.get()


if __name__ == "__main__":
    main(sys.argv[1])
