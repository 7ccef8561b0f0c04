"""A WebSocket client for tests, which closes its socket whoever ends the connection.

trio-websocket's own ``open_websocket_url`` leaves it to the garbage collector when the server
closes first, which the tests take for an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio
from trio_websocket import WebSocketConnection, wrap_client_stream

from actors.pipeline import cause


@asynccontextmanager
async def open_websocket(
    url: str, headers: Sequence[tuple[bytes, bytes]] = ()
) -> AsyncIterator[WebSocketConnection]:
    """A connection to ``ws://HOST:PORT/PATH``.

    Raises:
        ConnectionRejected: the server answered with something else.
        ConnectionClosed: it ended while it was being used.
    """
    parts = urlsplit(url)
    resource = f"{parts.path}?{parts.query}" if parts.query else parts.path
    stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 80)
    try:
        async with stream, trio.open_nursery() as nursery:
            socket = await wrap_client_stream(
                nursery, stream, parts.netloc, resource, extra_headers=list(headers)
            )
            yield socket
            with trio.move_on_after(1):
                await socket.aclose()
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise cause(group) from None
