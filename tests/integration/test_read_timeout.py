"""How long a silent client is waited for, over real sockets and a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from h2.connection import H2Connection
from h2.events import ResponseReceived
from hypercorn.trio import serve
from trio.testing import MockClock

from pyrite.config.settings import Settings
from pyrite.server.connections import protocols
from pyrite.server.main import address_of, bind, hypercorn_config

#: Longer than any client may be silent that has something to send.
_LONG = 600.0


@pytest.fixture
def clock(autojump_clock: MockClock) -> MockClock:
    # What is on its way between two sockets of this computer arrives before the clock jumps.
    autojump_clock.autojump_threshold = 0.05
    return autojump_clock


async def slow(scope: Any, receive: Any, send: Any) -> None:
    """Answer after long, unless the client goes, as the web application does."""
    assert scope["type"] == "http"

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await trio.sleep(_LONG)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-late", b"1")]})
        await send({"type": "http.response.body", "body": b""})
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected() -> AsyncIterator[trio.SocketStream]:
    """A connection to a server whose answers take long."""
    protocols.install()
    bound = bind("127.0.0.1", 0)
    port = int(address_of(bound).rpartition(":")[2])
    config = hypercorn_config(Settings(home=Path("/nowhere")), bound)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, slow, config, shutdown_trigger=trio.sleep_forever))
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            yield stream
        nursery.cancel_scope.cancel()


async def everything(stream: trio.SocketStream) -> bytes:
    """All that comes before the server closes the connection, or has answered."""
    found = b""
    while data := await stream.receive_some():
        found += data
        if b"\r\n\r\n" in found:
            break
    return found


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
async def test_a_client_that_waits_for_its_answer_gets_it(clock: MockClock, more: bytes) -> None:
    async with connected() as stream:
        started = trio.current_time()
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n")
        assert b"x-late" in await everything(stream)
        assert trio.current_time() - started >= _LONG


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
    ],
)
async def test_a_client_with_something_to_send_is_not_waited_for(
    clock: MockClock, sent: bytes
) -> None:
    async with connected() as stream:
        started = trio.current_time()
        await stream.send_all(sent)
        assert b"x-late" not in await everything(stream)
        assert trio.current_time() - started < _LONG


async def test_over_http2_a_client_that_waits_for_its_answer_gets_it(clock: MockClock) -> None:
    names = (":method", ":path", ":scheme", ":authority")
    client = H2Connection()
    client.initiate_connection()
    client.send_headers(1, list(zip(names, ("GET", "/", "http", "x"), strict=True)), True)
    async with connected() as stream:
        started = trio.current_time()
        answers: list[Any] = []
        while not answers:
            await stream.send_all(client.data_to_send())
            data = await stream.receive_some()
            assert data, "the connection was closed"
            events = client.receive_data(data)
            answers = [each for each in events if isinstance(each, ResponseReceived)]
        assert trio.current_time() - started >= _LONG
