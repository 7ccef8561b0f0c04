"""Authentication of requests to the server: REST, the WebSocket and MCP alike.

Without any token, all is allowed to those on this computer, and nothing to others.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from pyrite.api.problems import ProblemError
from pyrite.auth.allowed_hosts import AllowedHosts, only_here, read_host
from pyrite.auth.credentials import NOBODY, TRUSTED, Caller, Credentials, RunSync, bearer
from pyrite.auth.rate_limit import RateLimit
from pyrite.auth.tokens import Tier, TokenService
from pyrite.config.addresses import Host, is_loopback
from pyrite.config.settings import Settings
from pyrite.errors import ConfigError
from pyrite.storage.protocol import Storage

if TYPE_CHECKING:
    from quart import Request, Websocket

_log = logging.getLogger("pyrite.server")

#: Headers that a proxy adds: what comes through one did not begin on this computer.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


@dataclass(frozen=True, slots=True)
class Authentication:
    """The rules by which requests are let in: hosts, tokens and rate."""

    allowed_hosts: AllowedHosts
    credentials: Credentials
    rate: RateLimit

    @classmethod
    def of(
        cls, settings: Settings, storage: Storage, clock: Callable[[], float], run_sync: RunSync
    ) -> Authentication:
        """Authentication by the tokens of a storage."""
        return cls(
            AllowedHosts.of(settings),
            Credentials(storage, clock, run_sync),
            RateLimit(settings.rate_limit),
        )

    def host_of(self, request: Request | Websocket) -> Host:
        """The name by which a request calls the server.

        Raises:
            ProblemError: 400 where it is not called by one name, and 421 by one that is not its.
        """
        given = request.headers.getlist("Host")
        called = read_host(given[0]) if len(given) == 1 else None
        if called is None:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "Bad request", "one Host header is needed")
        if not self.allowed_hosts.answers_to(called, _arrived_at(request)):
            raise ProblemError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "Unknown host",
                f"this server is not called {called.name}; the setting allowed_hosts can add names",
            )
        return called

    async def authenticate(self, request: Request | Websocket, called: Host) -> Caller | None:
        """The caller; None with a token that is not valid, which is logged but for itself."""
        credentials = self.credentials
        await credentials.refresh()
        presented = None
        try:
            presented = bearer(request.headers)
            if presented is None:
                trusted = not credentials.any() and _on_this_computer(request, called)
                return TRUSTED if trusted else NOBODY
            found = credentials.verify(presented)
        except ValueError:
            found = None
        if found is None:
            meant = None if presented is None else credentials.name_of(presented)
            _log.warning(
                "a token that is not valid was refused",
                extra={"peer": _peer(request), "token_name": meant},
            )
        return found

    def count_request(self, request: Request | Websocket, someone: Caller) -> None:
        """Count a request of theirs.

        Raises:
            ProblemError: 429, with how long to wait.
        """
        wait = self.rate.take(someone.token_id or _peer(request))
        if wait:
            seconds = math.ceil(wait)
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "Too many requests",
                f"wait {seconds} s; the setting rate_limit says how often a client may ask",
                headers={"Retry-After": str(seconds)},
            )


def authorize(someone: Caller | None, tier: Tier) -> Caller:
    """The caller, who may do what takes that tier; others are refused as RFC 6750 says.

    Raises:
        ProblemError: 401 where a token that is valid might help, and 403 where one was shown.
    """
    if someone is None:
        raise _refusal(
            HTTPStatus.UNAUTHORIZED, "the token is not valid, or no longer", 'error="invalid_token"'
        )
    if someone.tier is None:
        raise _refusal(HTTPStatus.UNAUTHORIZED, "a token is needed: `Authorization: Bearer TOKEN`")
    if not someone.may(tier):
        raise _refusal(
            HTTPStatus.FORBIDDEN,
            f"this needs a token of the tier {tier}; this one is of the tier {someone.tier}",
            f'error="insufficient_scope", scope="{tier}"',
        )
    return someone


def check_bind(host: str, tokens: TokenService) -> None:
    """Refuse to listen where other computers can reach the server unless there are tokens.

    Raises:
        ConfigError: there are none; the message says what to do.
    """
    if host.startswith("unix:") or is_loopback(host) or tokens.any():
        return
    raise ConfigError(
        f"the server does not listen on {host or 'every address'} without tokens, for everybody "
        "who can reach it could read and change everything; make one with `pyrite token create "
        "NAME --tier read|write|admin`, or listen on 127.0.0.1"
    )


def _refusal(status: HTTPStatus, detail: str, *more: str) -> ProblemError:
    challenge = ", ".join(['Bearer realm="pyrite"', *more])
    return ProblemError(status, status.phrase, detail, headers={"WWW-Authenticate": challenge})


def _arrived_at(request: Request | Websocket) -> str | None:
    """The address of this computer that the connection came to; None is a Unix socket."""
    server = request.scope.get("server")
    # A Unix socket may be given as its path, without a port.
    return server[0] if server and server[1] is not None else None


def _on_this_computer(request: Request | Websocket, called: Host) -> bool:
    forwarded = any(name in request.headers for name in _FORWARDED)
    return not forwarded and only_here(called, _arrived_at(request))


def _peer(request: Request | Websocket) -> str:
    """The address of the client."""
    client = request.scope.get("client")
    return str(client[0]) if client else "this computer"
