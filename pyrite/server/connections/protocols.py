"""The connections of Hypercorn, of which none can end the server.

Hypercorn runs each connection in the nursery that serves all of them, and lets out whatever but
an `OSError` goes wrong in it: a byte in a header that is not ASCII, data behind a refused
WebSocket handshake, HTTP/2 for a stream that has ended. Anybody who can connect could so end
the whole service. :func:`install` puts classes of ours in the place of Hypercorn's, in every
server that this process starts from then on, a worker of Hypercorn's own included.
"""

from __future__ import annotations

import logging
import math
import traceback
from contextlib import suppress
from typing import Any

import h11
import hypercorn.protocol
import hypercorn.protocol.ws_stream
import hypercorn.trio.run
import trio
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.typing import H11SendableEvent

from actors.pipeline import cause
from pyrite.server.connections.admission import Admission, SaySeldom, raise_limit, refuse
from pyrite.server.connections.strict_http import StrictParser
from pyrite.server.connections.websocket_frames import CountingConnection

_log = logging.getLogger("pyrite.server")

#: The states of a client over HTTP/1.1 that has something to send yet.
_SENDS = frozenset({h11.IDLE, h11.SEND_BODY})

#: So much of what a client has sent is taken in at a time: thousands of frames of HTTP/2 fit into
#: one read, and take a tenth of a second, in which nobody else is served.
_TURN_BYTES = 2**12


def install() -> None:
    """Have this process serve connections as here."""
    Connection.admission = Admission(raise_limit())
    accepting = logging.getLogger("trio.serve_listeners")
    if not any(isinstance(each, SaySeldom) for each in accepting.filters):
        accepting.addFilter(SaySeldom())
    hypercorn.trio.run.TCPServer = Connection  # type: ignore[attr-defined]
    hypercorn.protocol.H11Protocol = Http1  # type: ignore[attr-defined]
    hypercorn.protocol.ws_stream.Connection = CountingConnection  # type: ignore[attr-defined]


class Connection(TCPServer):
    """A connection that ends alone, whatever goes wrong in it."""

    #: Shared by all of a process; :func:`install` sets it by the limit on file descriptors.
    admission = Admission(2**10)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._reading = trio.CancelScope()
        self._client_gone = False

    async def run(self) -> None:
        """Serve it to its end; an error is logged, and the connection closed."""
        try:
            with self.admission.admitted(self._peer()) as admitted:
                if admitted:
                    await super().run()
                else:
                    await refuse(self.stream)
        except* Exception as group:  # noqa: BLE001 - whatever it is, the others go on
            _log.warning("a connection has failed and is closed: %s", _brief(group))

    def _peer(self) -> str:
        """The address of the client; empty where it has gone already, or has none."""
        with suppress(OSError):
            found = getattr(self.stream, "transport_stream", self.stream).socket.getpeername()
            if isinstance(found, tuple):
                return str(found[0])
        return ""

    async def protocol_send(self, event: Event) -> None:
        """Send, or close; what cannot be sent any more is dropped."""
        try:
            if isinstance(event, RawData):
                # Shielded as Hypercorn has it: half a frame would spoil what follows.
                async with self.send_lock:
                    with trio.CancelScope(shield=True):
                        await self.stream.send_all(event.data)
            else:
                await super().protocol_send(event)
                if isinstance(event, Closed):
                    # Whatever it was about to take in, or waits for, is of no use any more.
                    self._reading.cancel()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            # The client has gone; or, since writes take turns, the connection is being closed
            # while a ping is due. A reader that waits for its turn in a pipeline, which does not
            # come any more, would hold the connection for good.
            self._reading.cancel()
            await self.protocol.handle(Closed())

    async def _read_data(self) -> None:
        """Take in what comes until the client has gone, or is silent when it should not be.

        Hypercorn ends a connection from which nothing has come for `read_timeout`, whoever's turn
        it is. That is meant for a client that has gone without a word, or never ends what it
        sends; but one that has sent its request is silent until it has been answered, and a call
        that syncs a large folder takes longer, and the stream of an MCP session lasts for hours.
        """
        try:
            with self._reading:
                while (data := await self._receive()) is not None:
                    await self._handle(data)
                    if not data:
                        break
            await self.protocol.handle(Closed())
        except BaseException:
            # Or this is cancelled, because another task of the connection has failed. A write
            # is shielded, and one to a client that does not read would never end otherwise.
            await trio.aclose_forcefully(self.stream)
            raise
        finally:
            await self._release()
        self._client_gone = True
        await self.idle_task.stop()

    async def _handle(self, data: bytes) -> None:
        """Take in what one read has brought, and let the other connections have their turns."""
        await self.protocol.handle(RawData(data[:_TURN_BYTES]))
        for start in range(_TURN_BYTES, len(data), _TURN_BYTES):
            await trio.lowlevel.checkpoint()
            await self.protocol.handle(RawData(data[start : start + _TURN_BYTES]))

    async def _idle_timeout(self) -> None:
        """Close the connection once it has been idle for long, or at once without a client.

        Hypercorn would wait for long in any case, and a file descriptor would be held for each
        connection that was opened in that time.
        """
        if not self._client_gone:
            await super()._idle_timeout()

    async def _release(self) -> None:
        """Let those go on who wait for their answer to be taken; nobody takes it any more."""
        protocol = self.protocol.protocol
        if isinstance(protocol, H2Protocol):
            for buffer in protocol.stream_buffers.values():
                await buffer.close()

    async def _receive(self) -> bytes | None:
        """What comes next, empty at its end; None where the connection is broken or silent."""
        while True:
            try:
                with trio.fail_after(self.config.read_timeout or math.inf):
                    return bytes(await self.stream.receive_some(MAX_RECV))
            except trio.TooSlowError:
                if not awaits_answer(self.protocol.protocol):
                    return None
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                return None


def awaits_answer(protocol: H11Protocol | H2Protocol) -> bool:
    """Whether it is the server's turn; never so of a WebSocket, whose client answers pings."""
    if isinstance(protocol, H2Protocol):
        return any(isinstance(each, HTTPStream) for each in protocol.streams.values())
    return isinstance(protocol.stream, HTTPStream) and protocol.connection.their_state not in _SENDS


class Http1(H11Protocol):
    """HTTP/1.1 that can become a WebSocket, and nothing else."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.connection = StrictParser(self.config.h11_max_incomplete_size)

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
