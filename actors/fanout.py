"""The fan-out: the one place where committed events become messages for subscribers.

It is told of commits: by the reporter, by whatever else of this process writes, and by its own
watch, which looks four times a second whether any process has committed. After each it reads
the new events once, has each rendered once, and keeps the newest for all subscribers.

A subscriber has a position, and takes what follows it: from memory, or from the database where
that is no longer in memory. So there is nothing to join between replay and live, and a slow
subscriber costs no memory and holds up nobody; one that may not fall behind is closed by
whoever serves it, and resumes from its last number.

Numbers of events have no holes, and only the oldest events are ever pruned: where the next event
is not the next number, those between have been pruned, and a :class:`Gap` says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

import trio

from actors.auto_reset_event import AutoResetEvent
from actors.messages import Event, Gap
from actors.ports import CommitWatcher, EventLog, RunInThread, StorageUnavailableError, Watch
from actors.retry import StorageRetry
from actors.watch import watch_in_thread

T = TypeVar("T")

#: Events read from the database, and items given to a subscriber, at a time.
PAGE = 500

#: Items kept in memory; who is further behind reads from the database.
KEPT = 10_000

#: How often commits are looked for, in seconds. What this process says of itself is not delayed
#: by it, and to look more often would cost an idle process more than all else that it does.
WATCH_S = 0.25


def unchanged(item: Event | Gap) -> Event | Gap:
    """The rendering for subscribers that want events as they are."""
    return item


class Fanout(Generic[T]):
    """The events of a database as they come; used from the Trio thread alone.

    Args:
        log: where the events are.
        run_sync: makes blocking calls elsewhere.
        render: what a subscriber is given for an event or a gap; called once for each that is
            kept, however many subscribers there are.
        replay: how many of the events that are there already are read at the start, for those
            who come back all at once after a restart.
        watch_s: how often commits are looked for.
        watch: looks for them; tests put one here that goes by a mock clock.
        retry: what is done while the database is unavailable: what is read late is late, and
            nothing is missed.
    """

    def __init__(
        self,
        log: EventLog,
        run_sync: RunInThread,
        render: Callable[[Event | Gap], T],
        *,
        replay: int = 0,
        watch_s: float = WATCH_S,
        watch: Watch = watch_in_thread,
        retry: StorageRetry | None = None,
    ) -> None:
        self._log = log
        self._run_sync = run_sync
        self._render = render
        self._replay = replay
        self._watch_s = watch_s
        self._watch = watch
        self._retry = retry or StorageRetry()
        self._kept: deque[T] = deque(maxlen=KEPT)
        self._told = AutoResetEvent()
        self._committed = trio.Event()
        self._moved = trio.Event()
        self._joined = trio.Event()
        #: The number of the newest event that was published, or that was there at the start.
        self.last = 0
        #: How often a commit was noticed, with an event or without.
        self.commits = 0
        #: Those who are subscribed now.
        self.subscribers = 0
        #: The newest item without a number, if there has been any; see :meth:`announce`.
        self.announced: T | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish events until cancelled; started once those that were there are known."""
        # It watches from before the first look: nothing is committed unseen between the two.
        watcher = await self._retry(partial(self._run_sync, self._log.watcher))
        try:
            self._kept.clear()
            self.last = max(0, await self.newest() - self._replay)
            await self._read()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_watching, watcher)
                task_status.started()
                while True:
                    await self._told.wait()
                    await self._read()
        finally:
            watcher.close()

    def tell(self) -> None:
        """Notice a commit, by whomever; to be called on the Trio thread."""
        self.commits += 1
        self._told.set()
        self._committed.set()
        self._committed = trio.Event()

    async def wait_committed(self, seen: int) -> int:
        """Return the number of commits noticed as soon as it is not the one that was seen."""
        while self.commits == seen:
            await self._committed.wait()
        return self.commits

    async def wait_subscribed(self) -> None:
        """Return as soon as there is a subscriber."""
        while not self.subscribers:
            await self._joined.wait()

    async def newest(self) -> int:
        """The number of the newest event in the database, published or not."""
        bounds = await self._retry(partial(self._run_sync, self._log.feed_bounds))
        return bounds.last

    @contextmanager
    def subscribe(self, position: int | None = None) -> Iterator[Subscription[T]]:
        """A subscription to what follows the event of that number or, without one, from now on."""
        self.subscribers += 1
        self._joined.set()
        self._joined = trio.Event()
        try:
            yield Subscription(self, self.last if position is None else position)
        finally:
            self.subscribers -= 1

    def announce(self, item: T) -> None:
        """Give an item without a number to all who have taken the events before it.

        It replaces the one before: who has not taken that yet never sees it.
        """
        self.announced = item
        self._move()

    def publish(self, events: Sequence[Event]) -> None:
        """Add the events that follow the last one, in order."""
        for event in events:
            # What is kept has no holes either.
            if event.seq != self.last + 1:
                self._kept.clear()
            self._kept.append(self._render(event))
            self.last = event.seq
        if events:
            self._move()

    def kept(self, position: int, most: int) -> list[T] | None:
        """What follows a position, ``most`` at a time; None where that is not in memory.

        For a subscriber that stands ahead of what is published, nothing does.
        """
        if position >= self.last:
            return []
        begin = len(self._kept) - (self.last - position)
        return None if begin < 0 else list(islice(self._kept, begin, begin + most))

    async def following(self, position: int) -> tuple[list[T], int]:
        """What follows a position, as far as it is published, and the position after it."""
        items = self.kept(position, PAGE)
        if items is not None:
            return items, position + len(items)
        newest = self.last
        page = await self._events(position)
        found = with_gaps(position, page, newest)
        return [self._render(each) for each in found], found[-1].seq

    async def wait_moved(self) -> None:
        """Return as soon as anything is published or announced."""
        await self._moved.wait()

    async def _read(self) -> None:
        """Publish what has been committed since the last time."""
        full = True
        while full:
            page = await self._events(self.last)
            full = len(page) == PAGE
            self.publish(page)

    async def _events(self, since: int) -> Sequence[Event]:
        return await self._retry(partial(self._run_sync, self._log.events, since, PAGE))

    async def _keep_watching(self, watcher: CommitWatcher) -> None:
        """Watch for commits until cancelled; an outage is over with the first look after it."""

        async def look() -> None:
            if await self._run_sync(watcher.changed):
                self.tell()

        while True:
            try:
                await self._watch(watcher, self.tell, self._watch_s)
            except StorageUnavailableError:
                await self._retry(look)

    def _move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()


class Subscription(Generic[T]):
    """One subscriber's place among the events; made by :meth:`Fanout.subscribe`."""

    def __init__(self, fanout: Fanout[T], position: int) -> None:
        self._fanout = fanout
        self._heard = fanout.announced
        #: The number of the last event that was taken, or said to be missing.
        self.position = position

    @property
    def waiting(self) -> int:
        """How many published events were not taken yet."""
        return self._fanout.last - self.position

    async def take(self) -> list[T]:
        """What comes next: at least one item, as soon as there is any."""
        fanout = self._fanout
        while True:
            items, self.position = await fanout.following(self.position)
            if items:
                return items
            announced = fanout.announced
            if announced is not None and announced is not self._heard:
                self._heard = announced
                return [announced]
            await fanout.wait_moved()


def with_gaps(position: int, page: Sequence[Event], newest: int) -> list[Event | Gap]:
    """What follows a position, by the database; the last item has the next position.

    Args:
        position: the number of the last event that the subscriber has.
        page: the events that follow it, in order: as many as were asked for, or all there are.
        newest: the newest event that was published when the page was asked for, which is after
            the position. Later ones are left for when they are.
    """
    found: list[Event | Gap] = []
    for event in page:
        if event.seq > newest:
            break
        if event.seq > position + 1:
            found.append(Gap(position + 1, event.seq - 1))
        found.append(event)
        position = event.seq
    return found or [Gap(position + 1, newest)]
