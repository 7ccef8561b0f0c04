"""A parser of HTTP/1.1 that refuses requests of which a proxy could see another end.

Where a proxy and the server behind it disagree on where a request ends, the rest of one request
is taken for the beginning of the next, past the proxy's rules and in somebody else's name
("request smuggling"). h11 takes what older standards allowed; RFC 9112 lets a server refuse it.
"""

from __future__ import annotations

import re

import h11
from h11._receivebuffer import ReceiveBuffer

#: A line end that is not CRLF, and a header that goes on in another line.
_LOOSE = re.compile(rb"(?<!\r)\n|\r(?!\n)|\n[ \t]")


class StrictParser(h11.Connection):
    """A server's side of a connection that has each request end in one way only."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=most_bytes)
        self._receive_buffer = _StrictBuffer()

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next part of a request.

        Raises:
            RemoteProtocolError: the client has broken the protocol, or stretched it.
        """
        event = super().next_event()
        if isinstance(event, h11.Request):
            names = {name for name, _ in event.headers}
            in_chunks = b"transfer-encoding" in names
            if in_chunks and (b"content-length" in names or event.http_version < b"1.1"):
                # Nothing of what follows is read as a request.
                self._process_error(self.their_role)
                raise h11.RemoteProtocolError("a length, or an HTTP/1.0, with chunks")
        return event


class _StrictBuffer(ReceiveBuffer):
    """Where h11 takes the lines of a head, or of trailers, from; it drops how they ended."""

    _extracted = bytearray()

    def _extract(self, count: int) -> bytearray:
        self._extracted = super()._extract(count)
        return self._extracted

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """All lines up to an empty one, once that is there.

        Raises:
            LocalProtocolError: a line is folded, or ends without CRLF; h11 blames the client.
        """
        lines = super().maybe_extract_lines()
        if lines is not None and _LOOSE.search(self._extracted):
            raise h11.LocalProtocolError("a folded line, or a line end that is not CRLF")
        return lines
