"""The connections of Hypercorn, of which none can end the server.

Hypercorn runs each connection in the nursery that serves all of them, and lets out whatever but
an `OSError` goes wrong in it: a byte in a header that is not ASCII, data behind a refused
WebSocket handshake, HTTP/2 for a stream that has ended. Anybody who can connect could so end
the whole service. :func:`install` puts classes of ours in the place of Hypercorn's, in every
server that this process starts from then on, a worker of Hypercorn's own included.
"""

from __future__ import annotations

import logging
import traceback

import h11
import hypercorn.protocol
import hypercorn.trio.run
import trio
from hypercorn.events import Closed, Event
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol, H11WSConnection
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import H11SendableEvent

from actors.pipeline import cause

_log = logging.getLogger("pyrite.server")


def install() -> None:
    """Have this process serve connections as here."""
    hypercorn.trio.run.TCPServer = Connection  # type: ignore[attr-defined]
    hypercorn.protocol.H11Protocol = Http1  # type: ignore[attr-defined]


class Connection(TCPServer):
    """A connection that ends alone, whatever goes wrong in it."""

    async def run(self) -> None:
        """Serve it to its end; an error is logged, and the connection closed."""
        try:
            await super().run()
        except* Exception as group:  # noqa: BLE001 - whatever it is, the others go on
            _log.warning("a connection has failed and is closed: %s", _brief(group))

    async def protocol_send(self, event: Event) -> None:
        """Send, or close; what cannot be sent any more is dropped."""
        try:
            await super().protocol_send(event)
        except trio.BusyResourceError:
            # Writes take turns, so it is being closed: a ping meets a client that leaves.
            await self.protocol.handle(Closed())

    async def _read_data(self) -> None:
        try:
            await super()._read_data()
        except BaseException:
            # Or this is cancelled, because another task of the connection has failed. A write
            # is shielded, and one to a client that does not read would never end otherwise.
            await trio.aclose_forcefully(self.stream)
            raise
        # The client has gone. Hypercorn would hold the connection until it had been idle for
        # long enough, and a file descriptor for each that was opened in that time.
        await self.idle_task.stop()


class Http1(H11Protocol):
    """HTTP/1.1 that can become a WebSocket, and nothing else."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore ``Upgrade: h2c``; HTTP/2 may begin a connection, and not follow in one.

        A proxy that passes on any upgrade sees no more of what follows it, so that none of its
        rules would hold for those requests.
        """
        preface = (event.method, event.target, event.http_version) == (b"PRI", b"*", b"2.0")
        if preface and self.keep_alive_requests == 0:
            rest, _ = self.connection.trailing_data
            raise H2ProtocolAssumedError(b"PRI * HTTP/2.0\r\n\r\n" + rest)

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        try:
            await super()._send_h11_event(event)
        except h11.LocalProtocolError:
            if not isinstance(self.connection, H11WSConnection):
                raise
            # The client has not waited for the answer to its handshake. Hypercorn refuses what
            # it has sent while the app answers the handshake, and only one can be told.
            await self.send(Closed())


def _brief(group: BaseExceptionGroup[BaseException]) -> str:
    """What went wrong first, and where; what an error says may quote what the client has sent."""
    error = cause(group)
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    *_, frame = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} in {frame.name} ({frame.filename}, line {frame.lineno})"
