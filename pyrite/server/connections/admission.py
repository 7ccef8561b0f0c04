"""How many connections a process serves, so that it never runs out of file descriptors.

Whoever can connect can open connections and say nothing. Once they have taken the last file
descriptor, the database opens no file any more, which ends the service; and the clients behind
them wait for a turn that does not come. So the limit on descriptors is raised as far as the
system lets it be, some are kept back, and a connection too many is refused at once.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address

import trio

if sys.platform != "win32":
    import resource

_log = logging.getLogger("pyrite.server")

#: File descriptors that are asked for; as many connections would take about a gigabyte.
_DESCRIPTORS = 2**14

#: File descriptors kept back for the database, the model, folders that are followed and the log.
_RESERVED = 64

#: A small limit is shared: so much of it is for connections at least.
_LEAST_SHARE = 4

#: How often it is said that connections are refused, in seconds.
_SAID_EVERY_S = 60.0

#: Without a body to read first; the client has not even asked.
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Admission:
    """The connections of a process that are open, and how many may be."""

    def __init__(self, descriptors: int) -> None:
        self.most = max(descriptors - _RESERVED, descriptors // _LEAST_SHARE)
        #: One address has no more than half, so that it cannot shut out all others, and a proxy
        #: on another computer still gets many.
        self.most_per_peer = max(self.most // 2, 1)
        self._open = 0
        self._by_peer: Counter[str] = Counter()
        self._said = _Seldom()

    @contextmanager
    def admitted(self, peer: str) -> Iterator[bool]:
        """Count a connection from an address while it is open; false where it is one too many."""
        # Those of this computer may all be a proxy's, and whoever uses it can end us anyway.
        limited = not _is_loopback(peer)
        if self._open >= self.most or (limited and self._by_peer[peer] >= self.most_per_peer):
            if self._said.now():
                _log.warning(
                    "connections are refused: %d are open, of %d at most; %d of them from %s, "
                    "the latest to be refused",
                    *(self._open, self.most, self._by_peer[peer], peer),
                )
            yield False
            return
        self._open += 1
        self._by_peer[peer] += 1
        try:
            yield True
        finally:
            self._open -= 1
            self._by_peer[peer] -= 1
            if not self._by_peer[peer]:
                del self._by_peer[peer]


async def refuse(stream: trio.abc.Stream) -> None:
    """Say that the server is full, if the client takes it at once; the caller closes it."""
    if not isinstance(stream, trio.SocketStream):
        return  # TLS: to say it would take a handshake.
    with suppress(OSError, trio.BrokenResourceError), trio.move_on_after(1):
        await stream.send_all(REFUSAL)
        await stream.send_eof()


def raise_limit() -> int:
    """Raise the limit on file descriptors as far as is useful and allowed; the limit."""
    if sys.platform == "win32":
        return _DESCRIPTORS  # It has no such limit.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit, allowed = (math.inf if each == resource.RLIM_INFINITY else each for each in (soft, hard))
    wanted = min(_DESCRIPTORS, allowed)
    if limit < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(wanted), hard))
            limit = wanted
    return int(min(limit, _DESCRIPTORS))


class SaySeldom(logging.Filter):
    """Lets through what Trio says when the system accepts no connection, once a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._said = _Seldom()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is said; without the traceback, which says nothing."""
        record.exc_info = None
        return self._said.now()


class _Seldom:
    """What is said once a minute at most."""

    def __init__(self) -> None:
        self._last = -math.inf

    def now(self) -> bool:
        """Whether it may be said now; then not again for a while."""
        now = time.monotonic()
        if now - self._last < _SAID_EVERY_S:
            return False
        self._last = now
        return True


def _is_loopback(peer: str) -> bool:
    """Whether an address is this computer's own; what is no address is a Unix socket's."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return True
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
