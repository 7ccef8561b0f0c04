"""The right to embed, which one process has at a time.

It is a lease in the database: who has it renews it at a third of its length, and whoever waits
for it looks every second. It passes on when it is given back, when it lapses, and at once when
the process that has it is known to have died.

Claims are leases of their own, and a result counts only while its claim is held. So two
processes that both embed, for the moment in which the right changes hands unnoticed, waste
some work and spoil nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import outcome
import trio

from actors.auto_reset_event import AutoResetEvent
from actors.ports import RunSync
from pyrite.embedding.leaders import Standing, standing
from pyrite.embedding.process import Identity, identity, is_dead
from pyrite.storage.protocol import Storage
from pyrite.storage.records import Leader

T = TypeVar("T")

#: How often who waits for the right looks whether it is free, in seconds.
LOOK_S = 1.0

#: The right is renewed at this part of its length, so that two renewals may be late.
_RENEWALS = 3


class Leadership:
    """One worker's part in who has the right to embed; used from the Trio thread.

    Attributes:
        me: under which name this process asks for it.
        leader: who had it at the last look.
        lost: how often this process lost it to another without having given it back.
    """

    def __init__(
        self,
        storage: Storage,
        lease_s: float,
        clock: Callable[[], float] = time.time,
        *,
        me: Identity | None = None,
        run_sync: RunSync = trio.to_thread.run_sync,
    ) -> None:
        self._storage = storage
        self._lease_s = lease_s
        self._clock = clock
        self._run_sync = run_sync
        self._wake = AutoResetEvent()
        self.me = me or identity()
        self.leader: Leader | None = None
        self.lost = 0

    @property
    def leads(self) -> bool:
        """Whether this process had the right at the last look."""
        return self.leader is not None and self.leader.worker_id == self.me.worker_id

    def wake(self) -> None:
        """It may have become free: look now."""
        self._wake.set()

    async def look(self) -> Leader:
        """Take the right if it is free, or renew it; returns who has it now."""
        self.leader = await self._run_sync(self._take)
        return self.leader

    async def acquire(self) -> None:
        """Return once this process has the right."""
        while True:
            await self.look()
            if self.leads:
                return
            with trio.move_on_after(LOOK_S):
                await self._wake.wait()

    async def hold(self, work: Callable[[], Awaitable[T]], stop: Callable[[], None]) -> T:
        """Do the work while the right, which this process has, is renewed; then give it back.

        Args:
            work: what may be done with the right. It is cancelled if a renewal fails.
            stop: called when another has the right; the work is to end soon.

        Returns:
            What the work returned.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._renew, stop)
                # Unwrapped out of the nursery, which would put what went wrong into a group.
                ended = await outcome.acapture(work)
                nursery.cancel_scope.cancel()
        finally:
            await self._resign()
        await trio.lowlevel.checkpoint_if_cancelled()
        return ended.unwrap()

    async def _renew(self, stop: Callable[[], None]) -> None:
        while True:
            await trio.sleep(self._lease_s / _RENEWALS)
            await self.look()
            if not self.leads:
                self.lost += 1
                stop()
                return

    async def _resign(self) -> None:
        with trio.CancelScope(shield=True):
            await self._run_sync(self._storage.resign, self.me.worker_id)
        self.leader = None

    def _take(self) -> Leader:
        """One look, in a thread; only where there is something to write, it takes a lock."""
        now = self._clock()
        leader = self._storage.leader()
        dead = leader is not None and is_dead(leader)
        if (
            leader is not None
            and standing(leader, self.me.worker_id, now, dead=dead) is Standing.TAKEN
        ):
            return leader
        me = self.me
        candidate = Leader(
            me.worker_id, me.pid, me.host, me.process_started, now, now + self._lease_s
        )
        return self._storage.lead(
            candidate, dead=[leader.worker_id] if dead and leader is not None else []
        )
