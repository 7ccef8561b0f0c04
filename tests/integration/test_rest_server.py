"""The API on a real server over real sockets."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from queue import Queue

import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from trio.testing import wait_all_tasks_blocked

from pyrite.auth.tokens import Tier
from pyrite.server.app import create_app
from pyrite.vault.entry_files import Draft
from tests.fakes.node import FakeNode

#: No test waits so long unless something is wrong, in seconds.
LIMIT_S = 120

#: Requests made up for each operation, besides those that try each rule of the document.
EXAMPLES = [1, pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]


@asynccontextmanager
async def serving(node: FakeNode) -> AsyncIterator[str]:
    """Serve the node; the address."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.graceful_timeout = 1
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        run = partial(serve, create_app(node), config, shutdown_trigger=stop.wait)
        (address,) = await nursery.start(run)
        yield address
        stop.set()
        nursery.cancel_scope.cancel()


@contextmanager
def serving_beside(node: FakeNode) -> Iterator[str]:
    """Serve the node from a thread; the address."""
    addresses: Queue[str] = Queue()
    over = threading.Event()

    async def main() -> None:
        async with serving(node) as address:
            addresses.put(address)
            await trio.to_thread.run_sync(over.wait)

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    try:
        yield addresses.get(timeout=LIMIT_S)
    finally:
        over.set()
        thread.join(LIMIT_S)


async def answer(stream: trio.SocketStream) -> bytes:
    """One answer, as far as its body's announced end."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += await more(stream)
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += await more(stream)
    return head


async def more(stream: trio.SocketStream) -> bytes:
    received = await stream.receive_some()
    assert received, "the connection was closed"
    return received


async def test_a_refusal_before_the_body_leaves_the_connection_of_use(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    node.tokens.create("somebody", Tier.READ)
    head = (
        b"POST /api/kbs HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    )
    with trio.fail_after(LIMIT_S / 4):
        async with serving(node) as address:
            port = int(address.rpartition(":")[2])
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                for _ in range(3):
                    await stream.send_all(head)
                    # Once the server has refused it, what comes late must do no harm.
                    await wait_all_tasks_blocked(0.01)
                    await stream.send_all(b"{}")
                    assert b" 401 " in await answer(stream)
    node.close()


@pytest.mark.process
@pytest.mark.repeats
@pytest.mark.parametrize("examples", EXAMPLES)
def test_every_operation_does_as_the_document_says(tmp_path: Path, examples: int) -> None:
    node = FakeNode(tmp_path / "server", rate_limit=0)
    node.add_kb("proof")
    for entry_id in ("ops/kept", "ops/other"):
        node.kbs.create_entry("proof", Draft(title=entry_id, id=entry_id, body="Text.\n"))
    node.embed()
    token = node.tokens.create("proof", Tier.ADMIN)
    config = Path(__file__).with_name("schemathesis.toml")
    with serving_beside(node) as address:
        url = f"{address}/api/openapi.json"
        run = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
                *("run", url, "--header", f"Authorization: Bearer {token}"),
                *("--max-examples", str(examples), "--seed", "1", "--no-color"),
                *("--continue-on-failure", "--generation-database", "none"),
            ],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": ""},
            timeout=4 * LIMIT_S,
        )
    node.close()
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
