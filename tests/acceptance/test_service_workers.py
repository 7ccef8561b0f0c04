"""Two worker processes of a Hypercorn: all serve, one embeds, none outlives the others."""

from __future__ import annotations

import os
import re
import signal
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.acceptance.serving import (
    EMBEDS,
    HYPERCORN,
    Server,
    agent,
    embedded,
    feed,
    leader_of,
    started,
    stopped_amid_an_encode,
    until,
)
from tests.integration.hands import Product

# Where a stream is cut short, the MCP library's client leaves one to the garbage collector.
pytestmark = [
    pytest.mark.process,
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]


def both_serve(server: Server) -> None:
    """Return when both workers serve and one embeds."""
    server.wait_for(r"Running on (http://\S+)", times=2)
    server.wait_for(EMBEDS)


async def test_all_serve_and_one_embeds(product: Product) -> None:
    with started(product, *HYPERCORN) as server:
        await trio.to_thread.run_sync(both_serve, server)
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(feed(server)) for _ in range(8)]
            for number in range(4):
                await trio.to_thread.run_sync(server.create, number)
            for client in clients:
                assert sorted(await embedded(client, 4)) == ["n0", "n1", "n2", "n3"]
        assert len(re.findall(EMBEDS, server.text)) == 1
        server.signal(signal.SIGTERM)
        assert await trio.to_thread.run_sync(server.end) == 0
    assert product.storage.leader() is None


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_agents_are_served_by_whichever_worker_they_come_to(
    product: Product, mode: str
) -> None:
    with started(product, *HYPERCORN) as server:
        await trio.to_thread.run_sync(both_serve, server)
        for number in range(6):
            async with agent(server, mode) as connected:
                written = await connected.call_tool("entry_create", {"title": f"n{number}"})
                assert not written.is_error, written.content
                listed = await connected.call_tool("entry_list", {})
                assert not listed.is_error, listed.content
        await trio.to_thread.run_sync(until, lambda: product.storage.counts().done == 6)
        server.signal(signal.SIGTERM)
        assert await trio.to_thread.run_sync(server.end) == 0


async def test_a_signal_to_the_group_finishes_the_encode(product: Product, gate: Path) -> None:
    with started(product, *HYPERCORN, LAUNCHER_GATE=str(gate)) as server:
        await trio.to_thread.run_sync(both_serve, server)
        # As systemd does.
        stop = partial(os.killpg, server.process.pid, signal.SIGTERM)
        await stopped_amid_an_encode(product, server, gate, stop)


def test_when_the_one_that_embeds_is_killed_all_end(product: Product) -> None:
    """Hypercorn takes a worker that dies for a reason to stop."""
    with started(product, *HYPERCORN) as server:
        both_serve(server)
        leader = leader_of(product)
        os.kill(leader.pid, signal.SIGKILL)
        server.end()
    assert product.storage.leader() is None or product.storage.leader() == leader


def test_a_crash_of_the_pipeline_ends_the_service(product: Product, tmp_path: Path) -> None:
    bug = tmp_path / "bug"
    with started(product, *HYPERCORN, LAUNCHER_BUG=str(bug)) as server:
        both_serve(server)
        bug.touch()
        server.create()
        server.end()
        server.wait_for(r"the service has crashed: ZeroDivisionError\('a bug in an actor'\)")


def test_a_signal_to_one_worker_has_another_take_its_place(product: Product) -> None:
    with started(product, *HYPERCORN) as server:
        both_serve(server)
        os.kill(leader_of(product).pid, signal.SIGTERM)
        server.wait_for(EMBEDS, times=2)
        server.wait_for(r"Running on (http://\S+)", times=3)
        server.create()
        until(lambda: product.storage.counts().done == 1)
        server.signal(signal.SIGTERM)
        assert server.end() == 0


def test_workers_end_when_their_master_is_killed(product: Product) -> None:
    with started(product, *HYPERCORN) as server:
        both_serve(server)
        server.signal(signal.SIGKILL)
        server.end()
        server.wait_for("master process has gone", times=2)
        until(lambda: product.storage.leader() is None and product.storage.workers() == [])
