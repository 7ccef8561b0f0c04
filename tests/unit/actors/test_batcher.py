"""The batcher alone: it never waits for company, and packs well when it has it."""

import math
from dataclasses import dataclass
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.auto_reset_event import AutoResetEvent
from actors.batcher import batcher
from actors.packing import BatchLimits, Window
from tests.fakes.pipeline import INTERACTIVE, claim, pieces


@dataclass
class WayOut:
    """What the embedder has of the batcher: it asks, and receives."""

    channel: trio.MemoryReceiveChannel
    asked: trio.Semaphore
    has_room: AutoResetEvent

    async def receive(self):
        self.asked.release()
        return await self.channel.receive()

    async def rest(self):
        batches = []
        while True:
            try:
                batches.append(await self.receive())
            except trio.EndOfChannel:
                return batches


def start(nursery, *, limits=BatchLimits(texts=4), capacity=16, buffer=math.inf):
    """A batcher; returns the way in and the way out, which has no buffer."""
    to_batcher, claims = trio.open_memory_channel(buffer)
    batches, from_batcher = trio.open_memory_channel(0)
    window, asked, has_room = Window(limits, capacity), trio.Semaphore(0), AutoResetEvent()
    nursery.start_soon(
        partial(batcher, window=window, asked=asked, has_room=has_room), claims, batches
    )
    return to_batcher, WayOut(from_batcher, asked, has_room)


def singles(count, first=0):
    return [claim(f"e{n}", f"t{n}") for n in range(first, first + count)]


def entries(batch):
    return {piece.claim.entry_id for piece in batch.pieces}


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
    await wait_all_tasks_blocked()
    assert entries(await batches.receive()) == {"e0", "e1", "e2"}


async def test_each_that_asks_has_a_batch_of_its_own(nursery, autojump_clock):
    claims, batches = start(nursery)
    received = []

    async def lane():
        received.append(await batches.receive())

    for _ in range(2):
        nursery.start_soon(lane)
    for one in singles(3):
        await wait_all_tasks_blocked()
        claims.send_nowait((one,))
    await wait_all_tasks_blocked()
    # The third waits until somebody asks again.
    assert [entries(batch) for batch in received] == [{"e0"}, {"e1"}]


async def test_the_window_fills_while_the_embedder_is_busy(nursery, autojump_clock):
    claims, batches = start(nursery)
    for one in singles(9):
        claims.send_nowait((one,))
        await wait_all_tasks_blocked()
    claims.close()
    assert [len(batch.pieces) for batch in await batches.rest()] == [4, 4, 1]


async def test_an_interactive_edit_is_in_the_very_next_batch_and_alone(nursery, autojump_clock):
    claims, batches = start(nursery)
    await claims.send(tuple(singles(12)))
    await batches.receive()
    await wait_all_tasks_blocked()
    await claims.send((claim("edit", "typed", priority=INTERACTIVE),))
    await wait_all_tasks_blocked()
    assert entries(await batches.receive()) == {"edit"}
    assert len((await batches.receive()).pieces) == 4


async def test_it_takes_in_what_is_sent_however_full_it_is(nursery, autojump_clock):
    claims, batches = start(nursery, capacity=2, buffer=0)
    with trio.fail_after(1):
        for one in singles(9):
            await claims.send((one,))
    assert len((await batches.receive()).pieces) == 4


async def test_it_rings_when_there_is_room_again(nursery, autojump_clock):
    claims, batches = start(nursery, capacity=6)
    await claims.send(tuple(singles(12)))
    await batches.receive()
    with trio.move_on_after(1) as full:
        await batches.has_room.wait()
    assert full.cancelled_caught
    await batches.receive()
    with trio.fail_after(1):
        await batches.has_room.wait()


async def test_the_end_of_claims_flushes_the_window(nursery, autojump_clock):
    claims, batches = start(nursery)
    await claims.send((claim("big", *map(str, range(10))),))
    claims.close()
    assert [len(batch.pieces) for batch in await batches.rest()] == [4, 4, 2]


async def test_the_end_finds_it_waiting_for_claims(nursery, autojump_clock):
    claims, batches = start(nursery)
    await wait_all_tasks_blocked()
    claims.close()
    assert await batches.rest() == []


async def test_claims_with_nothing_missing_need_no_company(nursery, autojump_clock):
    claims, batches = start(nursery)
    ready = claim("ready")
    await claims.send((ready,))
    batch = await batches.receive()
    assert (batch.pieces, batch.ready) == ((), (ready,))


async def test_it_ends_when_the_embedder_is_gone(autojump_clock):
    with pytest.RaisesGroup(trio.BrokenResourceError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            claims, batches = start(nursery, buffer=0)
            batches.channel.close()
            batches.asked.release()
            await claims.send((claim("a", "text"),))


async def test_a_cancellation_closes_both_ends(autojump_clock):
    async with trio.open_nursery() as nursery:
        claims, batches = start(nursery)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await batches.rest() == []
    with pytest.raises(trio.BrokenResourceError):
        await claims.send(())
