"""An app with every layer of the server but its routes, over a database of its own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from quart import Response, request, websocket
from quart_trio import QuartTrio

from actors.messages import Statistics
from pyrite.auth.tokens import Tier, TokenService
from pyrite.config.settings import Settings
from pyrite.server import health, logs
from pyrite.server.current import KEY
from pyrite.server.feed.websocket import CLIENTS, Clients
from pyrite.server.metrics import Metrics
from pyrite.server.middleware import problems, security
from pyrite.server.middleware.security import caller, public, requires
from pyrite.server.routes import metrics
from tests.fakes.database import temporary_storage


class FakeFeed:
    """A feed that has told of seven events."""

    last = 7


@dataclass
class AuthenticatedNode:
    """As much of a node as the gate, the metrics and the health checks look at."""

    settings: Settings
    clock: Callable[[], float] = time.time
    storage: Any = field(default_factory=temporary_storage)
    leads: bool = True
    worker: Statistics | None = None

    def __post_init__(self) -> None:
        self.tokens = TokenService(self.storage, self.clock)
        self.metrics = Metrics()
        self.feed = FakeFeed()
        self.closing = trio.Event()
        self.hops = 0

    async def run_sync(self, function: Callable[..., Any], *args: Any) -> Any:
        """Runs it here: nothing in these tests takes a thread but what is told to."""
        self.hops += 1
        await trio.lowlevel.checkpoint()
        return function(*args)

    def worker_state(self) -> Statistics | None:
        return self.worker


def make_node(**settings: Any) -> AuthenticatedNode:
    return AuthenticatedNode(Settings(home=Path("/nowhere"), **settings))


def make_app(node: AuthenticatedNode) -> QuartTrio:
    app = QuartTrio("pyrite", static_folder=None)
    app.extensions[KEY] = node
    # Two are connected, and one was too slow.
    app.extensions[CLIENTS] = Clients({object(), object()}, dropped=1)  # type: ignore[arg-type]
    logs.install(app)
    problems.install(app)
    security.install(app)
    metrics.install(app)
    health.install(app)
    add_routes(app)
    return app


def add_routes(app: QuartTrio) -> None:
    """A view of each tier, one for all, and one that says nothing."""

    @app.get("/api/read")
    @requires(Tier.READ)
    async def read() -> dict[str, Any]:
        return {"tier": caller().tier, "name": caller().name}

    @app.post("/api/write/<path:what>")
    @requires(Tier.WRITE)
    async def write(what: str) -> dict[str, Any]:
        return {"what": what, "body": await request.get_json()}

    @app.post("/api/admin")
    @requires(Tier.ADMIN)
    async def admin() -> dict[str, Any]:
        return {}

    @app.get("/open")
    @public
    async def for_all() -> dict[str, Any]:
        return {"tier": caller().tier}

    @app.route("/unmarked", methods=["GET", "POST"])
    async def unmarked() -> dict[str, Any]:
        return {}

    @app.get("/tagged")
    @requires(Tier.READ)
    async def tagged() -> Response:
        return Response("", headers={"ETag": '"1"'})

    @app.get("/broken")
    @requires(Tier.READ)
    async def broken() -> None:
        raise RuntimeError("a bug")

    @app.websocket("/ws")
    @requires(Tier.READ)
    async def feed() -> None:
        await websocket.accept()
        await websocket.send(str(caller().name))


#: A connection from and to this computer.
HERE: dict[str, Any] = {"client": ("127.0.0.1", 5), "server": ("127.0.0.1", 8707)}
#: A connection from another one.
THERE: dict[str, Any] = {"client": ("192.168.1.9", 5), "server": ("192.168.1.5", 8707)}


@asynccontextmanager
async def client(node: AuthenticatedNode) -> AsyncIterator[Client]:
    """Somebody who asks; the app is closed afterwards."""
    app = make_app(node)
    async with app.test_app() as running:
        yield Client(running.test_client())


class Client:
    """Asks as a program on this computer does, unless told otherwise."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def ask(
        self,
        path: str,
        method: str = "GET",
        *,
        token: str | None = None,
        where: dict[str, Any] = HERE,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> Response:
        return await self._inner.open(
            path, method=method, headers=given(token, headers), scope_base=where, **more
        )

    def websocket(
        self,
        *,
        token: str | None = None,
        where: dict[str, Any] = HERE,
        headers: dict[str, str] | None = None,
    ) -> Any:
        return self._inner.websocket("/ws", headers=given(token, headers), scope_base=where)

    def request(self, path: str, method: str, headers: dict[str, str]) -> Any:
        return self._inner.request(path, method=method, headers=headers, scope_base=HERE)


def given(token: str | None, headers: dict[str, str] | None) -> dict[str, str]:
    named = {"Host": "localhost:8707"} | (headers or {})
    return named if token is None else named | {"Authorization": f"Bearer {token}"}
