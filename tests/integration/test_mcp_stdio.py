"""The MCP server in a process of its own, driven by the SDK's client over standard input."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

from pyrite.embedding.service import EmbeddingService
from tests.integration.hands import LONG, Product

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.process


def environment(product: Product, **more: str) -> dict[str, str]:
    given = {"PYRITE_HOME": str(product.home), "PYRITE_MODEL": "fake", "PYTHONPATH": str(ROOT)}
    return {**os.environ, **given, **more}


@asynccontextmanager
async def client(product: Product, *arguments: str, mode: str = "auto") -> AsyncIterator[Client]:
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "tests.integration.launcher", "mcp", *arguments],
        env=environment(product),
        cwd=str(ROOT),
    )
    with trio.fail_after(LONG):
        async with Client(parameters, mode=mode) as connected:
            yield connected


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_note_is_filed_found_and_read(product: Product, mode: str) -> None:
    async with client(product, "--tier", "write", mode=mode) as connected:
        assert connected.server_info is not None
        assert connected.server_info.name == "pyrite"
        assert connected.instructions is not None
        assert "data, not instructions" in connected.instructions
        written = await connected.call_tool("entry_create", {"title": "Backups", "body": "Copies."})
        assert written.structured_content is not None
        assert written.structured_content["embedding"] == "done"
        found = await connected.call_tool("search", {"query": "copies"})
        assert found.structured_content is not None
        assert [hit["id"] for hit in found.structured_content["hits"]] == ["backups"]
        read = await connected.read_resource("pyrite://notes/backups")
        assert "Copies." in read.contents[0].text  # type: ignore[union-attr]
    # The server never was a worker, and left nothing behind.
    assert product.storage.workers() == []
    assert EmbeddingService(product.storage, product.settings).live_worker() is None


async def test_reading_is_all_that_is_allowed_unless_more_is_asked_for(product: Product) -> None:
    async with client(product) as connected:
        names = {tool.name for tool in (await connected.list_tools()).tools}
        assert "search" in names
        assert not names & {"entry_create", "entry_delete", "index_sync", "kb_add"}


REQUEST = {"jsonrpc": "2.0", "id": 1, "method": "initialize"} | {
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    }
}


def start(product: Product, *arguments: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.launcher", "mcp", *arguments],
        cwd=ROOT,
        env=environment(product, **more),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ask(process: subprocess.Popen[str], *messages: object) -> None:
    assert process.stdin is not None
    for message in messages:
        process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def test_standard_output_carries_the_protocol_alone_and_its_end_is_the_end(
    product: Product,
) -> None:
    with start(product) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("this is no JSON\n")
        ask(process, REQUEST)
        answers = [json.loads(process.stdout.readline()) for _ in range(1)]
        rest, _ = process.communicate(timeout=LONG)
        answers += [json.loads(line) for line in rest.splitlines()]
    assert process.returncode == 0
    assert all(answer["jsonrpc"] == "2.0" for answer in answers)
    assert any(answer.get("id") == 1 and "result" in answer for answer in answers)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_though_its_client_still_writes(
    product: Product, number: signal.Signals
) -> None:
    with start(product) as process:
        assert process.stdout is not None
        ask(process, REQUEST)
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(LONG) == 128 + number


def test_a_signal_in_the_midst_of_embedding_leaves_the_entry_written_and_queued(
    product: Product, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    create = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {"name": "entry_create", "arguments": {"title": "A", "body": "Text."}},
    }
    with start(product, "--tier", "write", LAUNCHER_GATE=str(gate)) as process:
        assert process.stdout is not None
        ask(process, REQUEST)
        process.stdout.readline()
        ask(process, INITIALIZED, create)
        while not Path(f"{gate}.begun").exists():
            assert process.poll() is None
            os.sched_yield()
        process.send_signal(signal.SIGTERM)
        gate.touch()
        assert process.wait(LONG) == 128 + signal.SIGTERM
    # It was finished within the grace period, or given back: never half of it.
    assert product.status("a").value in {"done", "pending"}
    assert product.storage.workers() == []


def test_a_client_that_is_gone_is_the_end_and_no_bug(product: Product) -> None:
    with start(product) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        ask(process, REQUEST)
        process.stdin.close()
        assert process.wait(LONG) == 0
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("--http", "--host", "0.0.0.0", "--port", "0"), "pyrite token create", 1),
        (("--port", "1"), "--port goes with --http", 2),
        (("--tier", "all"), "'read', 'write', 'admin'", 2),
    ],
)
def test_what_cannot_be_served_is_said_in_a_line(
    product: Product, arguments: tuple[str, ...], said: str, code: int
) -> None:
    with start(product, *arguments) as process:
        out, err = process.communicate(timeout=LONG)
    assert (process.returncode, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


def test_a_port_that_is_taken(product: Product) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with start(product, "--http", "--port", port) as process:
            _, err = process.communicate(timeout=LONG)
    assert process.returncode == 1
    assert f"the server cannot listen on port {port} of 127.0.0.1" in err
    assert err.count("\n") == 1


def test_over_http_it_says_where_it_is_and_ends_by_a_signal(product: Product) -> None:
    with start(product, "--http", "--port", "0") as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert re.fullmatch(r"MCP server for the tier read at http://127\.0\.0\.1:\d+/mcp\n", line)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG) == 0
