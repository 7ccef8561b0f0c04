"""Responses sent whole, even where the request is refused before its body has come in.

Hypercorn closes a connection whose request was not read to its end, in the very call that takes
the last part of the answer. Quart-Trio takes the end of the stream for the client's leave and
cancels that call, and the connection would stay open for good, with a client that waits for an
answer to its next request. So that call is shielded.

A connection that is closed with something unread in it takes the answer along, if the client
has not read that yet. So what is on its way is awaited for a moment first; and a client whose
body still does not end is told that the connection will be closed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

import trio

#: How long the rest of a body that nobody wants is awaited, in seconds.
PATIENCE_S = 1.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]

_ANNOUNCES_BODY = frozenset({b"content-length", b"transfer-encoding"})


def answering(inner: App) -> App:
    """The ASGI application, with answers that go out whole."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await inner(scope, receive, send)
            return
        complete = trio.Event()
        if not any(name.lower() in _ANNOUNCES_BODY for name, _ in scope["headers"]):
            complete.set()

        async def noting() -> Message:
            message = await receive()
            if not message.get("more_body", False):
                complete.set()
            return message

        async def whole(message: Message) -> None:
            if message["type"] == "http.response.start" and not complete.is_set():
                with trio.move_on_after(PATIENCE_S):
                    await complete.wait()
                if not complete.is_set() and scope["http_version"].startswith("1"):
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            with trio.CancelScope(shield=last):
                await send(message)

        await inner(scope, noting, whole)

    return app
