"""The time-out of reading, which a client that waits for its answer cannot exceed.

Hypercorn ends a connection from which nothing has come for so long, whoever's turn it is. That is
meant for a client that has gone without a word, or never ends what it sends; but a client that
has sent its request is silent until it has been answered, and a call that syncs a large folder
takes longer, and the stream of an MCP session lasts for hours. :func:`install` changes that in
every server of this process.
"""

from __future__ import annotations

import math

import h11
import trio
from hypercorn.events import Closed, RawData
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer

#: The states of a client over HTTP/1.1 that has something to send yet.
_SENDS = frozenset({h11.IDLE, h11.SEND_BODY})


def install() -> None:
    """Read from every connection as here."""
    TCPServer._read_data = _read_data  # type: ignore[method-assign, assignment]  # noqa: SLF001


async def _read_data(server: TCPServer) -> None:
    """Take in what comes until the client has gone or is silent when it should not be."""
    while True:
        try:
            with trio.fail_after(server.config.read_timeout or math.inf):
                data = await server.stream.receive_some(MAX_RECV)
        except trio.TooSlowError:
            if awaits_answer(server.protocol.protocol):
                continue
            break
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            break
        await server.protocol.handle(RawData(bytes(data)))
        if not data:
            break
    await server.protocol.handle(Closed())


def awaits_answer(protocol: H11Protocol | H2Protocol) -> bool:
    """Whether it is the server's turn; never so of a WebSocket, whose client answers pings."""
    if isinstance(protocol, H2Protocol):
        return any(isinstance(each, HTTPStream) for each in protocol.streams.values())
    return isinstance(protocol.stream, HTTPStream) and protocol.connection.their_state not in _SENDS
