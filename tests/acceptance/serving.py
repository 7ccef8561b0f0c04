"""Real server processes on loopback, and clients that talk to them over real sockets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import trio
from httpx2 import AsyncClient, Limits
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from pyrite.storage.queue_records import Leader
from tests.integration.hands import KB, Product

#: How long to wait for what surely comes, in seconds, before calling it a failure.
LONG = 60

ROOT = Path(__file__).parents[2]

SERVE = ("-m", "tests.integration.launcher", "serve", "--port", "0")
REAL = ("-m", "pyrite", "serve", "--port", "0")
EMBED = (
    *(sys.executable, "-m", "tests.integration.launcher"),
    *("index", "embed", "--background"),
)
HYPERCORN = (
    *("-m", "hypercorn", "-c", str(ROOT / "deploy" / "hypercorn.toml")),
    *("-b", "127.0.0.1:0", "tests.acceptance.hosted:app()"),
)

EMBEDS = r"this process embeds\b(?! no longer)"


def environment(product: Product, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYRITE_")}
    cache = {name: os.environ[name] for name in ("PYRITE_CACHE",) if name in os.environ}
    own = {"PYRITE_HOME": str(product.home), "PYRITE_MODEL": product.settings.model}
    return {**kept, **cache, **own, "NO_COLOR": "1", **more}


class Server:
    """A process, and all that it has written."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.text = ""
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (process.stdout, process.stderr)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any) -> None:
        with stream:
            for line in stream:
                with self._news:
                    self.text += line
                    self._news.notify_all()

    def kill(self) -> None:
        """End it and all that it has started, if they are still there."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for reader in self._readers:
            reader.join()

    def wait_for(self, pattern: str, times: int = 1) -> str:
        """Return what fits the pattern once it has been written so often."""

        def found() -> list[str]:
            return re.findall(pattern, self.text)

        with self._news:
            self._news.wait_for(lambda: len(found()) >= times, LONG)
            assert len(found()) >= times, f"{pattern!r} did not come: {self.text}"
            return found()[-1]

    @property
    def url(self) -> str:
        """Where it listens, once it is ready."""
        return self.wait_for(r"(?:listens|Running) on (http://\S+)")

    def get(self, path: str, **query: str) -> httpx.Response:
        """What it answers."""
        return httpx.get(self.url + path, params=query, timeout=LONG)

    def create(self, number: int = 0, text: str = "text") -> dict[str, Any]:
        """Create an entry; what the server says of it."""
        body = {"title": f"n{number}", "body": f"{text} {number}"}
        answer = httpx.post(f"{self.url}/api/kbs/{KB}/entries", json=body, timeout=LONG)
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """The exit code, once it has ended by itself."""
        code = self.process.wait(LONG)
        for reader in self._readers:
            reader.join()
        return code


@contextmanager
def started(product: Product, *arguments: str, **more: str) -> Iterator[Server]:
    """A process that is killed afterwards if it is still there, with all that it started."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(product, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    server = Server(process)
    try:
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def feed(server: Server, query: str = "") -> AsyncIterator[WebSocketConnection]:
    """A connection to the feed, after its greeting."""
    url = server.url.replace("http", "ws", 1) + "/ws" + query
    with trio.fail_after(LONG):
        async with open_websocket_url(url) as connection:
            assert json.loads(await connection.get_message())["type"] == "hello"
            try:
                yield connection
            finally:
                # Of a connection that the other side has closed, the library leaves this open.
                await trio.aclose_forcefully(connection._stream)


@asynccontextmanager
async def agent(server: Server, mode: str = "auto") -> AsyncIterator[Client]:
    """An MCP client that uses a connection of its own for each request."""
    limits = Limits(max_keepalive_connections=0)
    with trio.fail_after(LONG):
        async with (
            AsyncClient(timeout=LONG, limits=limits) as http,
            Client(
                streamable_http_client(f"{server.url}/mcp", http_client=http), mode=mode
            ) as connected,
        ):
            yield connected


async def embedded(connection: WebSocketConnection, number: int = 1) -> list[str]:
    """The ids of so many entries, as the feed tells that they are embedded."""
    ids: list[str] = []
    while len(set(ids)) < number:
        message = json.loads(await connection.get_message())
        if message["type"] == "embed_complete":
            ids.append(message["id"])
    return ids


async def closing_code(connection: WebSocketConnection) -> int | None:
    """The code with which the server closes the connection, after all that it still sends."""
    with suppress(ConnectionClosed):
        while True:
            await connection.get_message()
    return None if connection.closed is None else connection.closed.code


def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; it surely will."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.002)


def begun(gate: Path) -> None:
    """Return once a call of the model has begun, which the gate holds up."""
    until(Path(f"{gate}.begun").exists)


def leader_of(product: Product) -> Leader:
    """Who embeds; there is somebody."""
    leader = product.storage.leader()
    assert leader is not None
    return leader


async def stopped_amid_an_encode(
    product: Product, server: Server, gate: Path, stop: Callable[[], object]
) -> None:
    """Stop a server whose gate is closed: what it encodes is kept, and all else given back."""
    async with feed(server) as connection:
        for number in range(20):
            await trio.to_thread.run_sync(server.create, number)
        await trio.to_thread.run_sync(begun, gate)
        stop()
        assert await closing_code(connection) == 1012
    await trio.Path(gate).touch()
    assert await trio.to_thread.run_sync(server.end) == 0
    counts = product.storage.counts()
    assert counts.done > 0
    assert counts.processing == 0
    assert counts.total == 20
    assert product.storage.workers() == []
    assert product.storage.leader() is None
