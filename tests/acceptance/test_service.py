"""The service as a process: it serves, embeds, hands over, stops gracefully and crashes loudly."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.acceptance.serving import (
    EMBED,
    EMBEDS,
    HYPERCORN,
    LONG,
    REAL,
    ROOT,
    SERVE,
    agent,
    begun,
    embedded,
    environment,
    feed,
    leader_of,
    started,
    stopped_amid_an_encode,
    until,
)
from tests.integration.attacks import assail
from tests.integration.hands import Product

# Where a stream is cut short, the MCP library's client leaves one to the garbage collector.
pytestmark = [
    pytest.mark.process,
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]


async def test_what_is_posted_is_embedded_and_told(product: Product) -> None:
    with started(product, *SERVE) as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
        async with feed(server) as connection:
            created = await trio.to_thread.run_sync(server.create)
            assert created["embedding"] == "pending"
            assert await embedded(connection) == [created["id"]]
        assert server.get("/readyz").status_code == 200
        server.signal(signal.SIGTERM)
        assert server.end() == 0
    assert product.storage.leader() is None
    assert product.storage.workers() == []


@pytest.mark.parametrize("arguments", [SERVE, HYPERCORN], ids=["serve", "hypercorn"])
def test_no_connection_ends_it(product: Product, arguments: tuple[str, ...]) -> None:
    with started(product, *arguments) as server:
        assail(server.url)
        assert server.get("/healthz").status_code == 200
        server.signal(signal.SIGTERM)
        assert server.end() == 0
        # No worker has ended and had another take its place.
        assert len(re.findall(EMBEDS, server.text)) == 1
        assert "a connection has failed and is closed: UnicodeDecodeError" in server.text


async def test_agents_are_served_and_a_stop_ends_their_sessions(product: Product) -> None:
    with started(product, *SERVE) as server:
        async with agent(server, "legacy") as connected:
            written = await connected.call_tool("entry_create", {"title": "New", "body": "text"})
            assert not written.is_error, written.content
            revision = (written.structured_content or {})["revision"]
            asked = {"query": "text", "mode": "keyword", "wait_for": revision}
            found = await connected.call_tool("search", asked)
            assert [hit["id"] for hit in (found.structured_content or {})["hits"]] == ["new"]
            # Its session is open, and the stream of it.
            server.signal(signal.SIGTERM)
            assert await trio.to_thread.run_sync(server.end) == 0
        assert "Traceback" not in server.text
    assert product.storage.leader() is None


@pytest.mark.model
async def test_the_real_model(product: Product) -> None:
    with started(product, *REAL, PYRITE_MODEL="all-MiniLM-L6-v2") as server:
        async with feed(server) as connection:
            created = await trio.to_thread.run_sync(server.create)
            assert await embedded(connection) == [created["id"]]
        found = server.get("/api/search", q="text", mode="semantic").json()
        assert [hit["id"] for hit in found["hits"]] == [created["id"]]
        server.signal(signal.SIGTERM)
        assert server.end() == 0


async def test_when_the_one_that_embeds_is_killed_the_other_takes_over(
    product: Product, gate: Path
) -> None:
    with started(product, *SERVE, LAUNCHER_GATE=str(gate)) as first:
        first.wait_for(EMBEDS)
        with started(product, *SERVE) as second:
            async with feed(second) as connection:
                for number in range(20):
                    await trio.to_thread.run_sync(second.create, number)
                await trio.to_thread.run_sync(begun, gate)
                first.signal(signal.SIGKILL)
                ids = await embedded(connection, 20)
            assert sorted(ids) == sorted(f"n{number}" for number in range(20))
            assert product.storage.counts().done == 20
            assert leader_of(product).pid == second.process.pid
            second.signal(signal.SIGTERM)
            assert second.end() == 0


async def test_a_stop_finishes_the_encode_and_tells_the_clients(
    product: Product, gate: Path
) -> None:
    with started(product, *SERVE, LAUNCHER_GATE=str(gate)) as server:
        await stopped_amid_an_encode(product, server, gate, partial(server.signal, signal.SIGTERM))


def test_an_encode_that_hangs_does_not_hold_up_the_end(product: Product, gate: Path) -> None:
    with started(product, *SERVE, LAUNCHER_GATE=str(gate), PYRITE_GRACE_S="0.5") as server:
        server.create()
        begun(gate)
        server.signal(signal.SIGTERM)
        assert server.end() == 0
    assert product.storage.counts().pending == 1
    assert product.storage.workers() == []


def test_a_second_signal_ends_it_at_once(product: Product, gate: Path) -> None:
    with started(product, *SERVE, LAUNCHER_GATE=str(gate), PYRITE_GRACE_S="3600") as server:
        server.create()
        begun(gate)
        server.signal(signal.SIGTERM)
        server.wait_for("SIGTERM: the service stops")
        # Within half a second of the first it would be the same one.
        until(lambda: server.signal(signal.SIGINT) or server.process.poll() is not None)
        assert server.end() == 130
    # What it held is freed by the next one, which finds it dead.
    assert product.storage.counts().processing == 1


def test_an_actor_that_crashes_ends_the_process_and_says_why(
    product: Product, tmp_path: Path
) -> None:
    bug = tmp_path / "bug"
    with started(product, *SERVE, LAUNCHER_BUG=str(bug)) as server:
        server.wait_for(EMBEDS)
        bug.touch()
        server.create()
        assert server.end() == 70
        server.wait_for(r"the service has crashed: ZeroDivisionError\('a bug in an actor'\)")
        server.wait_for("Traceback")


def test_a_port_that_is_taken_is_said_in_a_line(product: Product) -> None:
    with started(product, *SERVE) as first:
        port = first.url.rpartition(":")[2]
        with started(product, *SERVE, "--port", port) as second:
            assert second.end() == 1
            second.wait_for(f"pyrite: the server cannot listen on port {port} of 127.0.0.1")
            assert "Traceback" not in second.text


def test_without_tokens_it_listens_to_this_computer_alone(product: Product) -> None:
    with started(product, *SERVE, "--host", "0.0.0.0") as server:
        assert server.end() == 1
        server.wait_for("pyrite: the server does not listen on 0.0.0.0 without tokens")


def test_the_supervisor_is_told(product: Product, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.settimeout(LONG)
        supervisor.bind(str(tmp_path / "notify"))
        with started(product, *SERVE, NOTIFY_SOCKET=str(tmp_path / "notify")) as server:
            assert supervisor.recv(100) == b"READY=1"
            server.signal(signal.SIGTERM)
            assert supervisor.recv(100) == b"STOPPING=1"
            assert server.end() == 0, server.text


def test_embedding_by_hand_follows_the_server(product: Product, gate: Path) -> None:
    with started(product, *SERVE, LAUNCHER_GATE=str(gate)) as server:
        server.wait_for(EMBEDS)
        for number in range(5):
            server.create(number)
        drain = subprocess.Popen(
            [*EMBED, "--json"],
            cwd=ROOT,
            env=environment(product),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert drain.stderr is not None
        assert "following it" in drain.stderr.readline()
        gate.touch()
        out, err = drain.communicate(timeout=LONG)
        assert drain.returncode == 0, err
        result = json.loads(out)
        assert result["followed"] == server.process.pid
        assert result["unfinished"] == 0
        assert product.storage.counts().done == 5


async def test_the_feed_tells_what_is_embedded_beside_the_server(product: Product) -> None:
    with started(product, *SERVE, PYRITE_PAUSED="true") as server:
        server.wait_for(EMBEDS)
        server.create()
        async with feed(server) as connection:
            await trio.run_process(
                [*EMBED, "--here"],
                cwd=ROOT,
                env=environment(product),
                capture_stdout=True,
                capture_stderr=True,
            )
            assert await embedded(connection) == ["n0"]
