"""One connection, whatever it sends, ends no server: raw bytes to real servers on loopback."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio import serve
from trio.testing import MockClock
from wsproto.connection import ConnectionType
from wsproto.events import CloseConnection, Ping, Pong

from pyrite.server.app import create_app
from pyrite.server.connections import protocols
from pyrite.server.connections.websocket_frames import CountingConnection
from pyrite.server.main import address_of, bind, hypercorn_config
from tests.fakes.node import FakeNode
from tests.integration.attacks import (
    ATTACKS,
    HTTP2,
    alive,
    assail,
    attack,
    break_off,
    frame,
    handshake,
    request,
)
from tests.integration.hands import Product
from tests.integration.test_mcp_http import serving as serving_mcp

LIMIT_S = 60

#: The type of the frame with which a server of HTTP/2 begins.
SETTINGS = b"\x04"


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


@asynccontextmanager
async def serving(node: FakeNode) -> AsyncIterator[str]:
    """Serve the node as the product does; what a connection lets out is raised here."""
    protocols.install()
    bound = bind("127.0.0.1", 0)
    url = address_of(bound)
    config = hypercorn_config(node.settings, bound)
    stop = trio.Event()
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            run = partial(serve, create_app(node), config, shutdown_trigger=stop.wait)
            await nursery.start(run)
            yield url
            assert await trio.to_thread.run_sync(alive, f"{url}/healthz")
            stop.set()
            nursery.cancel_scope.cancel()
    node.close()


def sockets() -> int:
    """How many sockets this process has open."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found += str(link.readlink()).startswith("socket:")
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the open files are read from /proc")
@pytest.mark.parametrize("name", ["a pipeline", "CONNECT", "HTTP/2 of data too late"])
async def test_nothing_is_held_for_a_client_that_has_gone(node: FakeNode, name: str) -> None:
    async with serving(node) as url:
        before = sockets()
        await trio.to_thread.run_sync(break_off, url, b"".join(ATTACKS[name]))
        while sockets() > before:  # noqa: ASYNC110 - the kernel tells nobody
            await trio.sleep(0.01)


async def test_the_server_goes_on(node: FakeNode) -> None:
    async with serving(node) as url:
        await trio.to_thread.run_sync(assail, url)


async def test_the_mcp_server_goes_on(product: Product) -> None:
    protocols.install()
    async with serving_mcp(product) as url:
        await trio.to_thread.run_sync(assail, url, b"/mcp")
        assert await trio.to_thread.run_sync(alive, url)


async def test_a_large_read_leaves_turns_to_the_others() -> None:
    largest, turns = 0, 0

    class Protocol:
        async def handle(self, event: Event) -> None:
            nonlocal largest
            assert isinstance(event, RawData)
            taken.append(event.data)
            largest = max(largest, len(event.data))

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    taken: list[bytes] = []
    unused: Any = None
    connection = protocols.Connection(unused, unused, unused, {}, unused)
    connection.protocol = Protocol()  # type: ignore[assignment]
    data = bytes(range(256)) * 256
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await connection._handle(data)
        nursery.cancel_scope.cancel()
    assert b"".join(taken) == data
    assert largest <= 4096
    assert turns >= 10


class Closing:
    """A stream of which the end is being sent."""

    async def send_all(self, data: bytes) -> None:
        raise trio.BusyResourceError("another task is using this stream")


async def test_a_ping_that_meets_the_close_is_dropped() -> None:
    events: list[Event] = []

    class Protocol:
        async def handle(self, event: Event) -> None:
            events.append(event)

    unused: Any = None
    stream: Any = Closing()
    connection = protocols.Connection(unused, unused, unused, {}, stream)
    connection.protocol = Protocol()  # type: ignore[assignment]
    await connection.protocol_send(RawData(b"ping"))
    assert events == [Closed()]


async def test_what_a_connection_died_of_is_logged_in_one_line(
    node: FakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "pyrite_1_" + "s" * 40
    sent = handshake(b"Sec-WebSocket-Protocol: \xff, " + secret.encode())
    async with serving(node) as url:
        await trio.to_thread.run_sync(attack, url, (sent,))
    (record,) = (each for each in caplog.records if "connection has" in each.message)
    assert (record.levelno, record.name) == (logging.WARNING, "pyrite.server")
    assert "closed: UnicodeDecodeError in " in record.message
    assert record.exc_info is None
    assert secret not in caplog.text


async def test_a_connection_is_upgraded_to_nothing_but_a_websocket(node: FakeNode) -> None:
    async with serving(node) as url:
        send = partial(trio.to_thread.run_sync, attack, url)
        for name in ("h2c", "h2c with settings of nonsense"):
            assert (await send(ATTACKS[name])).startswith(b"HTTP/1.1 200 ")
        assert (await send((handshake(),))).startswith(b"HTTP/1.1 101 ")
        # HTTP/2 may begin a connection, and not follow on another request in it.
        assert (await send((HTTP2,)))[3:4] == SETTINGS
        answers = await send((request() + HTTP2,))
        assert answers.count(b"HTTP/1.1 ") >= 2
        assert b"content-length: 0" in answers


async def test_a_connection_ends_when_its_client_has_gone(node: FakeNode) -> None:
    async with serving(node) as url:
        host, port = url.removeprefix("http://").split(":")
        async with await trio.open_tcp_stream(host, int(port)) as client:
            await client.send_eof()
            with trio.fail_after(LIMIT_S / 4):
                while await client.receive_some():
                    pass


#: Requests that a proxy may see end elsewhere; behind each, another is hidden.
AMBIGUOUS = {
    "a length and chunks": request(
        *(b"/healthz", b"Content-Length: 5", b"Transfer-Encoding: chunked"), method=b"POST"
    )
    + b"0\r\n\r\n",
    "chunks and a length": request(
        *(b"/healthz", b"Transfer-Encoding: chunked", b"Content-Length: 5"), method=b"POST"
    )
    + b"0\r\n\r\n",
    "chunks of HTTP/1.0": request(b"/healthz", b"Transfer-Encoding: chunked").replace(
        b"HTTP/1.1", b"HTTP/1.0"
    )
    + b"0\r\n\r\n",
    "two lengths": request(b"/healthz", b"Content-Length: 0", b"Content-Length: 5"),
    "two lengths in one": request(b"/healthz", b"Content-Length: 0, 5"),
    "a folded header": request(b"/healthz", b"X: y\r\n Content-Length: 5"),
    "a header folded by a tab": request(b"/healthz", b"X: y\r\n\tz"),
    "line feeds": request().replace(b"\r\n", b"\n"),
    "one line feed": request(b"/healthz", b"X: y\nContent-Length: 0"),
    "a line feed before the end": request()[:-2] + b"\n",
    "a carriage return": request(b"/healthz", b"X: y\rContent-Length: 5"),
    "a blank before a colon": request(b"/healthz", b"Content-Length : 0"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_a_request_of_which_the_end_is_ambiguous_is_refused(
    node: FakeNode, name: str
) -> None:
    async with serving(node) as url:
        parts = (AMBIGUOUS[name] + request(),)
        answer = await trio.to_thread.run_sync(attack, url, parts)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close" in answer.lower()
        assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the open files are read from /proc")
async def test_nothing_is_held_for_what_follows_a_refused_request(node: FakeNode) -> None:
    async with serving(node) as url:
        before = sockets()
        parts = (AMBIGUOUS["a length and chunks"] + request() * 1000,)
        await trio.to_thread.run_sync(attack, url, parts)
        with trio.fail_after(LIMIT_S / 4):
            while sockets() > before:  # noqa: ASYNC110 - the kernel tells nobody
                await trio.sleep(0.01)


async def test_a_line_feed_among_trailers_is_refused(node: FakeNode) -> None:
    sent = request(b"/healthz", b"Transfer-Encoding: chunked", method=b"POST")
    async with serving(node) as url:
        parts = (sent + b"0\r\nX: y\n\n" + request(),)
        answer = await trio.to_thread.run_sync(attack, url, parts)
        assert b" 200 " not in answer


@pytest.mark.parametrize(
    "flood",
    [
        frame(9) * 61,
        frame(10) * 62,
        frame(1, b"x", flags=0) + frame(0, flags=0) * 60,
    ],
    ids=["pings", "pongs", "fragments"],
)
async def test_too_many_frames_close_a_websocket(node: FakeNode, flood: bytes) -> None:
    refused = b"\x03\xf0too many frames"
    async with serving(node) as url:
        send = partial(trio.to_thread.run_sync, attack, url)
        assert refused in await send((handshake(), flood))
        assert refused not in await send((handshake(), flood[: len(flood) // 2]))


def pongs(connection: CountingConnection, number: int) -> list[Any]:
    """What comes of so many pongs, each with a zero mask."""
    connection.receive_data(frame(10) * number)
    return list(connection.events())


async def test_pongs_that_answer_pings_are_not_counted(autojump_clock: MockClock) -> None:
    connection = CountingConnection(ConnectionType.SERVER)
    for _ in range(200):
        connection.send(Ping())
        assert [type(each) for each in pongs(connection, 1)] == [Pong]
    # Pings that nobody has answered allow no more than one.
    for _ in range(200):
        connection.send(Ping())
    assert {type(each) for each in pongs(connection, 61)} == {Pong}
    await trio.sleep(61)
    assert {type(each) for each in pongs(connection, 60)} == {Pong}
    *_, last = pongs(connection, 1)
    assert isinstance(last, CloseConnection)
