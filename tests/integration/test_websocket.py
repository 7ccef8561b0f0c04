"""The WebSocket, on a real server over real sockets: replay, live, filters, the slow, the end."""

import json

import pytest
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected

from pyrite.auth.tokens import Tier
from pyrite.server.app import create_app
from pyrite.server.feed.websocket import Patience
from pyrite.server.feed.websocket_writer import KEY
from pyrite.vault.entry_files import Draft
from tests.fakes.node import FakeNode
from tests.integration.live import LIMIT_S, serving


@pytest.fixture
def node(tmp_path):
    node = FakeNode(tmp_path, websocket_buffer=50)
    yield node
    node.close()


async def hear(socket, number):
    return [json.loads(await socket.get_message()) for _ in range(number)]


async def seqs(socket, number):
    return [body["seq"] for body in await hear(socket, number)]


async def until_closed(socket):
    """What is heard until the server closes, and the code and reason with which it does."""
    heard = []
    try:
        while True:
            heard.append(json.loads(await socket.get_message()))
    except ConnectionClosed as closed:
        return heard, (closed.reason.code, closed.reason.reason)


async def closing(socket):
    return (await until_closed(socket))[1]


async def test_a_client_hears_what_happens_from_now_on(node):
    async with serving(node) as server:
        server.commit(3)
        async with server.open() as socket:
            (hello,) = await hear(socket, 1)
            assert hello["type"] == "hello"
            server.commit(2)
            while hello["seq"] < 5:
                (body,) = await hear(socket, 1)
                assert (body["type"], body["seq"]) == ("entry_updated", hello["seq"] + 1)
                assert (body["kb"], body["id"], body["revision"]) == ("notes", "a", 1)
                hello = body


async def test_a_write_is_heard_by_everybody(node):
    node.add_kb()
    async with serving(node) as server, server.open() as one, server.open() as other:
        await hear(one, 1)
        await hear(other, 1)
        await node.run_sync(node.kbs.create_entry, "notes", Draft("Backups"))
        for socket in (one, other):
            while True:
                (body,) = await hear(socket, 1)
                if body["type"] == "entry_created":
                    break
            assert (body["kb"], body["id"]) == ("notes", "backups")


async def test_replay_and_then_live_without_gap_or_duplicate(node):
    async with serving(node) as server:
        server.commit(1200)
        async with server.open("?since=10") as socket:
            server.commit(5)
            (hello,) = await hear(socket, 1)
            assert hello["seq"] == 10
            assert await seqs(socket, 1195) == list(range(11, 1206))
            server.commit(5)
            assert await seqs(socket, 5) == list(range(1206, 1211))


async def test_what_was_pruned_is_said(node):
    async with serving(node) as server:
        server.commit(20)
        node.storage.prune_events(5)
        async with server.open("?since=3") as socket:
            hello, gap, *_ = await hear(socket, 7)
            assert hello["seq"] == 3
            assert gap == {"type": "gap", "seq": 15, "from": 4, "to": 15, "reason": "pruned"}


async def test_a_number_that_there_is_not_is_of_another_database(node):
    async with serving(node) as server:
        server.commit(4)
        async with server.open("?since=1000") as socket:
            hello, gap = await hear(socket, 2)
            assert hello["seq"] == 1000
            assert (gap["type"], gap["reason"]) == ("gap", "unknown_seq")
            assert gap["seq"] <= 4
            server.commit(3)
            assert await seqs(socket, 7 - gap["seq"]) == list(range(gap["seq"] + 1, 8))


async def test_only_what_was_asked_for(node):
    node.add_kb("notes")
    node.add_kb("blog")
    async with serving(node) as server:
        server.commit(1, kb="wiki")
        server.commit(1, kb="notes", kind="entry_deleted")
        server.commit(1, kb="notes")
        server.commit(1, kb="blog", kind="entry_deleted")
        async with server.open("?since=0&kb=notes&kb=blog&type=entry_deleted") as socket:
            assert await seqs(socket, 3) == [0, 4, 6]


async def test_a_subscription_can_be_changed(node):
    async with serving(node) as server, server.open("?type=kb_removed") as socket:
        await hear(socket, 1)
        server.commit(3)
        await socket.send_message('{"type": "subscribe", "kbs": ["notes"]}')
        answer = {"type": "subscribed", "kbs": ["notes"], "types": None}
        while (body := (await hear(socket, 1))[0]) != answer:
            assert body["kb"] == "notes"
        server.commit(1, kb="wiki")
        server.commit(1)
        while (await hear(socket, 1))[0]["seq"] < 5:
            pass


async def test_one_who_wants_little_is_told_where_it_stands(node):
    async with serving(node) as server:
        server.commit(2500)
        async with server.open("?since=0&type=kb_removed") as socket:
            _, *positions = await hear(socket, 3)
            assert [p["type"] for p in positions] == ["position", "position"]
            assert [p["seq"] for p in positions] == [1000, 2000]


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        ("nonsense", 1008, "not JSON"),
        ('{"type": "subscribe", "types": ["nonsense"]}', 1008, "a type is one of"),
        (b"\x00", 1003, "only text"),
        ("x" * 70_000, 1009, None),
        ("é" * 40_000, 1009, "too large"),
    ],
)
async def test_what_is_not_understood_ends_it(node, sent, code, reason):
    async with serving(node) as server, server.open() as socket:
        await hear(socket, 1)
        await socket.send_message(sent)
        found, why = await closing(socket)
        assert found == code
        assert reason is None or why.startswith(reason)


async def test_too_many_messages_end_it(node):
    async with serving(node) as server, server.open() as socket, trio.open_nursery() as nursery:

        async def ask():
            try:
                for _ in range(100):
                    await socket.send_message('{"type": "subscribe"}')
            except ConnectionClosed:
                pass

        nursery.start_soon(ask)
        assert await closing(socket) == (1008, "too many messages")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?since=x", "since"),
        ("?since=1&since=2", "since"),
        ("?type=nonsense", "type"),
        ("?typo=nonsense", "typo"),
    ],
)
async def test_an_address_that_asks_for_nothing_there_is(node, query, field):
    async with serving(node) as server:
        with pytest.raises(ConnectionRejected) as refused:
            async with server.open(query):
                pass
        assert refused.value.status_code == 422
        body = json.loads(refused.value.body)
        assert body["title"] == "Invalid request"
        assert [fault["field"] for fault in body["errors"]] == [field]


async def test_a_knowledge_base_that_there_is_not(node):
    node.add_kb("notes")
    async with serving(node) as server:
        with pytest.raises(ConnectionRejected) as refused:
            async with server.open("?kb=notes&kb=nope"):
                pass
        assert refused.value.status_code == 404
        assert json.loads(refused.value.body)["detail"] == "there is no knowledge base 'nope'"


async def test_one_that_is_removed_ends_nothing(node):
    node.add_kb("notes")
    async with serving(node) as server, server.open("?kb=notes") as socket:
        await hear(socket, 1)
        await node.run_sync(node.kbs.remove_kb, "notes")
        while (await hear(socket, 1))[0]["type"] != "kb_removed":
            pass
        server.commit(1)
        assert (await hear(socket, 1))[0]["type"] == "entry_updated"


async def test_so_many_connections_and_no_more(tmp_path):
    node = FakeNode(tmp_path, max_websockets=2)
    async with serving(node) as server:
        async with server.open() as one, server.open() as other:
            await hear(one, 1)
            await hear(other, 1)
            with pytest.raises(ConnectionRejected) as refused:
                async with server.open():
                    pass
            assert refused.value.status_code == 503
            assert (b"retry-after", b"5") in [(k.lower(), v) for k, v in refused.value.headers]
        await server.listeners(0)
        async with server.open() as third:
            await hear(third, 1)
    node.close()


async def test_a_token_that_is_revoked_ends_it(node):
    token = node.tokens.create("phone", Tier.READ)
    bearer = [(b"authorization", f"Bearer {token}".encode())]
    async with serving(node, Patience(look_s=0.01)) as server:
        with pytest.raises(ConnectionRejected) as refused:
            async with server.open():
                pass
        assert refused.value.status_code == 401
        async with server.open(headers=bearer) as socket:
            await hear(socket, 1)
            node.tokens.revoke("phone")
            assert await closing(socket) == (1008, "the token is no longer valid")


async def test_clients_are_told_when_the_server_stops(node):
    async with serving(node) as server, server.open() as one, server.open("?since=0") as other:
        await hear(one, 1)
        await hear(other, 1)
        node.closing.set()
        assert await closing(one) == (1012, "the server is stopping")
        assert await closing(other) == (1012, "the server is stopping")
        with pytest.raises(ConnectionRejected) as refused:
            async with server.open():
                pass
        assert refused.value.status_code == 503


async def flood(server, quick):
    """More than the sockets hold, as fast as the quick one reads."""
    for begin in range(1, 801, 20):
        server.commit(20, entry_id="x" * 50_000)
        assert await seqs(quick, 20) == list(range(begin, begin + 20))


async def test_one_who_does_not_read_is_told_and_disturbs_nobody(node):
    patience = Patience(stuck_s=LIMIT_S, slow_s=0)
    async with serving(node, patience) as server, server.open() as slow, server.open() as quick:
        await hear(quick, 1)
        await flood(server, quick)
        # Now it reads: whole messages without a gap, and then why there are no more.
        heard, (code, reason) = await until_closed(slow)
        assert (code, "too slow" in reason) == (1013, True)
        assert [body["seq"] for body in heard] == list(range(len(heard)))
        assert len(heard) < 800
        assert server.clients.dropped == 1
        server.commit()
        assert await seqs(quick, 1) == [801]


async def test_one_who_never_reads_is_cut_off(node):
    patience = Patience(stuck_s=LIMIT_S, look_s=0.01)
    async with serving(node, patience) as server, server.open(), server.open() as quick:
        await hear(quick, 1)
        await flood(server, quick)
        # By now nothing is being written but to the one that does not read.
        server.be(Patience(stuck_s=0, look_s=0.01))
        await server.listeners(1)
        assert server.clients.dropped == 1
        server.commit()
        assert await seqs(quick, 1) == [801]


async def test_one_who_never_reads_does_not_hold_up_the_end(node):
    """A write in progress is shielded by Hypercorn: nothing else would end it."""
    patience = Patience(stuck_s=LIMIT_S, look_s=0.01, closing_s=0.05)
    async with serving(node, patience) as server, server.open(), server.open() as quick:
        await hear(quick, 1)
        await flood(server, quick)
        node.closing.set()
        await server.listeners(0)


async def test_one_who_goes_while_a_write_is_stuck_leaves_nothing_behind(node):
    async with serving(node, Patience(stuck_s=LIMIT_S)) as server, server.open() as quick:
        await hear(quick, 1)
        async with server.open():
            await flood(server, quick)
        await server.listeners(1)


async def test_the_whole_app_leaves_the_way_out_as_it_is(node):
    """Were it wrapped by another part, messages would go one by one and nobody be cut off."""
    wires = []
    app = create_app(node)
    inner = app.asgi_app

    async def looking(scope, receive, send):
        await inner(scope, receive, send)
        if scope["type"] == "websocket":
            wires.append(scope[KEY])

    app.asgi_app = looking
    async with serving(node, app=app) as server, server.open() as socket:
        await hear(socket, 1)
        await socket.aclose()
        while not wires:  # noqa: ASYNC110 - it is not ours
            await trio.sleep(0.01)
    assert wires[0]._server() is not None
