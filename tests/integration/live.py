"""The feed on a real server over real sockets, within the test's own run of Trio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio
from trio_websocket import WebSocketConnection

from pyrite.server.current import KEY
from pyrite.server.feed import websocket
from pyrite.server.feed.websocket import CLIENTS, PATIENCE, Clients, Patience
from pyrite.server.middleware import problems, security
from pyrite.storage.sqlite.tables import feed as rows
from tests.fakes.node import FakeNode
from tests.fakes.websockets import open_websocket

#: No test waits so long unless something is wrong.
LIMIT_S = 30


class Server:
    """A server of this test's own."""

    def __init__(self, node: FakeNode, app: QuartTrio, url: str) -> None:
        self.node = node
        self.app = app
        self.url = url

    def be(self, patience: Patience) -> None:
        """Be as patient as this from now on."""
        self.app.extensions[PATIENCE] = patience

    def commit(
        self,
        number: int = 1,
        kb: str = "notes",
        kind: str = "entry_updated",
        entry_id: str = "a",
    ) -> None:
        """So many events in one transaction."""
        with self.node.storage._db.write() as conn:
            for _ in range(number):
                rows.append(conn, kind, kb, entry_id, 1, 0.5)

    def open(
        self, query: str = "", headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> AbstractAsyncContextManager[WebSocketConnection]:
        return open_websocket(f"{self.url}/ws{query}", headers)

    @property
    def clients(self) -> Clients:
        """Who is connected, and how many were too slow."""
        clients: Clients = self.app.extensions[CLIENTS]
        return clients

    async def listeners(self, number: int) -> None:
        """Wait until so many follow the feed."""
        while self.node.feed.subscribers != number:  # noqa: ASYNC110 - not ours
            await trio.sleep(0.01)


@asynccontextmanager
async def serving(
    node: FakeNode,
    patience: Patience | None = None,
    *,
    app: QuartTrio | None = None,
    limit_s: float = LIMIT_S,
) -> AsyncIterator[Server]:
    """Serve the node's feed; afterwards the server has to stop by itself.

    Without an app, it is one that has no more than the feed.
    """
    if app is None:
        app = QuartTrio("pyrite")
        app.extensions[KEY] = node
        problems.install(app)
        security.install(app)
        websocket.install(app, patience)
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.backlog = 1000
    config.graceful_timeout = 1
    config.websocket_max_message_size = 64 * 1024
    with trio.fail_after(limit_s):
        async with trio.open_nursery() as nursery:
            await nursery.start(node.feed.run)
            stop, stopped = trio.Event(), trio.Event()

            async def served(task_status: trio.TaskStatus[list[str]]) -> None:
                await serve(app, config, shutdown_trigger=stop.wait, task_status=task_status)
                stopped.set()

            (address,) = await nursery.start(served)
            yield Server(node, app, address.replace("http", "ws"))
            node.closing.set()
            stop.set()
            # What is shielded must end by itself now.
            await stopped.wait()
            nursery.cancel_scope.cancel()
