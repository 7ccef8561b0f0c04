"""A connection to an embedding server: an HTTP client on Trio, in a thread of its own.

An encoder is called in worker threads, and blocks. What several of these calls share, open
connections above all, lives in one Trio run in a thread of its own, for as long as the session.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
import trio

from pyrite import __version__
from pyrite.config.addresses import is_loopback
from pyrite.encoders.remote.failures import Answer, Failure, Kind, plain
from pyrite.encoders.remote.options import Outside
from pyrite.encoders.remote.trio_thread import StoppedError, TrioThread

T = TypeVar("T")

#: A server that is there takes connections at once, however busy it is; in seconds.
_CONNECT_S = 5.0
#: No answer is read beyond this, and of what is no answer only the beginning; in bytes.
_LONGEST_ANSWER = 64 * 2**20
_LONGEST_REFUSAL = 2**14
#: Connections for queries, beside those for documents.
_FOR_QUERIES = 4


@dataclass(frozen=True, slots=True)
class Question:
    """One request for embeddings."""

    url: str
    #: The body, as JSON.
    content: bytes
    #: For the whole of it, from the first byte sent to the last received, in seconds.
    timeout_s: float
    #: Empty where none is needed.
    key: str = field(default="", repr=False)


class Session:
    """One client. It can be used by several threads at a time until it is closed."""

    def __init__(self, concurrency: int, url: str, outside: Outside) -> None:
        """Start the thread; nothing is connected before the first request.

        Args:
            concurrency: how many requests for documents there may be at a time.
            url: the server's; the environment's proxies are for others than this computer.
            outside: what ends a request that takes too long.
        """
        self._outside = outside
        # When debugging, it logs the headers of answers, which may hold what was sent.
        logging.getLogger("httpcore").setLevel(logging.INFO)
        parts = urlsplit(url)
        here = is_loopback(parts.hostname or "")
        # Reading the certificates of all authorities takes a tenth of a second.
        no_authorities = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        most = concurrency + _FOR_QUERIES
        self._client = httpx.AsyncClient(
            headers={
                "User-Agent": f"pyrite/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            limits=httpx.Limits(max_connections=most, max_keepalive_connections=most),
            # Each request has an end to be done by, whatever it is doing.
            timeout=httpx.Timeout(None, connect=_CONNECT_S),
            # Who is sent elsewhere would take the texts along, if not the key.
            follow_redirects=False,
            trust_env=not here,
            verify=no_authorities if here and parts.scheme == "http" else True,
        )
        self._thread = TrioThread("remote-encoder", self._client.aclose)

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run an async function on the session's Trio thread and wait for its result.

        Raises:
            Failure: the session was closed meanwhile.
        """
        try:
            return self._thread.run(function)
        except StoppedError:
            reason = "was not asked: the connection is being closed"
            raise Failure(Kind.PASSING, reason) from None

    async def post(self, question: Question) -> Answer:
        """Ask, and read the answer; to be called on the session's Trio thread.

        Raises:
            Failure: there was no answer, or it is too large.
        """
        headers = {"Content-Type": "application/json"}
        if question.key:
            headers["Authorization"] = f"Bearer {question.key}"
        try:
            with self._outside.fail_after(question.timeout_s):
                request = self._client.build_request(
                    "POST", question.url, content=question.content, headers=headers
                )
                request.stream = _Whole(question.content)
                async with aclosing(await self._client.send(request, stream=True)) as response:
                    return Answer(
                        response.status_code,
                        await _body(response),
                        response.headers.get("Retry-After", ""),
                        response.headers.get("Location", ""),
                    )
        except trio.TooSlowError:
            reason = f"gave no answer within {question.timeout_s:g} s"
            raise Failure(Kind.PASSING, reason) from None
        except httpx.TransportError as error:
            # What went wrong may quote what was sent.
            said = plain(str(error), question.key) or type(error).__name__
            reason = f"cannot be reached: {said}"
            raise Failure(Kind.PASSING, reason) from None

    def stop(self) -> None:
        """End what is under way, and close the connections; does not wait."""
        self._thread.stop()

    def close(self) -> None:
        """Do the same, and wait until it is done."""
        self._thread.stop()
        self._thread.join()


class _Whole(httpx.AsyncByteStream):
    """A request's body, in one piece.

    The library's own is a generator, which a request that is given up would leave half used.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self._content)


class _Once:
    """Gives one piece."""

    def __init__(self, piece: bytes) -> None:
        self._pieces = iter([piece])

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


async def _body(response: httpx.Response) -> bytes:
    """The answer, or the beginning of a refusal."""
    encoding = response.headers.get("Content-Encoding", "identity")
    body = bytearray()
    # Cancelled rather than left: leaving would abandon the generators that the body comes from.
    with trio.CancelScope() as scope:
        most = _LONGEST_ANSWER if response.is_success else _LONGEST_REFUSAL
        async for part in response.aiter_raw():
            body += part
            if len(body) > most:
                scope.cancel()
    if response.is_success and len(body) > most:
        raise Failure(Kind.FINAL, f"gives an answer of more than {most:,} bytes")
    if response.is_success and encoding != "identity":
        # Not what was asked for, and a small answer could become a very large one.
        raise Failure(Kind.FINAL, f"gives an answer in the encoding {plain(encoding)}")
    return bytes(body[:most])
