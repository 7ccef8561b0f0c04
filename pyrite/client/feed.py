"""Follow a server's feed through whatever happens to the connection."""

from __future__ import annotations

import json
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import trio
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)

from actors.pipeline import cause
from pyrite.client.policy import LostError, feed_url, judged, position, wait_s

#: How long a connection may take, and an answer to a ping.
CONNECT_S = 10.0
PING_EVERY_S = 20.0
PONG_S = 20.0

#: Larger messages are an error of the server's, in bytes.
_MAX_MESSAGE_BYTES = 2**20

Message = dict[str, Any]

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
Connect = Callable[[SplitResult], Awaitable[Stream]]


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """Which server's feed to follow, and what of it."""

    server: str
    token: str = ""
    kbs: Sequence[str] = ()
    types: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Callbacks:
    """The functions that are called with what is received and with what happens."""

    #: A message of the feed, as it came and as it was read.
    message: Callable[[str, Message], None]
    #: The server is lost, and why, and whether it had been there at all; said once.
    lost: Callable[[str, bool], None]
    #: It is there again.
    regained: Callable[[], None]


async def connect(address: SplitResult) -> Stream:
    """A connection to a server, encrypted where the address says so.

    Raises:
        OSError: there is none, or it cannot be trusted.
    """
    host, secure = address.hostname or "", address.scheme == "wss"
    port = address.port or (443 if secure else 80)
    if not secure:
        return await trio.open_tcp_stream(host, port)
    stream = await trio.open_ssl_over_tcp_stream(
        host, port, https_compatible=True, ssl_context=ssl.create_default_context()
    )
    await stream.do_handshake()
    return stream


async def follow(
    request: FeedRequest,
    callbacks: Callbacks,
    *,
    since: int | None = None,
    chance: Callable[[], float] = random.random,
    connect: Connect = connect,
) -> None:
    """Follow the feed until cancelled, from the last event that was received on.

    Args:
        request: what to follow.
        callbacks: what is called.
        since: the last event that is known; None begins now.
        chance: gives random numbers from 0 to 1.
        connect: makes a connection.

    Raises:
        RefusedError: the server does not let us, and will not.
        ConfigError: the server's address is none.
    """
    session = _Session(request, callbacks, since, connect)
    attempt = 0
    while True:
        try:
            await session.run()
        except LostError as lost:
            if session.greeted:
                attempt = 0
            if attempt == 0:
                callbacks.lost(str(lost), session.known)
        session.lost = True
        await trio.sleep(wait_s(attempt, chance()))
        attempt += 1


class _Session:
    """One connection after another, with the position in the feed."""

    def __init__(
        self, request: FeedRequest, callbacks: Callbacks, since: int | None, connect: Connect
    ) -> None:
        self._connect = connect
        self._request = request
        self._callbacks = callbacks
        self._since = since
        #: Whether the server has let us in this time.
        self.greeted = False
        #: Whether it ever has.
        self.known = False
        #: Whether the server was lost before this time.
        self.lost = False

    async def run(self) -> None:
        """Connect, and receive until the connection ends.

        Raises:
            LostError: it ended, or could not be made.
            RefusedError: the server does not let us.
        """
        self.greeted = False
        request = self._request
        url = feed_url(request.server, since=self._since, kbs=request.kbs, types=request.types)
        try:
            async with self._open(urlsplit(url)) as socket:
                while True:
                    self._receive(await socket.get_message())
        except BrokenPipeError:
            # That is the callbacks's own output: Trio's sockets have another error.
            raise
        except (
            HandshakeError,
            ConnectionClosed,
            OSError,
            trio.BrokenResourceError,
            trio.TooSlowError,
        ) as error:
            raise judged(error) from error

    @asynccontextmanager
    async def _open(self, address: SplitResult) -> AsyncIterator[WebSocketConnection]:
        """A connection that is closed at the end, and ends where nobody answers any more."""
        token = self._request.token
        resource = f"{address.path}?{address.query}" if address.query else address.path
        try:
            with trio.fail_after(CONNECT_S):
                stream = await self._connect(address)
            # trio-websocket leaves the stream open when the server is the first to close.
            async with stream, trio.open_nursery() as nursery:
                with trio.fail_after(CONNECT_S):
                    socket = await wrap_client_stream(
                        nursery,
                        stream,
                        address.netloc.rpartition("@")[2],
                        resource,
                        extra_headers=[(b"Authorization", f"Bearer {token}".encode())]
                        * bool(token),
                        max_message_size=_MAX_MESSAGE_BYTES,
                    )
                nursery.start_soon(_ping, socket)
                yield socket
        except BaseExceptionGroup as group:
            raise cause(group) from None

    def _receive(self, text: str | bytes) -> None:
        try:
            message: Message = json.loads(text)
            kind = message["type"]
        except (ValueError, TypeError, KeyError):
            raise LostError("what answers is no server of Pyrite's") from None
        self._since = position(self._since, message)
        if kind == "hello":
            self.greeted = self.known = True
            if self.lost:
                self.lost = False
                self._callbacks.regained()
        elif kind not in {"position", "subscribed"}:
            self._callbacks.message(text if isinstance(text, str) else text.decode(), message)


async def _ping(socket: WebSocketConnection) -> None:
    """Notice a server that has gone without a word."""
    while True:
        await trio.sleep(PING_EVERY_S)
        with trio.fail_after(PONG_S):
            await socket.ping()
