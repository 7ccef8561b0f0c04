"""The batcher: packs chunks of claims into batches for the encoder.

It takes in every claim at once, and composes a batch only when the embedder asks for one, from
what is there at that moment: a lone edit leaves at once and alone, an edit that comes while
much else waits is in the very next batch, and under load the window fills by itself while the
embedder is busy.
"""

from __future__ import annotations

import trio

from actors.auto_reset_event import AutoResetEvent
from actors.messages import Batch, Claim
from actors.packing import Window


async def batcher(
    claims: trio.MemoryReceiveChannel[tuple[Claim, ...]],
    batches: trio.MemorySendChannel[Batch],
    *,
    window: Window,
    asked: trio.Semaphore,
    has_room: AutoResetEvent,
) -> None:
    """Send batches until the claims end and the window is empty.

    Args:
        claims: what the poller claimed; without end, but never more than the window's room and
            what is urgent.
        batches: to the embedder.
        window: what waits for a batch; nobody else changes it.
        asked: released by the embedder for each batch that it could take.
        has_room: to be rung when the window can take more.
    """
    filled = AutoResetEvent()
    with claims, batches:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_in, claims, window, filled)
            while True:
                await asked.acquire()
                while not window and not window.complete:
                    await filled.wait()
                if not window:
                    return
                batch = window.take()
                if window.has_room():
                    has_room.set()
                await batches.send(batch)


async def take_in(
    claims: trio.MemoryReceiveChannel[tuple[Claim, ...]], window: Window, filled: AutoResetEvent
) -> None:
    """Put claims into the window until they end."""
    async for group in claims:
        window.add(group)
        filled.set()
    window.complete = True
    filled.set()
