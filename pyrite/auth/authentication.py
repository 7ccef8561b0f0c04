"""Authentication: who is let in, whatever serves the request, REST and MCP alike.

Without any token, all is allowed to those on this computer, and nothing to others.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

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
    from werkzeug.datastructures import Headers

_log = logging.getLogger("pyrite.server")

#: Headers that a proxy adds: what comes through one did not begin on this computer.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


class Asked(Protocol):
    """As much of a request as authentication looks at."""

    @property
    def scope(self) -> Any:
        """What ASGI says of its connection."""
        ...

    @property
    def headers(self) -> Headers:
        """Its headers."""
        ...

    @property
    def scheme(self) -> str:
        """``http``, ``https``, ``ws`` or ``wss``."""
        ...


@dataclass(frozen=True, slots=True)
class Authentication:
    """What requests are judged by."""

    names: AllowedHosts
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

    def called(self, asked: Asked) -> Host:
        """By which of its names the server is called.

        Raises:
            ProblemError: 400 where it is not called by one name, and 421 by one that is not its.
        """
        given = asked.headers.getlist("Host")
        called = read_host(given[0]) if len(given) == 1 else None
        if called is None:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "Bad request", "one Host header is needed")
        if not self.names.answers_to(called, _arrived_at(asked)):
            raise ProblemError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "Unknown host",
                f"this server is not called {called.name}; the setting allowed_hosts can add names",
            )
        return called

    async def who(self, asked: Asked, called: Host) -> Caller | None:
        """Who is calling; None with a token that is not valid, which is logged but for itself."""
        credentials = self.credentials
        await credentials.refresh()
        presented = None
        try:
            presented = bearer(asked.headers)
            if presented is None:
                trusted = not credentials.any() and _on_this_computer(asked, called)
                return TRUSTED if trusted else NOBODY
            found = credentials.verify(presented)
        except ValueError:
            found = None
        if found is None:
            meant = None if presented is None else credentials.name_of(presented)
            _log.warning(
                "a token that is not valid was refused",
                extra={"peer": _peer(asked), "token_name": meant},
            )
        return found

    def count(self, asked: Asked, someone: Caller) -> None:
        """Count a request of theirs.

        Raises:
            ProblemError: 429, with how long to wait.
        """
        wait = self.rate.take(someone.token_id or _peer(asked))
        if wait:
            seconds = math.ceil(wait)
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "Too many requests",
                f"wait {seconds} s; the setting rate_limit says how often a client may ask",
                headers={"Retry-After": str(seconds)},
            )


def admitted(someone: Caller | None, tier: Tier) -> Caller:
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


def _arrived_at(asked: Asked) -> str | None:
    """The address of this computer that the connection came to; None is a Unix socket."""
    server = asked.scope.get("server")
    # A Unix socket may be given as its path, without a port.
    return server[0] if server and server[1] is not None else None


def _on_this_computer(asked: Asked, called: Host) -> bool:
    forwarded = any(name in asked.headers for name in _FORWARDED)
    return not forwarded and only_here(called, _arrived_at(asked))


def _peer(asked: Asked) -> str:
    """The address of the client."""
    client = asked.scope.get("client")
    return str(client[0]) if client else "this computer"
