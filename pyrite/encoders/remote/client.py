"""The HTTP client of an embedding server: blocking, with as many connections as it needs.

A request has to end when its time is over, and when nobody wants its answer any more. An HTTP
client's own time-outs bound each read and not the whole, and closing a socket does not wake the
thread that reads from it; shutting it down does. So each connection has a client of its own, which
says through its trace hook what its socket is, and whoever ends a request shuts that down.
"""

from __future__ import annotations

import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import httpx

from pyrite import __version__
from pyrite.config.addresses import is_loopback
from pyrite.encoders.remote.responses import Answer, Failure, FailureKind, plain

#: A server that is there takes connections at once, however busy it is; in seconds.
_CONNECT_S = 5.0
#: No answer is read beyond this, and of what is no answer only the beginning; in bytes.
_LONGEST_ANSWER = 64 * 2**20
_LONGEST_REFUSAL = 2**14
#: Connections for queries, beside those for documents.
_FOR_QUERIES = 4


@contextmanager
def deadline(seconds: float, function: Callable[[], None]) -> Iterator[None]:
    """Call the function if what is inside takes longer than so many seconds."""
    timer = threading.Timer(seconds, function)
    # Its thread must not keep the process from ending.
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@dataclass(frozen=True, slots=True)
class Timing:
    """The clocks and timers of an encoder."""

    #: Seconds that only go forward.
    clock: Callable[[], float] = time.monotonic
    #: The time since the epoch.
    now: Callable[[], float] = time.time
    #: Waits for an event, for so many seconds at most; whether it is set.
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait
    #: Calls a function if what is inside takes longer than so many seconds.
    deadline: Callable[[float, Callable[[], None]], AbstractContextManager[None]] = deadline


class Request:
    """One request for embeddings; any thread may cancel it.

    Attributes:
        content: the body, as JSON.
        timeout_s: for the whole of it, from waiting for a connection to the last byte.
        key: empty where none is needed.
        cancelled: whether it was, or its time is over.
    """

    def __init__(self, content: bytes, timeout_s: float, key: str) -> None:
        self.content = content
        self.timeout_s = timeout_s
        self.key = key
        self.cancelled = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def cancel(self) -> None:
        """End it, if it has not ended; does not wait."""
        with self._lock:
            self.cancelled = True
            self._shut_down()

    def use(self, connected: socket.socket | None) -> None:
        """Run over this socket from now on; None once nothing of the request is under way."""
        with self._lock:
            self._socket = connected
            if self.cancelled:
                self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            # One that is closed already needs no more. Not TLS's own method: that would take
            # the encryption from under the thread that reads.
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Client:
    """Connections to one server, for several threads at a time; each is opened when needed."""

    def __init__(self, url: str, concurrency: int, timing: Timing) -> None:
        """Connect nothing yet.

        Args:
            url: the server's; the environment's proxies are for others than this computer.
            concurrency: how many requests for documents there may be at a time.
            timing: what ends a request that takes too long.
        """
        # When debugging, it logs the headers of answers, which may hold what was sent.
        logging.getLogger("httpcore").setLevel(logging.INFO)
        self._url = url
        self._timing = timing
        #: Those that were used last come first, for they are open.
        self._idle: queue.LifoQueue[_Connection] = queue.LifoQueue()
        for _ in range(concurrency + _FOR_QUERIES):
            self._idle.put(_Connection(f"{url}/embeddings", self._new_client))

    def post(self, request: Request) -> Answer:
        """Ask, and read the answer.

        Raises:
            Failure: there was no answer in time, or it is too large.
        """
        too_late = f"gave no answer within {request.timeout_s:g} s"
        try:
            with self._timing.deadline(request.timeout_s, request.cancel):
                connection = self._idle.get(timeout=request.timeout_s)
                try:
                    answer = connection.post(request)
                finally:
                    self._idle.put(connection)
        except queue.Empty:
            raise Failure(FailureKind.TRANSIENT, too_late) from None
        except httpx.TransportError as error:
            # What went wrong may quote what was sent.
            said = plain(str(error), request.key) or type(error).__name__
            reason = too_late if request.cancelled else f"cannot be reached: {said}"
            raise Failure(FailureKind.TRANSIENT, reason) from None
        # The end of a connection may look like the end of an answer.
        if request.cancelled:
            raise Failure(FailureKind.TRANSIENT, too_late)
        return answer

    def close_idle(self) -> None:
        """Close the connections that no request uses now; does not wait."""
        idle = []
        with suppress(queue.Empty):
            while True:
                idle.append(self._idle.get_nowait())
        for connection in idle:
            connection.close()
            self._idle.put(connection)

    def _new_client(self) -> httpx.Client:
        """What keeps one connection."""
        return httpx.Client(
            headers={
                "User-Agent": f"pyrite/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
            # Each request has an end to be done by, whatever it is doing.
            timeout=httpx.Timeout(None, connect=_CONNECT_S),
            # Who is sent elsewhere would take the texts along, if not the key.
            follow_redirects=False,
            trust_env=not self._is_local,
            verify=self._context,
        )

    @property
    def _is_local(self) -> bool:
        return is_loopback(urlsplit(self._url).hostname or "")

    @cached_property
    def _context(self) -> ssl.SSLContext:
        if self._is_local and self._url.startswith("http:"):
            # Reading the certificates of all authorities takes a tenth of a second.
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return httpx.create_ssl_context(trust_env=not self._is_local)


class _Connection:
    """One connection, for one request at a time; it is opened again when it was closed."""

    def __init__(self, url: str, new_client: Callable[[], httpx.Client]) -> None:
        self._url = url
        self._new_client = new_client
        self._client: httpx.Client | None = None
        self._socket: socket.socket | None = None

    def post(self, request: Request) -> Answer:
        """Ask, and read the answer; raises :class:`httpx.TransportError`, and Failure."""

        def trace(event: str, info: dict[str, Any]) -> None:
            # Through a proxy, encryption may begin a second time.
            if event.endswith(("connect_tcp.complete", "start_tls.complete")):
                self._socket = info["return_value"].get_extra_info("socket")
                request.use(self._socket)

        headers = {"Content-Type": "application/json"}
        if request.key:
            headers["Authorization"] = f"Bearer {request.key}"
        if self._client is None:
            self._client = self._new_client()
        request.use(self._socket)
        try:
            with self._client.stream(
                "POST",
                self._url,
                content=request.content,
                headers=headers,
                extensions={"trace": trace},
            ) as response:
                return Answer(
                    response.status_code,
                    _body(response),
                    response.headers.get("Retry-After", ""),
                    response.headers.get("Location", ""),
                )
        finally:
            request.use(None)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = self._socket = None


def _body(response: httpx.Response) -> bytes:
    """The answer, or the beginning of a refusal."""
    most = _LONGEST_ANSWER if response.is_success else _LONGEST_REFUSAL
    body = bytearray()
    for part in response.iter_raw():
        body += part
        if len(body) > most:
            break
    if response.is_success and len(body) > most:
        raise Failure(FailureKind.PERMANENT, f"gives an answer of more than {most:,} bytes")
    encoding = response.headers.get("Content-Encoding", "identity")
    if response.is_success and encoding != "identity":
        # Not what was asked for, and a small answer could become a very large one.
        raise Failure(FailureKind.PERMANENT, f"gives an answer in the encoding {plain(encoding)}")
    return bytes(body[:most])
