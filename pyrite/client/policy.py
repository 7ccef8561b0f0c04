"""The retry policy of a feed client, as pure functions: where to connect, when to try again."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from trio_websocket import ConnectionClosed, ConnectionRejected

from pyrite.errors import ConfigError, PyriteError

#: The wait before the first new attempt, which doubles with each one that fails; in seconds.
BASE_S = 0.5
CAP_S = 30.0

#: Answers that another attempt may change: too many requests, and whatever is wrong within.
_TOO_MANY = 429
_SERVER_ERRORS = 500

#: What a server says is not told if it is longer, in characters.
_LONGEST_DETAIL = 500

#: What the server closes with when the client may not go on.
_REFUSED = 1008

#: What to do about an answer, in a few words.
_HINTS = {
    401: "a token is needed, or this one is not valid; set PYRITE_TOKEN to one that "
    "`pyrite token create` has made",
    403: "the token does not allow it",
}


class RefusedError(PyriteError):
    """The server does not let us follow the feed, and will not however often it is asked."""


class LostError(Exception):
    """The connection could not be made, or has ended; the message says how."""


def feed_url(server: str, *, since: int | None, kbs: Sequence[str], types: Sequence[str]) -> str:
    """The address of a server's feed.

    Args:
        server: as ``http://HOST:PORT``, with a path before it where a proxy has one.
        since: the last event that is known; None begins now.
        kbs: only of these knowledge bases.
        types: only these types.

    Raises:
        ConfigError: that is no server's address.
    """
    parts = urlsplit(server)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    try:
        usable = scheme is not None and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ConfigError(f"{server!r} is no server; write it as http://HOST:PORT")
    query = [("since", str(since))] if since is not None else []
    query += [("kb", kb) for kb in kbs] + [("type", each) for each in types]
    asked = f"?{urlencode(query, quote_via=quote)}" if query else ""
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/ws{asked}"


def wait_s(attempt: int, chance: float) -> float:
    """The wait before an attempt in seconds, so that many clients do not come back all at once.

    Args:
        attempt: how many have failed since the last success.
        chance: a random number from 0 to 1.
    """
    # From the exponent 10 on it is the cap anyway.
    longest: float = min(CAP_S, BASE_S * 2 ** min(attempt, 10))
    return longest * (0.5 + chance / 2)


def position(known: int | None, message: Mapping[str, Any]) -> int | None:
    """The position after a message."""
    seq = message.get("seq")
    return seq if isinstance(seq, int) else known


def _detail(body: bytes | None) -> str | None:
    """The detail of a problem document (RFC 9457) in a refusal, if there is one."""
    try:
        detail = json.loads(body or b"")["detail"]
    except (ValueError, TypeError, KeyError):
        return None
    told = isinstance(detail, str) and detail.isprintable() and len(detail) <= _LONGEST_DETAIL
    return detail if told else None


def judged(error: Exception) -> LostError:
    """The error that a failed connection amounts to: that the server is lost for now.

    Raises:
        RefusedError: there is no point in trying again.
    """
    if isinstance(error, ConnectionRejected):
        code: int = error.status_code
        if code < _SERVER_ERRORS and code != _TOO_MANY:
            hint = _HINTS.get(code) or _detail(error.body) or "it does not understand the request"
            raise RefusedError(f"the server refuses with {code}: {hint}")
        return LostError(f"the server answered {code}")
    if isinstance(error, ConnectionClosed):
        reason = getattr(error.reason, "reason", None)
        if getattr(error.reason, "code", None) == _REFUSED:
            raise RefusedError(f"the server ended the connection: {reason or 'not allowed'}")
        return LostError(reason or "the connection broke")
    # Trio says only that the stream is broken, because of that.
    if isinstance(error.__cause__, ssl.SSLCertVerificationError):
        raise RefusedError(f"the server's certificate is not trusted: {error.__cause__}")
    if isinstance(error, OSError) and error.strerror:
        return LostError(error.strerror.lower())
    return LostError(str(error) or "it does not answer")
