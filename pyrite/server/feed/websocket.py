"""The WebSocket at ``/ws``: the feed for programs and pages outside.

Each client is a subscriber of the process's fan-out, which has every message rendered once. One
task sends what the feed has and waits while the client does not read; one reads what the client
asks for; one watches over both. Whichever first finds that the connection has to end says with
which code, and the sender closes it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import trio
from quart import Response, current_app, request, websocket
from quart_trio import QuartTrio

from actors.fanout import Fanout, Subscription
from pyrite.api.problems import ProblemError, fault
from pyrite.auth.tokens import Tier
from pyrite.server.current import server
from pyrite.server.feed import messages
from pyrite.server.feed.messages import BadRequestError, Interest, Message
from pyrite.server.feed.websocket_writer import KEY, WebSocketWriter
from pyrite.server.middleware import security
from pyrite.server.middleware.problems import problem

GOING_AWAY = 1012
TOO_SLOW = 1013
REFUSED = 1008
NOT_TEXT = 1003
TOO_LARGE = 1009

#: Subscriptions that a client may send in so many seconds.
_MOST_REQUESTS, _REQUESTS_S = 60, 60.0

#: A client to which nothing was sent for so many events is told where it stands, so that it does
#: not have to begin so far back when it comes again.
_SILENT_EVENTS = 1_000

#: Where the app keeps its patience, and its clients.
PATIENCE = "pyrite.websocket.patience"
CLIENTS = "pyrite.websocket.clients"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client is waited for, in seconds."""

    #: Until a write that does not end is given up, and the connection with it.
    stuck_s: float = 20.0
    #: A client that is far behind and took so long to read what it was sent is too slow.
    slow_s: float = 1.0
    #: For the close to get through when the server stops.
    closing_s: float = 0.5
    #: How often a connection is looked after.
    look_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection is closed."""

    code: int
    reason: str


@dataclass(slots=True, eq=False)
class Connection:
    """One client."""

    writer: WebSocketWriter
    caller: security.Caller
    interest: Interest
    ending: Ending | None = None
    sending: trio.CancelScope = field(default_factory=trio.CancelScope)
    dropped: bool = False

    def end(self, code: int, reason: str) -> None:
        """Have it closed, unless it is being closed already."""
        if self.ending is None:
            self.ending = Ending(code, reason)
            self.sending.cancel()


@dataclass(slots=True)
class Clients:
    """Those who are connected, and how many were cut off because they were too slow."""

    connected: set[Connection] = field(default_factory=set)
    dropped: int = 0

    def drop(self, connection: Connection) -> None:
        """Count one among those that were too slow, once."""
        if not connection.dropped:
            connection.dropped = True
            self.dropped += 1


def install(app: QuartTrio, patience: Patience | None = None) -> None:
    """Add the WebSocket to the app."""
    app.extensions[PATIENCE] = patience or Patience()
    app.extensions[CLIENTS] = Clients()
    app.websocket("/ws")(follow)
    app.get("/ws")(not_upgraded)
    inner = app.asgi_app

    async def with_writer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            scope[KEY] = WebSocketWriter(send)
        await inner(scope, receive, send)

    app.asgi_app = with_writer  # type: ignore[method-assign]


@security.requires(Tier.READ)
async def follow() -> None:
    """Send the feed until either side has had enough."""
    since, interest = _asked()
    await _check_kbs(interest)
    connected = _clients().connected
    served = server()
    if len(connected) >= served.settings.max_websockets:
        raise _unavailable("as many clients as the setting max_websockets allows are connected")
    if served.closing.is_set():
        raise _unavailable("the server is stopping")
    scope: Any = websocket.scope
    connection = Connection(scope[KEY], security.caller(), interest)
    connected.add(connection)
    try:
        await websocket.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, connection)
            nursery.start_soon(_look_after, connection)
            with connection.sending:
                await _send(connection, served.feed, since)
            if connection.ending is not None:
                with connection.writer.writing():
                    await websocket.close(connection.ending.code, connection.ending.reason)
            nursery.cancel_scope.cancel()
    finally:
        connected.discard(connection)


@security.public
async def not_upgraded() -> Response:
    """Say what this address is for, to whoever opens no WebSocket."""
    # Such headers are of one connection, and HTTP/2 has none.
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    return problem(
        HTTPStatus.UPGRADE_REQUIRED,
        "Upgrade required",
        "this is a WebSocket, the live feed of events: open it with a client for WebSockets, or "
        "with `pyrite watch`",
        headers=upgrade if request.http_version.startswith("1") else None,
    )


def _asked() -> tuple[int | None, Interest]:
    """What the address asks for.

    Raises:
        ProblemError: 422; it asks for nothing that can be given.
    """
    query = websocket.args
    try:
        messages.check_names(query)
        since = messages.since(query.getlist("since"))
        return since, messages.interest(query.getlist("kb"), query.getlist("type"))
    except BadRequestError as error:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "Invalid request",
            str(error),
            errors=[fault(error.field, str(error))],
        ) from None


async def _check_kbs(interest: Interest) -> None:
    """Refuse knowledge bases that there are not; one that goes later ends nothing.

    Raises:
        NotFoundError: 404; the message says which.
    """
    served = server()

    def check() -> None:
        for kb in sorted(interest.kbs or ()):
            served.kbs.kb(kb)

    if interest.kbs:
        await served.run_sync(check)


def _unavailable(detail: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE, "Unavailable", detail, headers={"Retry-After": "5"}
    )


def _clients() -> Clients:
    found: Clients = current_app.extensions[CLIENTS]
    return found


async def _send(connection: Connection, feed: Fanout[Message], since: int | None) -> None:
    """Send what follows ``since``, then what comes, as long as the client reads."""
    slow_s, most = current_app.extensions[PATIENCE].slow_s, server().settings.websocket_buffer
    with feed.subscribe(since) as subscription:
        greeting = [messages.hello(subscription.position, feed.last)]
        if subscription.position > feed.last and subscription.position > await feed.newest():
            subscription.position = feed.last
            greeting.append(messages.gap(1, feed.last, ahead=True))
        await connection.writer.send(greeting)
        caught_up, told = subscription.waiting <= most, subscription.position
        while True:
            wanted = _wanted(connection, await subscription.take(), told, subscription)
            if not wanted:
                continue
            told = subscription.position
            took_s = await connection.writer.send(wanted)
            behind = subscription.waiting > most
            # One who comes back after long is behind too, and catches up as fast as it can.
            if behind and caught_up and took_s >= slow_s:
                _clients().drop(connection)
                connection.end(TOO_SLOW, "too slow; come back with the seq of your last message")
                return
            caught_up = caught_up or not behind


def _wanted(
    connection: Connection, taken: list[Message], told: int, subscription: Subscription[Message]
) -> list[Message]:
    """What of the messages the client wants, or at times where it stands."""
    wanted = [message for message in taken if connection.interest.wants(message)]
    if not wanted and subscription.position - told >= _SILENT_EVENTS:
        return [messages.position(subscription.position)]
    return wanted


async def _read(connection: Connection) -> None:
    """Do what the client asks for."""
    asked: deque[float] = deque(maxlen=_MOST_REQUESTS)
    while True:
        data = await websocket.receive()
        now = trio.current_time()
        if len(asked) == _MOST_REQUESTS and now - asked[0] < _REQUESTS_S:
            return connection.end(REFUSED, "too many messages")
        asked.append(now)
        if not isinstance(data, str):
            return connection.end(NOT_TEXT, "only text is understood")
        if len(data.encode()) > messages.MAX_REQUEST_BYTES:
            return connection.end(TOO_LARGE, "too large a message")
        try:
            connection.interest = messages.subscription(data)
        except BadRequestError as error:
            return connection.end(REFUSED, str(error))
        # Writes are made in order: none that was begun before comes after this answer.
        await connection.writer.send([messages.subscribed(connection.interest)])


async def _look_after(connection: Connection) -> None:
    """Close the connection when the server stops or the token is gone, and cut off the stuck."""
    closing, writer = server().closing, connection.writer
    try:
        while not closing.is_set():
            patience: Patience = current_app.extensions[PATIENCE]
            with trio.move_on_after(patience.look_s):
                await closing.wait()
            writing_s = writer.writing_s
            if writing_s is not None and writing_s > patience.stuck_s:
                _clients().drop(connection)
                return await writer.cut()
            if writer.closed:
                # Hypercorn closes by itself when a message is too large, and goes on reading.
                await writer.cut()
            elif not await security.still_valid(connection.caller):
                connection.end(REFUSED, "the token is no longer valid")
        connection.end(GOING_AWAY, "the server is stopping")
        await trio.sleep(current_app.extensions[PATIENCE].closing_s)
    finally:
        # Whatever ends this, a write that does not end by itself must not hold it up.
        if writer.writing_s is not None:
            with trio.CancelScope(shield=True):
                await writer.cut()
