"""The batcher: packs chunks of claims into batches for the encoder.

It takes what upstream has at hand, and never waits for more: a lone edit leaves at once and
alone, while under load the window fills by itself as the embedder is busy.
"""

from __future__ import annotations

import trio

from actors.messages import Batch, Claim
from actors.packing import Window


async def batcher(
    claims: trio.MemoryReceiveChannel[tuple[Claim, ...]],
    batches: trio.MemorySendChannel[Batch],
    *,
    window: Window,
) -> None:
    """Send batches until the claims end and the window is empty."""
    with claims, batches:
        try:
            while True:
                if not window:
                    window.add(await claims.receive())
                fill(window, claims)
                await batches.send(window.take())
        except trio.EndOfChannel:
            while window:
                await batches.send(window.take())


def fill(window: Window, claims: trio.MemoryReceiveChannel[tuple[Claim, ...]]) -> None:
    """Take in what is waiting in the channel, as far as there is room.

    Raises:
        trio.EndOfChannel: upstream is done.
    """
    while window.has_room():
        try:
            window.add(claims.receive_nowait())
        except trio.WouldBlock:
            return
