"""What somebody who can connect may send to end a server, byte by byte."""

from __future__ import annotations

import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import urlsplit

import httpx

#: No answer takes so long unless something is wrong, in seconds.
LIMIT_S = 30

#: After so long nothing more comes.
_QUIET_S = 0.2

#: How a client of HTTP/2 begins, without any settings.
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])

#: Of the WebSocket protocol's own example; the key may be any.
_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def request(target: bytes = b"/healthz", *headers: bytes, method: bytes = b"GET") -> bytes:
    """A request with a body of none."""
    return b"\r\n".join(
        [method + b" " + target + b" HTTP/1.1", b"Host: localhost", *headers, b"", b""]
    )


def handshake(*headers: bytes, target: bytes = b"/ws") -> bytes:
    """The request that opens a WebSocket."""
    return request(
        *(target, b"Connection: Upgrade", b"Upgrade: websocket"),
        *(b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + _KEY, *headers),
    )


def frame(opcode: int, data: bytes = b"", *, flags: int = 0x80, masked: bool = True) -> bytes:
    """A frame of a WebSocket; the mask is of zeros."""
    mask = 0x80 if masked else 0
    if len(data) < 126:
        head = struct.pack("!BB", flags | opcode, mask | len(data))
    else:
        head = struct.pack("!BBQ", flags | opcode, mask | 127, len(data))
    return head + bytes(4 if masked else 0) + data


def _frame2(kind: int, flags: int, stream: int, data: bytes = b"") -> bytes:
    """A frame of HTTP/2."""
    return len(data).to_bytes(3, "big") + struct.pack("!BBL", kind, flags, stream) + data


def _request2(stream: int, *headers: tuple[bytes, bytes], end: bool = True) -> bytes:
    """The frame of HTTP/2 that begins a request, without compression."""
    block = b"".join(
        b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in headers
    )
    return _frame2(0x1, 0x4 | end, stream, block)


_GET = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"localhost"))

#: Before each part but the first, an answer is awaited.
ATTACKS: dict[str, tuple[bytes, ...]] = {
    # Before there is a request.
    "nothing": (),
    "garbage": (bytes(range(256)) * 8,),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),),
    "half a request": (request()[:-20],),
    "half a body": (request(b"/api/kbs", b"Content-Length: 100", method=b"POST") + b"{",),
    "huge headers": (request(b"/healthz", b"X: " + b"x" * 500_000),),
    "many headers": (request(b"/healthz", *[b"X: y"] * 20_000),),
    "a target that is not ASCII": (request(b"/\xff"),),
    "a header that is not ASCII": (request(b"/healthz", b"X: \xff"),),
    "bad chunks": (
        request(b"/api/kbs", b"Transfer-Encoding: chunked", method=b"POST") + b"zz\r\n",
    ),
    "two lengths": (
        request(b"/api/kbs", b"Content-Length: 1", b"Content-Length: 2", method=b"POST"),
    ),
    "length and chunks": (
        request(b"/x", b"Content-Length: 1", b"Transfer-Encoding: chunked", method=b"POST")
        + b"0\r\n\r\n",
    ),
    "a method in lower case": (request(method=b"get"),),
    "CONNECT": (request(b"localhost:1", method=b"CONNECT"),),
    "a pipeline": (request() * 50,),
    "a pipeline that breaks off": (request() * 50 + b"\0\0\0",),
    "continue": (request(b"/api/kbs", b"Content-Length: 9", b"Expect: 100-continue"),),
    # Around a handshake.
    "data behind a handshake": (handshake() + b"x",),
    "data behind a refused handshake": (handshake(target=b"/nowhere") + b"x" * 100,),
    "data behind an unauthorized handshake": (
        handshake(b"Authorization: Bearer pyrite_0_wrong") + frame(1, b"{}"),
    ),
    "data after a refused handshake": (handshake(target=b"/nowhere"), frame(1, b"{}")),
    "a request behind a handshake": (handshake() + request(),),
    "a request behind a refused handshake": (handshake(target=b"/nowhere") + request(),),
    "a handshake with a body": (handshake(b"Content-Length: 5") + b"hello",),
    "a handshake in chunks": (
        handshake(b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
    ),
    "a handshake that expects": (handshake(b"Expect: 100-continue", b"Content-Length: 5"),),
    "a handshake of another version": (handshake().replace(b": 13", b": 8") + b"x",),
    "a handshake without a key": (handshake().replace(b"Key", b"Cow") + b"x",),
    "a connection that is not ASCII": (handshake(b"Connection: Upgrade, \xff"),),
    "a subprotocol that is not ASCII": (handshake(b"Sec-WebSocket-Protocol: \xff"),),
    "an extension that is not ASCII": (handshake(b"Sec-WebSocket-Extensions: \xff"),),
    "an extension of nonsense": (
        handshake(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=x"),
    ),
    "half a handshake": (handshake()[:-2],),
    # In a WebSocket.
    "an opcode of none": (handshake(), frame(0x3)),
    "a control opcode of none": (handshake(), frame(0xB)),
    "reserved flags": (handshake(), frame(1, b"{}", flags=0xF0)),
    "no mask": (handshake(), frame(1, b"{}", masked=False)),
    "a ping in fragments": (handshake(), frame(9, b"x", flags=0)),
    "a long ping": (handshake(), frame(9, b"x" * 200)),
    "pings": (handshake(), frame(9, b"x" * 100) * 1000),
    "pongs": (handshake(), frame(10) * 1000),
    "a rest of nothing": (handshake(), frame(0, b"x")),
    "a begin within a message": (handshake(), frame(1, b"x", flags=0) + frame(1, b"x")),
    "text that is not UTF-8": (handshake(), frame(1, b"\xff")),
    "a large message": (handshake(), frame(1, b"x" * 300_000)),
    "large messages": (handshake(), frame(1, b"x" * 70_000) * 3 + frame(9) + frame(8)),
    "a message of all there is": (handshake(), b"\x81\xff" + b"\x7f" + b"\xff" * 7 + bytes(9)),
    "a close": (handshake(), frame(8)),
    "a close of one byte": (handshake(), frame(8, b"x")),
    "a close of a code that is none": (handshake(), frame(8, b"\x00\x01")),
    "a close for a reason that is not UTF-8": (handshake(), frame(8, b"\x03\xe8\xff")),
    "closes": (handshake(), frame(8) * 100),
    "more after a close": (handshake(), frame(8) + frame(9, b"x") + frame(1, b"{}") * 20),
    "a close behind a handshake": (handshake() + frame(8),),
    "garbage in a WebSocket": (handshake(), bytes(range(256)) * 8),
    # HTTP/2 without TLS.
    "h2c": (
        request(
            *(b"/healthz", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"),
            b"HTTP2-Settings: AAMAAABkAAQAAP__",
        ),
    ),
    "h2c with settings of nonsense": (
        request(b"/healthz", b"Upgrade: h2c", b"HTTP2-Settings: \xff"),
    ),
    "HTTP/2 of garbage": (HTTP2 + bytes(range(256)) * 8,),
    "HTTP/2 of a target that is not ASCII": (HTTP2 + _request2(1, *_GET, (b":path", b"/\xff")),),
    "HTTP/2 of a method that is not ASCII": (
        HTTP2 + _request2(1, *_GET[1:], (b":method", b"\xff"), (b":path", b"/")),
    ),
    "HTTP/2 that connects nowhere": (
        HTTP2 + _request2(1, (b":method", b"CONNECT"), (b":authority", b"localhost")),
    ),
    "HTTP/2 of itself": (HTTP2 + _frame2(0x2, 0, 3, b"\0\0\0\x03\x10"),),
    "HTTP/2 of streams that depend on none": (
        HTTP2 + _frame2(0x2, 0, 3, b"\0\0\0\x05\x10") + _frame2(0x2, 0, 5, b"\0\0\0\x03\x10"),
    ),
    "HTTP/2 of data too late": (
        HTTP2 + _request2(1, *_GET, (b":path", b"/nowhere"), end=False),
        _frame2(0x0, 0, 1, b"x") * 3,
    ),
    "HTTP/2 of resets": (
        HTTP2
        + b"".join(
            _request2(stream, *_GET, (b":path", b"/healthz")) + _frame2(0x3, 0, stream, bytes(4))
            for stream in range(1, 400, 2)
        ),
    ),
    "HTTP/2 of a goodbye": (
        HTTP2 + _request2(1, *_GET, (b":path", b"/healthz")) + _frame2(0x7, 0, 0, bytes(8)),
    ),
    "HTTP/2 in a later request": (request(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
}


def assail(url: str, target: bytes = b"/ws") -> None:
    """Send all of it, in every order that comes about, to the end and broken off."""
    with ThreadPoolExecutor(8) as pool:
        for attacked in [*ATTACKS.values()] * 2:
            parts = tuple(part.replace(b" /ws ", b" " + target + b" ") for part in attacked)
            pool.submit(attack, url, parts)
            pool.submit(break_off, url, b"".join(parts))


def attack(url: str, parts: tuple[bytes, ...]) -> bytes:
    """Send it part by part, and then go; what came back."""
    place = urlsplit(url)
    received = b""
    with (
        suppress(ConnectionError, TimeoutError),
        socket.create_connection((place.hostname, place.port), LIMIT_S) as client,
    ):
        for number, part in enumerate(parts):
            if number:
                received += client.recv(65536)
            client.sendall(part)
        client.settimeout(_QUIET_S)
        while more := client.recv(65536):
            received += more
    return received


def break_off(url: str, data: bytes) -> None:
    """Send it, and reset the connection without reading."""
    place = urlsplit(url)
    with (
        suppress(ConnectionError),
        socket.create_connection((place.hostname, place.port), LIMIT_S) as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(data)


def alive(url: str) -> bool:
    """Whether it answers."""
    return httpx.get(url, timeout=LIMIT_S).status_code < 500
