"""The batcher alone: it never waits for company, and packs well when it has it."""

import math
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.batcher import batcher
from actors.packing import BatchLimits, Window
from tests.fakes.pipeline import INTERACTIVE, claim, pieces


def start(nursery, *, limits=BatchLimits(texts=4), capacity=16, buffer=math.inf):
    """A batcher; returns the way in and the way out, which has no buffer."""
    to_batcher, claims = trio.open_memory_channel(buffer)
    batches, from_batcher = trio.open_memory_channel(0)
    nursery.start_soon(partial(batcher, window=Window(limits, capacity)), claims, batches)
    return to_batcher, from_batcher


def singles(count, first=0):
    return [claim(f"e{n}", f"t{n}") for n in range(first, first + count)]


def entries(batch):
    return {piece.claim.entry_id for piece in batch.pieces}


async def rest(batches):
    return [batch async for batch in batches]


async def test_a_lone_edit_leaves_at_once_and_alone(nursery, autojump_clock):
    claims, batches = start(nursery)
    for number in range(3):
        edit = claim(f"e{number}", "text")
        sent_at = trio.current_time()
        await claims.send((edit,))
        batch = await batches.receive()
        assert (batch.pieces, batch.ready) == (pieces(edit), ())
        assert trio.current_time() == sent_at
        await trio.sleep(10)


async def test_claims_at_hand_are_packed_together(nursery, autojump_clock):
    claims, batches = start(nursery)
    for one in singles(3):
        claims.send_nowait((one,))
    assert entries(await batches.receive()) == {"e0", "e1", "e2"}


async def test_the_window_fills_while_the_embedder_is_busy(nursery, autojump_clock):
    claims, batches = start(nursery)
    first, *others = singles(9)
    claims.send_nowait((first,))
    await wait_all_tasks_blocked()  # the first is offered alone, and nobody takes it yet
    for one in others:
        claims.send_nowait((one,))
    claims.close()
    assert [len(batch.pieces) for batch in await rest(batches)] == [1, 4, 4]


async def test_an_interactive_edit_goes_before_what_waits(nursery, autojump_clock):
    claims, batches = start(nursery)
    await claims.send(tuple(singles(12)))
    await wait_all_tasks_blocked()
    await claims.send((claim("edit", "typed", priority=INTERACTIVE),))
    await batches.receive()  # this one was offered already
    assert "edit" in entries(await batches.receive())


@pytest.mark.parametrize("group", [1, 3])
async def test_a_full_window_holds_upstream_back(nursery, autojump_clock, group):
    capacity, texts = 8, 4
    claims, batches = start(nursery, limits=BatchLimits(texts), capacity=capacity, buffer=0)
    accepted = 0

    async def feed():
        nonlocal accepted
        while True:
            await claims.send(tuple(singles(group, first=accepted)))
            accepted += group

    nursery.start_soon(feed)
    received = 0
    for _ in range(10):
        received += len((await batches.receive()).pieces)
        await wait_all_tasks_blocked()
        held = accepted - received
        assert held < capacity + texts + group
    assert received > 10  # under load it is not one by one
    nursery.cancel_scope.cancel()


async def test_the_end_of_claims_flushes_the_window(nursery, autojump_clock):
    claims, batches = start(nursery)
    await claims.send((claim("big", *map(str, range(10))),))
    claims.close()
    assert [len(batch.pieces) for batch in await rest(batches)] == [4, 4, 2]


async def test_the_end_finds_it_waiting_for_claims(nursery, autojump_clock):
    claims, batches = start(nursery)
    await wait_all_tasks_blocked()
    claims.close()
    assert await rest(batches) == []


async def test_claims_with_nothing_missing_need_no_company(nursery, autojump_clock):
    claims, batches = start(nursery)
    ready = claim("ready")
    await claims.send((ready,))
    batch = await batches.receive()
    assert (batch.pieces, batch.ready) == ((), (ready,))


async def test_it_ends_when_the_embedder_is_gone(autojump_clock):
    with pytest.RaisesGroup(trio.BrokenResourceError):
        async with trio.open_nursery() as nursery:
            claims, batches = start(nursery, buffer=0)
            batches.close()
            await claims.send((claim("a", "text"),))


async def test_a_cancellation_closes_both_ends(autojump_clock):
    async with trio.open_nursery() as nursery:
        claims, batches = start(nursery)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await rest(batches) == []
    with pytest.raises(trio.BrokenResourceError):
        await claims.send(())
