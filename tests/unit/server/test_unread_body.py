"""Answers go out whole, whatever the client is still sending."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from pyrite.server.middleware.unread_body import PATIENCE_S, answering

SCOPE = {"type": "http", "http_version": "1.1", "headers": [(b"content-length", b"2")]}


class Call:
    """One request, of which the body comes in when it is let."""

    def __init__(self) -> None:
        self.body = trio.Event()
        self.sent: list[dict[str, Any]] = []
        self.at: list[float] = []

    async def receive(self) -> dict[str, Any]:
        await self.body.wait()
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(message)
        self.at.append(trio.current_time())


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """Answers without looking at the body, which is read beside it all the same."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})
        nursery.cancel_scope.cancel()


async def test_a_body_under_way_is_awaited(autojump_clock: MockClock) -> None:
    call = Call()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answering(refuse), SCOPE, call.receive, call.send)
        await trio.sleep(PATIENCE_S / 2)
        assert not call.sent
        call.body.set()
    assert call.sent[0]["headers"] == []
    assert call.at[-1] < PATIENCE_S


@pytest.mark.parametrize(("version", "said"), [("1.1", True), ("2", False)])
async def test_a_body_that_does_not_come_costs_the_connection(
    version: str, said: bool, autojump_clock: MockClock
) -> None:
    call = Call()
    await answering(refuse)(SCOPE | {"http_version": version}, call.receive, call.send)
    assert ((b"connection", b"close") in call.sent[0]["headers"]) is said
    assert call.sent[1]["body"] == b"no"


async def test_without_a_body_nothing_is_awaited() -> None:
    call = Call()
    await answering(refuse)(SCOPE | {"headers": []}, call.receive, call.send)
    assert call.sent[0]["headers"] == []


async def test_the_last_part_is_sent_though_the_request_is_cancelled() -> None:
    call = Call()
    with trio.CancelScope() as scope:

        async def app(scope_: Any, receive: Any, send: Any) -> None:
            scope.cancel()
            await send({"type": "http.response.body", "body": b"all"})

        await answering(app)(SCOPE, call.receive, call.send)
    assert [message["body"] for message in call.sent] == [b"all"]


async def test_websockets_are_left_alone() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    given: Any = ({"type": "websocket"}, 1, 2)
    await answering(app)(*given)
    assert seen == [given]
