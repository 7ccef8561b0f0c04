"""The live feed: follows the database, and tells all who listen of each new event.

Events are rows of the database, so those of every process come through here: a commit by anyone
is noticed within a hundredth of a second, and at once where :meth:`Feed.wake` tells of it. New
events are read in pages, rendered once, and kept for a while
(:mod:`pyrite.server.feed.replay_buffer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from actors.auto_reset_event import AutoResetEvent
from actors.fanout import HubStatistics
from pyrite.auth.credentials import RunSync
from pyrite.server.feed.messages import Message, status
from pyrite.server.feed.replay_buffer import ReplayBuffer, replayed
from pyrite.storage.protocol import Storage, Watcher
from pyrite.storage.records import FeedBounds

#: Events read from the database, and messages given to a reader, at a time.
PAGE = 500

#: Messages kept in memory; who is further behind reads from the database.
KEPT = 10_000

#: Between two snapshots of where embedding stands, in seconds.
STATUS_EVERY_S = 1.0

Snapshot = Mapping[str, object]


@dataclass(slots=True)
class Listener:
    """One reader's place in the feed."""

    #: The number of the last event that was taken, or said to be missing.
    position: int
    #: The last snapshot that was there before, or was taken.
    heard: Message | None


class Feed:
    """The events of a database as they come; used from the Trio thread alone.

    Args:
        storage: where the events are.
        run_sync: makes blocking calls elsewhere.
        buffer: how far a listener that reads slowly may fall behind, in events.
        poll_s: how often other processes' commits are looked for.
        snapshot: what a status message says; blocks. Without it there are none.
    """

    def __init__(
        self,
        storage: Storage,
        run_sync: RunSync,
        *,
        buffer: int,
        poll_s: float = 0.01,
        snapshot: Callable[[], Snapshot] | None = None,
    ) -> None:
        self._storage = storage
        self._run_sync = run_sync
        self._buffer = buffer
        self._poll_s = poll_s
        self._snapshot = snapshot
        self._recent = ReplayBuffer(0, KEPT)
        self._bell = AutoResetEvent()
        self._moved = trio.Event()
        self._changed = False
        self._next_status = 0.0
        self._status: Message | None = None
        self._told: Snapshot | None = None
        self._listeners = 0
        self._dropped = 0

    @property
    def last(self) -> int:
        """The number of the newest event that was published, or that was there at the start."""
        return self._recent.last

    @contextmanager
    def listening(self, position: int | None = None) -> Iterator[Listener]:
        """Somebody who reads from a position on, or from now."""
        self._listeners += 1
        try:
            yield Listener(self.last if position is None else position, self._status)
        finally:
            self._listeners -= 1

    async def take(self, listener: Listener) -> list[Message]:
        """What comes next for a listener: at least one message, as soon as there is any."""
        while True:
            messages = self._recent.after(listener.position, PAGE)
            if messages is None:
                page = await self._run_sync(self._storage.events, listener.position, PAGE)
                messages = replayed(listener.position, page, self.last)
            if messages:
                listener.position = messages[-1].seq or listener.position
                return messages
            if self._status is not None and self._status is not listener.heard:
                listener.heard = self._status
                return [self._status]
            await self._moved.wait()

    def left_behind(self, listener: Listener) -> bool:
        """Whether more events wait for the listener than may."""
        return self.last - listener.position > self._buffer

    async def newest(self) -> int:
        """The number of the newest event in the database, published or not."""
        bounds: FeedBounds = await self._run_sync(self._storage.feed_bounds)
        return bounds.last

    def drop(self) -> None:
        """Count a listener that was cut off because it did not read."""
        self._dropped += 1

    def wake(self) -> None:
        """Something was committed here; look at once."""
        self._bell.set()

    def statistics(self) -> HubStatistics:
        """How many listen, and how many were cut off."""
        return HubStatistics(self._listeners, self._dropped)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the database until cancelled."""
        # It watches from before the first look: nothing is committed unseen between the two.
        watcher = await self._run_sync(self._storage.watcher)
        try:
            # Those who were cut off by a restart all come back at once, and find theirs here.
            self._recent = ReplayBuffer(max(0, await self.newest() - KEPT), KEPT)
            await self._publish()
            task_status.started()
            await self._follow(watcher)
        finally:
            watcher.close()

    async def _follow(self, watcher: Watcher) -> None:
        while True:
            with trio.move_on_after(self._poll_s):
                await self._bell.wait()
            if watcher.changed():
                self._changed = True
                await self._publish()
            if self._changed and trio.current_time() >= self._next_status:
                await self._take_status()

    async def _publish(self) -> None:
        """Publish what has been committed since the last time."""
        full = True
        while full:
            page = await self._run_sync(self._storage.events, self.last, PAGE)
            full = len(page) == PAGE
            if page:
                self._recent.publish(page)
                self._tell()

    async def _take_status(self) -> None:
        """See where embedding stands, if anybody listens."""
        if self._snapshot is None or not self._listeners:
            return
        self._changed = False
        self._next_status = trio.current_time() + STATUS_EVERY_S
        snapshot = await self._run_sync(self._snapshot)
        lasting = _lasting(snapshot)
        if lasting != self._told:
            self._told = lasting
            self._status = status(snapshot)
            self._tell()

    def _tell(self) -> None:
        self._moved.set()
        self._moved = trio.Event()


def _lasting(snapshot: Snapshot) -> Snapshot:
    """What of a snapshot does not change merely because time passes."""
    worker = snapshot.get("worker")
    kept = {k: v for k, v in snapshot.items() if k != "oldest_pending_age_s"}
    if isinstance(worker, Mapping):
        kept["worker"] = {k: v for k, v in worker.items() if k != "heartbeat_at"}
    return kept
