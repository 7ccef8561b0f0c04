"""The right to embed, which one process has at a time.

It is a lease in the database: who has it renews it at a third of its length, and whoever waits
for it asks every second. It passes on when it is given back, when it lapses, and at once when
the process that has it is known to have died.

Claims are leases of their own, and a result counts only while its claim is held. So two
processes that both embed, for the moment in which the right changes hands unnoticed, waste
some work and spoil nothing.

A database that is busy, full or away for a while ends nothing: who waits goes on waiting, and
who has the right tries again until the lease is over, and then stops as if another had it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import outcome
import trio

from actors.ports import RunSync
from pyrite.config.live import warn
from pyrite.embedding.process import Identity, identity, is_dead
from pyrite.errors import StorageError
from pyrite.storage.protocol import Storage
from pyrite.storage.queue_records import Leader
from pyrite.storage.sqlite.driver import sqlite3

T = TypeVar("T")

#: How often who waits for the right asks whether it is free, in seconds.
RETRY_S = 1.0

#: The right is renewed at this part of its length, so that two renewals may be late.
_RENEWALS = 3

#: What the database says while it is busy, full or away. Anything else is a bug.
_PASSING = (sqlite3.OperationalError, StorageError, OSError)


class Leadership:
    """One worker's part in who has the right to embed; used from the Trio thread.

    Attributes:
        me: under which name this process asks for it.
        leader: who had it when it was last asked for.
        lost: how often this process lost it to another without having given it back.
    """

    def __init__(
        self,
        storage: Storage,
        lease_s: float,
        clock: Callable[[], float] = time.time,
        *,
        me: Identity | None = None,
        report: Callable[[str], None] = warn,
        run_sync: RunSync = trio.to_thread.run_sync,
    ) -> None:
        self._storage = storage
        self._lease_s = lease_s
        self._clock = clock
        self._report = report
        self._run_sync = run_sync
        #: Whether the database could not be asked the last time.
        self._is_away = False
        #: When the right lapses unless it is renewed, on Trio's clock.
        self._lapses_at = -math.inf
        #: When this process last asked, and until when it takes nothing from one that lives.
        self._last_asked = math.inf
        self._patient_until = -math.inf
        self.me = me or identity()
        self.leader: Leader | None = None
        self.lost = 0

    @property
    def leads(self) -> bool:
        """Whether this process had the right when it last asked."""
        return self.leader is not None and self.leader.worker_id == self.me.worker_id

    async def try_acquire(self) -> Leader:
        """Take the right if it is free, or renew it; returns who has it now."""
        # Read once: the computer may be suspended between any two lines.
        asked_at, now = trio.current_time(), self._clock()
        if now - self._last_asked > self._lease_s / 2 + RETRY_S and not self.leads:
            # The computer was suspended, or its clock set forward: the right seems to have lapsed,
            # but whoever has it wakes up as well, and needs the time to renew it.
            self._patient_until = asked_at + self._lease_s / _RENEWALS + RETRY_S
        self._last_asked = now
        self.leader = await self._run_sync(self._ask, now, asked_at < self._patient_until)
        if self.leads:
            self._lapses_at = asked_at + self._lease_s
        return self.leader

    async def acquire(self) -> None:
        """Return once this process has the right; a database that is away is waited for."""
        while not await self._try_to_ask():  # noqa: ASYNC110 - it is the database that is asked
            await trio.sleep(RETRY_S)

    async def hold(self, work: Callable[[], Awaitable[T]], stop: Callable[[], None]) -> T:
        """Do the work while the right, which this process has, is renewed; then give it back.

        Args:
            work: what may be done with the right.
            stop: called when the right is lost, to another or for want of a renewal; the work is
                to end soon.

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
        """Renew the right until it is lost, or has run out because the database was away."""
        wait_s = renewal_s = self._lease_s / _RENEWALS
        while True:
            await trio.sleep(wait_s)
            leads = await self._try_to_ask()
            if leads is None and trio.current_time() < self._lapses_at:
                wait_s = min(RETRY_S, renewal_s)
            elif leads:
                wait_s = renewal_s
            else:
                self.lost += 1
                stop()
                return

    async def _try_to_ask(self) -> bool | None:
        """Whether this process has the right; None where the database could not be asked."""
        try:
            await self.try_acquire()
        except _PASSING as error:
            if not self._is_away:
                self._report(f"the right to embed cannot be asked for or renewed: {error}")
            self._is_away = True
            return None
        self._is_away = False
        return self.leads

    async def _resign(self) -> None:
        with trio.CancelScope(shield=True):
            try:
                await self._run_sync(self._storage.resign, self.me.worker_id)
            except _PASSING as error:
                self._report(f"the right to embed is not given back, but lapses by itself: {error}")
        self.leader = None

    def _ask(self, now: float, patient: bool) -> Leader:
        """Ask once, in a thread; only where there is something to write, it takes a lock."""
        leader = self._storage.leader()
        if patient and leader is not None and not is_dead(leader):
            return leader
        dead = [leader.worker_id] if leader is not None and is_dead(leader) else []
        me = self.me
        candidate = Leader(
            me.worker_id, me.pid, me.host, me.process_started, now, now + self._lease_s
        )
        return self._storage.lead(candidate, dead=dead)
