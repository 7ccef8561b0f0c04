"""An embedding server on loopback: a real one, that answers as it should or as it is told to."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.fakes.encoder import embedding_of


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    path: str
    #: In lower case.
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def texts(self) -> list[str]:
        return list(self.json["input"])


@dataclass(frozen=True)
class Reply:
    """What is sent back."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    #: So many bytes of the body are sent, and the connection is broken.
    cut: int | None = None
    #: Nothing is sent until the server is closed, or nothing more than is cut off.
    never: bool = False
    #: Called once what is cut off has been sent.
    begun: Callable[[], None] = lambda: None


Answering = Callable[[Asked], Reply]


def as_json(value: object, status: int = 200, **headers: str) -> Reply:
    """A reply with a JSON body; NaN and infinity are written as Python does."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | named)


def rows(vectors: Sequence[object]) -> list[dict[str, object]]:
    """OpenAI's form of vectors."""
    return [
        {"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)
    ]


def vectors_of(texts: Sequence[str]) -> list[list[float]]:
    """What the server makes of texts; not of unit length."""
    return [[3 * float(x) for x in embedding_of(text)] for text in texts]


def good(asked: Asked) -> Reply:
    """The right answer."""
    return as_json({"object": "list", "data": rows(vectors_of(asked.texts)), "model": "served"})


def error(status: int, message: str = "it says no", **headers: str) -> Answering:
    """An error in OpenAI's form."""
    return lambda _: as_json({"error": {"message": message}}, status, **headers)


class EmbeddingServer:
    """Serves while its context lasts.

    Attributes:
        asked: every request, in order of arrival.
        next: how the next requests are answered, one each; whatever else is asked, `answering`.
        connections: how many there have been.
        closed: acquired once for each connection that has ended.
    """

    def __init__(self, answering: Answering = good) -> None:
        self.asked: list[Asked] = []
        self.next: deque[Answering] = deque()
        self.answering = answering
        self.connections = 0
        self.closed = threading.Semaphore(0)
        self._closing = threading.Event()
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Otherwise the body waits 40 ms for the client's delayed acknowledgement of the head.
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                server.connections += 1

            def finish(self) -> None:
                super().finish()
                server.closed.release()

            def do_POST(self) -> None:
                server._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                pass  # whoever hung up was meant to

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def texts(self) -> list[list[str]]:
        """The texts of every request."""
        return [asked.texts for asked in self.asked]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.path, headers, body)
        with self._lock:
            self.asked.append(asked)
            answering = self.next.popleft() if self.next else self.answering
        self._send(handler, answering(asked))

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.never and reply.cut is None:
            handler.close_connection = True
            self._closing.wait()
            return
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        if "Connection" not in reply.headers:
            handler.send_header("Content-Length", str(len(reply.body)))
        handler.end_headers()
        handler.wfile.write(reply.body[: reply.cut])
        if reply.cut is not None:
            handler.wfile.flush()
            reply.begun()
            if reply.never:
                self._closing.wait()
            # Closed with nothing to wait for: the other side gets a reset.
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.close_connection = True
