"""The server over streamable HTTP, at ``/mcp``.

A gate stands before it, the same in kind as the service's: it answers only to its own names
(against DNS rebinding), listens to no foreign web page, and asks for a token as soon as there is
one. A token's tier decides which tools its bearer sees; each tier is a server of its own, so that
what a tier hides does not exist in it.
"""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
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
from pyrite.addresses import Host
from pyrite.errors import ConfigError
from pyrite.mcp.desk import Desk
from pyrite.mcp.server import PyriteServer
from pyrite.server.credentials import NOBODY, TRUSTED, Caller, Credentials, bearer
from pyrite.server.names import Names, only_here, read_host
from pyrite.server.rate import Rate
from pyrite.server.security import check_bind
from pyrite.services.tokens import Tier, TokenService
from pyrite.settings import Settings

PATH = "/mcp"

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Headers that a proxy adds: what comes through one did not begin on this computer.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")

#: Sessions open at a time; one is a few kilobytes.
_SESSIONS = 1000

#: How long a stop waits for open streams once all calls are answered, in seconds.
_GRACE_S = 0.3


class RefusedError(Exception):
    """A request that the gate turns away."""

    def __init__(self, status: HTTPStatus, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


class Gate:
    """An ASGI application that lets requests through to the servers of their callers' tiers."""

    def __init__(
        self, apps: Mapping[Tier, Any], names: Names, credentials: Credentials, rate: Rate
    ) -> None:
        self._apps = apps
        self._names = names
        self._credentials = credentials
        self._rate = rate

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        try:
            tier, caller = await self._let_in(scope)
        except RefusedError as refused:
            await _refuse(send, refused)
            return
        await self._apps[tier]({**scope, "user": _user(caller)}, receive, send)

    async def _let_in(self, scope: Any) -> tuple[Tier, Caller]:
        """Who is calling, and which server is theirs.

        Raises:
            RefusedError: neither.
        """
        if scope["path"] != PATH:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"the server is at {PATH}")
        headers = Headers([(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]])
        called = self._called(scope, headers)
        origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
        if not self._names.trusts(origin, site, scheme=scope["scheme"], called=called):
            raise RefusedError(
                HTTPStatus.FORBIDDEN, "a web page of another origin may not use this server"
            )
        caller, refused = NOBODY, None
        try:
            caller = await self._who(scope, headers, called)
        except RefusedError as error:
            refused = error
        # Guessing at tokens is counted as well.
        wait = self._rate.take(caller.token_id or _peer(scope))
        if wait:
            raise RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"wait {wait:.2g} s",
                **{"Retry-After": str(math.ceil(wait))},
            )
        if refused is not None:
            raise refused
        if caller.tier is None:
            raise _unauthorised("a token is needed: `Authorization: Bearer TOKEN`")
        # No token allows more than the server was started for.
        return max((each for each in self._apps if caller.may(each)), key=list(Tier).index), caller

    def _called(self, scope: Any, headers: Headers) -> Host:
        given = headers.getlist("Host")
        called = read_host(given[0]) if len(given) == 1 else None
        if called is None:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "one Host header is needed")
        if not self._names.answers_to(called, _arrived_at(scope)):
            raise RefusedError(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"this server is not called {called.name}; the setting allowed_hosts adds names",
            )
        return called

    async def _who(self, scope: Any, headers: Headers, called: Host) -> Caller:
        try:
            await self._credentials.refresh()
        except ToolError as error:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
        try:
            presented = bearer(headers)
        except ValueError as error:
            raise _unauthorised(str(error)) from error
        if presented is not None:
            found = self._credentials.verify(presented)
            if found is None:
                raise _unauthorised("the token is not valid, or no longer")
            return found
        forwarded = any(name in headers for name in _FORWARDED)
        here = not forwarded and only_here(called, _arrived_at(scope))
        return TRUSTED if here and not self._credentials.any() else NOBODY


def _unauthorised(detail: str) -> RefusedError:
    challenge = {"WWW-Authenticate": 'Bearer realm="pyrite"'}
    return RefusedError(HTTPStatus.UNAUTHORIZED, detail, **challenge)


def _arrived_at(scope: Any) -> str | None:
    """The address of this computer that the connection came to; None is a Unix socket."""
    server = scope.get("server")
    return server[0] if server and server[1] is not None else None


def _peer(scope: Any) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "this computer"


def _user(caller: Caller) -> AuthenticatedUser | None:
    """The caller as the SDK knows one: whoever opens a session is the only one to use it."""
    if caller.token_id is None:
        return None
    name = caller.name or ""
    return AuthenticatedUser(
        AccessToken(token=caller.token_id, client_id=name, scopes=[], subject=caller.token_id)
    )


async def _refuse(send: Any, refused: RefusedError) -> None:
    """Answer with a problem (RFC 9457)."""
    title = refused.status.phrase
    body = {"type": "about:blank", "title": title, "status": refused.status}
    content = json.dumps({**body, "detail": refused.detail}).encode()
    headers = {
        "Content-Type": "application/problem+json",
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
    await trio.to_thread.run_sync(check_bind, settings, settings.host, tokens)
    credentials = Credentials(desk.storage, desk.clock, hop)
    async with AsyncExitStack() as opened:
        opened.callback(credentials.close)
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
        gate = Gate(apps, Names.of(settings), credentials, Rate(settings.rate_limit))
        finished = trio.Event()
        async with trio.open_nursery() as nursery:
            resting = await nursery.start(_rest, desk)
            bound = await nursery.start(
                partial(serve, gate, _config(settings), shutdown_trigger=finished.wait, mode="asgi")
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


async def run_http(desk: Desk, tier: Tier, settings: Settings, say: Any) -> None:
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
