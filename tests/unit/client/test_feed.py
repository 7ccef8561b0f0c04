"""Following a feed through lost connections, with a server and a clock of the test's own."""

import json
from contextlib import suppress
from functools import partial

import pytest
import trio
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed, wrap_server_stream

from pyrite.client.feed import Callbacks, FeedRequest, follow
from pyrite.client.policy import RefusedError


class Server:
    """Lets a client in as often as the test has a part for it, and refuses it after that."""

    def __init__(self, *parts):
        self.parts = list(parts)
        self.asked = []
        self.tried = []

    async def connect(self, nursery, address):
        self.tried.append(trio.current_time())
        if not self.parts or (part := self.parts.pop(0)) is None:
            raise ConnectionRefusedError(111, "Connection refused")
        here, there = memory_stream_pair()
        nursery.start_soon(self._serve, nursery, there, part)
        return here

    async def _serve(self, nursery, stream, part):
        request = await wrap_server_stream(nursery, stream)
        self.asked.append((request.path, dict(request.headers)))
        if isinstance(part, int):
            await request.reject(part)
            return
        socket = await request.accept()
        with suppress(ConnectionClosed):
            await part(socket)


def say(*messages, code=None, reason=None):
    """A part: says these things, and closes, or goes on for ever."""

    async def part(socket):
        for message in messages:
            await socket.send_message(json.dumps(message))
        if code is None:
            await trio.sleep_forever()
        await socket.aclose(code, reason)

    return part


class Heard:
    def __init__(self):
        self.log = []
        self.callbacks = Callbacks(
            message=lambda text, message: self.log.append(message["type"]),
            lost=lambda why, known: self.log.append(("lost" if known else "away", why)),
            regained=lambda: self.log.append("back"),
        )


HELLO = {"type": "hello", "seq": 5, "last": 5}


async def followed(server, *, for_s=60, since=None, request=None):
    """What is heard of a server in a minute."""
    heard = Heard()
    request = request or FeedRequest("http://here:1")
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(for_s):
            await follow(
                request,
                heard.callbacks,
                since=since,
                chance=lambda: 1.0,
                connect=partial(server.connect, nursery),
            )
        nursery.cancel_scope.cancel()
    return heard.log


async def test_it_hears_what_is_said(autojump_clock):
    server = Server(say(HELLO, {"type": "entry_updated", "seq": 6}, {"type": "gap", "seq": 9}))
    request = FeedRequest("http://here:1", "pyrite_x_y", ["notes"], ["entry_updated"])
    assert await followed(server, request=request, since=5, for_s=1) == ["entry_updated", "gap"]
    ((path, headers),) = server.asked
    assert path == "/ws?since=5&kb=notes&type=entry_updated"
    assert headers[b"authorization"] == b"Bearer pyrite_x_y"


async def test_it_comes_back_from_where_it_was(autojump_clock):
    server = Server(
        say(HELLO, {"type": "a", "seq": 7}, code=1012, reason="the server is stopping"),
        None,
        None,
        say({"type": "hello", "seq": 7}, {"type": "position", "seq": 9}, code=1013),
        say({"type": "hello", "seq": 9}, {"type": "b", "seq": 10}),
    )
    assert await followed(server) == [
        *("a", ("lost", "the server is stopping"), "back"),
        *(("lost", "the connection broke"), "back", "b"),
    ]
    assert [path for path, _ in server.asked] == ["/ws", "/ws?since=7", "/ws?since=9"]


async def test_it_waits_longer_each_time_and_says_so_once(autojump_clock):
    server = Server()
    log = await followed(server, for_s=100)
    assert log == [("away", "connection refused")]
    begin = server.tried[0]
    assert [round(at - begin, 3) for at in server.tried] == [
        0,
        0.5,
        1.5,
        3.5,
        7.5,
        15.5,
        31.5,
        61.5,
        91.5,
    ]


@pytest.mark.parametrize("status", [401, 403, 422])
async def test_a_refusal_is_the_end(status, autojump_clock):
    server = Server(status)
    with pytest.RaisesGroup(RefusedError):
        await followed(server)
    assert len(server.tried) == 1


async def test_a_token_that_was_revoked_is_the_end(autojump_clock):
    server = Server(say(HELLO, code=1008, reason="the token is no longer valid"))
    with pytest.RaisesGroup(pytest.RaisesExc(RefusedError, match="no longer valid")):
        await followed(server)


async def test_a_server_that_has_gone_without_a_word_is_noticed(autojump_clock):
    async def deaf(socket):
        await socket.send_message(json.dumps(HELLO))
        socket._handle_ping_event = None
        socket._reader_running = False  # as if its computer had lost power
        await trio.sleep_forever()

    server = Server(deaf, say(HELLO))
    log = await followed(server)
    assert [each if isinstance(each, str) else each[0] for each in log] == ["lost", "back"]


async def test_something_else_answers(autojump_clock):
    async def other(socket):
        await socket.send_message("hello")
        await trio.sleep_forever()

    assert await followed(Server(other)) == [("away", "what answers is no server of Pyrite's")]


async def test_whoever_hears_may_have_had_enough(autojump_clock):
    def full(text, message):
        raise BrokenPipeError

    callbacks = Callbacks(full, lambda why, known: None, lambda: None)
    server = Server(say(HELLO, {"type": "a"}))
    with pytest.RaisesGroup(BrokenPipeError):
        async with trio.open_nursery() as nursery:
            connect = partial(server.connect, nursery)
            await follow(FeedRequest("http://here:1"), callbacks, connect=connect)
