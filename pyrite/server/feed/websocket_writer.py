"""Writing to a WebSocket past ASGI, through Hypercorn's own stream.

Three things. **Many messages in one write**: a write costs some 80 µs whatever its length, so
ten events for each of a thousand clients take a tenth of the time when they travel together; and
a server's frames are the same for every client, so that each is made once. **Cutting off** a
client that does not read: Hypercorn shields a write from cancellation, so that one which never
ends would hold its handler, and the stop of the whole server, for ever. **No compression**, which
would cost each client a third of a megabyte and make every frame a different one.

Under any other server messages are sent one by one, and cutting off is left to that server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import trio
from hypercorn.protocol.events import Data
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.tcp_server import TCPServer
from wsproto.connection import ConnectionState

from pyrite.server.feed.messages import Message

Send = Callable[[Any], Awaitable[None]]

#: Where the connection's scope has its writer.
KEY = "pyrite.websocket.writer"


class WebSocketWriter:
    """The writer of one client's WebSocket.

    Args:
        send: what ASGI gives for it.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        stream = getattr(send, "__self__", None)
        self._stream = stream if isinstance(stream, WSStream) else None
        self._writes: list[float] = []
        if self._stream is not None:
            self._stream.handshake.extensions = None

    async def send(self, messages: Sequence[Message]) -> float:
        """Send messages in order; waits while the client does not read.

        Returns:
            How many seconds it took.
        """
        began = trio.current_time()
        with self.writing():
            if self._stream is None:
                for message in messages:
                    await self._send(
                        {"type": "websocket.send", "bytes": None, "text": message.text}
                    )
            elif not self.closed:
                frames = b"".join(message.frame for message in messages)
                await self._stream.send(Data(stream_id=self._stream.stream_id, data=frames))
        return trio.current_time() - began

    @property
    def writing_s(self) -> float | None:
        """For how long the oldest write in progress has been; None while there is none."""
        return trio.current_time() - self._writes[0] if self._writes else None

    @property
    def closed(self) -> bool:
        """Whether a close has been sent, by whomever: nothing may follow it."""
        if self._stream is None:
            return False
        return self._stream.closed or self._stream.connection.state is not ConnectionState.OPEN

    async def cut(self) -> None:
        """End the connection as it stands; a write in progress returns."""
        server = self._server()
        if server is not None:
            await trio.aclose_forcefully(server.stream)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Inside this block something is being written."""
        began = trio.current_time()
        self._writes.append(began)
        try:
            yield
        finally:
            self._writes.remove(began)

    def _server(self) -> TCPServer | None:
        """What holds the connection itself: each layer sends through a method of the next."""
        layer: Any = self._stream
        while layer is not None and not isinstance(layer, TCPServer):
            layer = getattr(getattr(layer, "send", None), "__self__", None)
        return layer
