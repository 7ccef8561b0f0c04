"""The server over streamable HTTP, at ``/mcp``.

The service's gate stands before it: it answers only to its own names (against DNS rebinding),
listens to no foreign web page, and asks for a token as soon as there is one. A token's tier
decides which tools its bearer sees; each tier is a server of its own, so that what a tier hides
does not exist in it.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar, TypeVarTuple

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from werkzeug.datastructures import Headers

from actors.pipeline import cause
from pyrite.errors import ConfigError
from pyrite.mcp.desk import Desk
from pyrite.mcp.server import PyriteServer
from pyrite.server import connections, pages
from pyrite.server.credentials import NOBODY, Caller
from pyrite.server.gate import Gate, admitted, check_bind
from pyrite.server.problems import MEDIA_TYPE, ProblemError
from pyrite.services.tokens import Tier, TokenService
from pyrite.settings import Settings

PATH = "/mcp"

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Sessions open at a time; one is a few kilobytes.
_SESSIONS = 1000

#: How long a stop waits for open streams once all calls are answered, in seconds.
_GRACE_S = 0.3


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request as the gate looks at one."""

    scope: Any
    headers: Headers
    scheme: str

    @classmethod
    def by(cls, scope: Any) -> _Asked:
        """The request of a connection."""
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
        return cls(scope, Headers(headers), scope["scheme"])


class Gated:
    """An ASGI application that lets requests through to the servers of their callers' tiers."""

    def __init__(self, apps: Mapping[Tier, Any], gate: Gate) -> None:
        self._apps = apps
        self._gate = gate

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        try:
            tier, caller = await self._let_in(_Asked.by(scope))
        except ProblemError as refused:
            await _refuse(send, refused)
            return
        await self._apps[tier]({**scope, "user": _user(caller)}, receive, send)

    async def _let_in(self, asked: _Asked) -> tuple[Tier, Caller]:
        """Which server is the caller's, and who that is.

        Raises:
            ProblemError: none is.
        """
        if asked.scope["path"] != PATH:
            raise ProblemError(HTTPStatus.NOT_FOUND, "Not found", f"the server is at {PATH}")
        gate = self._gate
        called = gate.called(asked)
        pages.check(gate.names, asked, called)
        try:
            someone = await gate.who(asked, called)
        except ToolError as error:
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "Unavailable", str(error)) from error
        # Guessing at tokens is counted as well.
        gate.count(asked, someone or NOBODY)
        caller = admitted(someone, Tier.READ)
        # No token allows more than the server was started for.
        return max((each for each in self._apps if caller.may(each)), key=list(Tier).index), caller


def _user(caller: Caller) -> AuthenticatedUser | None:
    """The caller as the SDK knows one: whoever opens a session is the only one to use it."""
    if caller.token_id is None:
        return None
    name = caller.name or ""
    return AuthenticatedUser(
        AccessToken(token=caller.token_id, client_id=name, scopes=[], subject=caller.token_id)
    )


async def _refuse(send: Any, refused: ProblemError) -> None:
    """Answer with a problem (RFC 9457)."""
    body = {"type": "about:blank", "title": refused.title, "status": refused.status}
    content = json.dumps({**body, "detail": refused.detail}).encode()
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(content)),
        "Cache-Control": "no-store",
        **refused.headers,
    }
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": int(refused.status), "headers": raw})
    await send({"type": "http.response.body", "body": content})


async def _lifespan(receive: Any, send: Any) -> None:
    """Say that all is ready: what has to be opened is opened before."""
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def serve_http(
    desk: Desk,
    tier: Tier,
    settings: Settings,
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until told to stop.

    Args:
        desk: the services.
        tier: the highest that anybody has here.
        settings: where to listen, and which names and pages are allowed.
        stop: ends it when set.
        task_status: is told the URLs that it is bound to.

    Raises:
        ConfigError: it would listen to other computers, and there are no tokens.
    """

    async def hop(function: Callable[[*Ts], T], *args: *Ts) -> T:
        return await desk.hop(partial(function, *args))

    tokens = TokenService(desk.storage)
    await trio.to_thread.run_sync(check_bind, settings.host, tokens)
    gate = Gate.of(settings, desk.storage, desk.clock, hop)
    connections.install()
    async with AsyncExitStack() as opened:
        opened.callback(gate.credentials.close)
        apps = {}
        for each in (each for each in Tier if tier.includes(each)):
            server = PyriteServer(desk, each)
            apps[each] = server.streamable_http_app(
                streamable_http_path=PATH,
                max_request_body_size=settings.max_body_bytes,
                max_sessions=_SESSIONS,
                # The gate has looked at both headers already, and knows more names.
                transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            )
            await opened.enter_async_context(server.session_manager.run())
        app = Gated(apps, gate)
        finished = trio.Event()
        async with trio.open_nursery() as nursery:
            resting = await nursery.start(_rest, desk)
            bound = await nursery.start(
                partial(serve, app, _config(settings), shutdown_trigger=finished.wait, mode="asgi")
            )
            task_status.started([f"{url}{PATH}" for url in bound])
            await stop.wait()
            resting.cancel()
            # What is in hand is answered before connections are closed.
            await desk.finish(settings.grace_s)
            finished.set()


async def _rest(
    desk: Desk, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await desk.rest()


def _config(settings: Settings) -> Config:
    config = Config()
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    config.bind = [f"{host}:{settings.port}"]
    config.graceful_timeout = _GRACE_S
    config.include_server_header = False
    config.loglevel = "WARNING"
    return config


async def run_http(desk: Desk, tier: Tier, settings: Settings, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; ``say`` is told where, once it answers."""
    stop = trio.Event()
    start = partial(serve_http, desk, tier, settings, stop=stop)
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            try:
                bound = await nursery.start(start)
            except* OSError as group:
                where = f"{settings.host}, port {settings.port}"
                raise ConfigError(f"nothing can listen on {where}: {cause(group)}") from group
            for url in bound:
                say(url)
            async for _ in signals:
                stop.set()
                break


def at(settings: Settings, host: str, port: int) -> Settings:
    """The settings of a server that listens there."""
    return replace(settings, host=host, port=port)
