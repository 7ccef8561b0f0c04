"""The fan-out: every event once and in order, or a gap that was said, whoever committed it."""

import threading

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from trio.testing import wait_all_tasks_blocked

from actors import fanout as module
from actors.fanout import PAGE, WATCH_S, Fanout, unchanged, with_gaps
from actors.messages import Event, Gap
from actors.ports import StorageUnavailableError
from actors.retry import StorageRetry
from tests.fakes.pipeline import Gate


def event(seq):
    return Event(seq, "entry_created", "notes", f"e{seq}", seq, float(seq))


class Log:
    """Events that are committed and pruned; also the one who watches it."""

    def __init__(self):
        self.rows = []
        self.last = 0
        self.commits = 0
        #: What was read: after which number.
        self.reads = []
        self.looks = []
        self.closed = False
        self._seen = 0

    def commit(self, number=1):
        """So many events in one transaction; none is one without an event, as a heartbeat."""
        self.rows += [event(self.last + i + 1) for i in range(number)]
        self.last += number
        self.commits += 1

    def prune(self, keep):
        self.rows = self.rows[len(self.rows) - keep :] if keep else []

    def events(self, since, limit):
        self.reads.append(since)
        return [e for e in self.rows if e.seq > since][:limit]

    def feed_bounds(self):
        return self

    def watcher(self):
        self._seen = self.commits
        return self

    def changed(self):
        self.looks.append(trio.current_time())
        seen, self._seen = self._seen, self.commits
        return seen != self._seen

    def close(self):
        self.closed = True


async def watch(watcher, told, interval_s):
    """As in a thread of its own, but by the mock clock."""
    while True:
        await trio.sleep(interval_s)
        if watcher.changed():
            told()


async def run_sync(function, *args):
    """As through a thread, but inline; time passes for others."""
    await trio.lowlevel.checkpoint()
    return function(*args)


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def make(log, nursery):
    async def made(run_sync=run_sync, **options):
        fanout = Fanout(log, run_sync, unchanged, watch=watch, **options)
        await nursery.start(fanout.run)
        return fanout

    return made


def known(items):
    """What has come to be known by them."""
    return [(each.first, each.last) if isinstance(each, Gap) else each.seq for each in items]


async def heard(subscription):
    """All that there is to take, as what came to be known."""
    found = []
    while subscription.waiting > 0:
        found += known(await subscription.take())
    return found


# Being told, and watching


async def test_what_any_process_commits_is_published(make, log, autojump_clock):
    log.commit(3)
    fanout = await make()
    assert fanout.last == 3  # nobody was subscribed to those
    with fanout.subscribe() as subscription:
        log.commit(2)
        assert known(await subscription.take()) == [4, 5]


async def test_what_it_is_told_of_is_published_at_once(make, log, mock_clock):
    fanout = await make()
    log.commit()
    await wait_all_tasks_blocked()
    assert fanout.last == 0
    fanout.tell()
    await wait_all_tasks_blocked()
    assert fanout.last == 1


async def test_it_looks_for_commits_four_times_a_second_and_reads_only_after_one(
    make, log, autojump_clock
):
    await make()
    await trio.sleep(60)
    assert WATCH_S == 0.25
    assert len(log.looks) == pytest.approx(60 / WATCH_S, abs=1)
    assert log.reads == [0]  # at the start


async def test_a_look_that_waits_behind_a_lock_delays_nothing_else(log, nursery):
    """With a real thread, and so without a mock clock; it goes on as soon as it may."""
    locked, free = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def changed():
        token.run_sync_soon(locked.set)
        return free.wait(60)

    log.changed = changed
    fanout = Fanout(log, run_sync, unchanged, watch_s=0.0)
    await nursery.start(fanout.run)
    await locked.wait()
    with fanout.subscribe() as subscription:
        log.commit()
        fanout.tell()
        assert known(await subscription.take()) == [1]
    free.set()
    assert await fanout.wait_committed(1) > 1


async def test_the_watch_ends_before_the_watcher_is_closed(log, nursery):
    looked = threading.Event()

    def changed():
        assert not log.closed
        looked.set()

    log.changed = changed
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as running:
            await running.start(Fanout(log, run_sync, unchanged, watch_s=0.0).run)
            await trio.to_thread.run_sync(looked.wait, 60)
            scope.cancel()
    assert log.closed


async def test_events_are_read_and_rendered_once_for_all(log, nursery, autojump_clock):
    rendered = []
    fanout = Fanout(log, run_sync, lambda each: rendered.append(each.seq) or each, watch=watch)
    await nursery.start(fanout.run)
    taken = []

    async def take():
        with fanout.subscribe() as subscription:
            while len(taken) < 100:
                taken.extend(known(await subscription.take()))

    for _ in range(20):
        nursery.start_soon(take)
    await wait_all_tasks_blocked(0.01)
    assert fanout.subscribers == 20
    for _ in range(5):
        log.commit()
        fanout.tell()
        await trio.sleep(0.01)
    assert sorted(taken) == sorted([1, 2, 3, 4, 5] * 20)
    assert rendered == [1, 2, 3, 4, 5]
    assert log.reads == [0, 0, 1, 2, 3, 4]


async def test_who_waits_for_a_commit_hears_of_those_without_an_event(make, log, autojump_clock):
    fanout, begun = await make(), trio.current_time()
    log.commit(0)
    assert await fanout.wait_committed(0) == 1
    assert trio.current_time() == begun + WATCH_S
    fanout.tell()
    assert await fanout.wait_committed(1) == 2
    assert fanout.last == 0


async def test_a_log_that_cannot_be_read_ends_it(log, autojump_clock):
    fanout = Fanout(log, run_sync, unchanged, watch=watch)
    log.feed_bounds()
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(fanout.run)
            log.events = lambda *_: 1 / 0
            log.commit()
    assert log.closed


# A database that is unavailable for a while


class Unavailable(Log):
    """A log that can neither be read nor watched from one time until another."""

    since, until = 1.0, 5.0

    def _check(self):
        if self.since <= trio.current_time() < self.until:
            raise StorageUnavailableError("disk I/O error")

    def events(self, since, limit):
        self._check()
        return super().events(since, limit)

    def feed_bounds(self):
        self._check()
        return super().feed_bounds()

    def watcher(self):
        self._check()
        return super().watcher()

    def changed(self):
        self._check()
        return super().changed()


@pytest.mark.parametrize("since", [0.0, 1.0])
async def test_what_was_committed_in_an_outage_is_published_after_it(
    nursery, autojump_clock, since
):
    said, log = [], Unavailable()
    log.since = since
    fanout = Fanout(log, run_sync, unchanged, watch=watch, retry=StorageRetry(said.append))
    nursery.start_soon(fanout.run)
    with fanout.subscribe(0) as subscription:
        await trio.sleep(2)
        log.commit(2)
        await trio.sleep(2)
        assert fanout.last == 0
        await trio.sleep(8)
        assert await heard(subscription) == [1, 2]
        log.commit()
        await trio.sleep(1)
        assert await heard(subscription) == [3]
    assert said == [
        "the database is unavailable, and is tried again: disk I/O error",
        "the database can be used again",
    ]


async def test_who_reads_from_the_database_waits_for_it(autojump_clock, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 1)
    log = Unavailable()
    fanout = Fanout(log, run_sync, unchanged, watch=watch)
    async with trio.open_nursery() as nursery:
        await nursery.start(fanout.run)
        log.commit(3)
        await trio.sleep(1.5)
        with fanout.subscribe(0) as subscription:
            assert await heard(subscription) == [1, 2, 3]
            assert trio.current_time() >= log.until
        nursery.cancel_scope.cancel()


async def test_the_thread_that_looks_goes_on_after_an_outage(log, nursery):
    """With a real thread, and so without a mock clock."""
    failures = [StorageUnavailableError("database is locked")]

    def changed():
        if failures:
            raise failures.pop()
        seen, log._seen = log._seen, log.commits
        return seen != log._seen

    log.changed = changed
    fanout = Fanout(log, run_sync, unchanged, watch_s=0.0)
    await nursery.start(fanout.run)
    log.commit()
    with trio.fail_after(60), fanout.subscribe(0) as subscription:
        assert known(await subscription.take()) == [1]
    assert failures == []


# Subscribers


async def test_a_burst_of_many_pages_is_heard_in_order(make, log, autojump_clock):
    fanout = await make()
    with fanout.subscribe() as subscription:
        log.commit(PAGE * 3 + 7)
        await trio.sleep(1)
        assert await heard(subscription) == list(range(1, PAGE * 3 + 8))


async def test_who_is_far_behind_reads_from_the_database_and_holds_up_nobody(
    make, log, autojump_clock, monkeypatch
):
    monkeypatch.setattr(module, "KEPT", 10)
    fanout = await make()
    with fanout.subscribe() as slow, fanout.subscribe() as quick:
        followed = []
        for number in (3, 50, 1, 600, 4):
            log.commit(number)
            await trio.sleep(1)
            followed += await heard(quick)
        assert followed == list(range(1, 659))
        assert (slow.waiting, len(fanout.kept(fanout.last - 10, PAGE))) == (658, 10)
        assert await heard(slow) == list(range(1, 659))


async def test_what_was_pruned_before_it_was_read_is_said(make, log, autojump_clock):
    fanout = await make()
    with fanout.subscribe() as subscription:
        log.commit(2)
        await trio.sleep(1)
        log.commit(5)
        log.prune(2)  # in the same moment
        await trio.sleep(1)
        assert await heard(subscription) == [(1, 5), 6, 7]
        log.commit()
        await trio.sleep(1)
        assert await heard(subscription) == [8]


async def test_what_is_committed_while_a_page_is_read_is_not_said_to_be_missing(
    make, log, autojump_clock
):
    """Though all that was there before has been pruned."""
    slow = Gate()

    async def run_sync(function, *args):
        found = function(*args)
        if args[:1] == (2,):
            await slow(lambda: None)
        await trio.lowlevel.checkpoint()
        return found

    fanout = await make(run_sync)
    log.commit(9)
    await trio.sleep(1)
    log.prune(0)
    fanout._kept.clear()
    with fanout.subscribe(2) as subscription:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def take():
                assert known(await subscription.take()) == [(3, 9)]

            await slow.wait_entered()
            log.commit()
            await trio.sleep(1)
            assert fanout.last == 10
            slow.open()
        assert await heard(subscription) == [10]


async def test_a_subscriber_may_stand_ahead_of_what_is_published(make, log, autojump_clock):
    """As one does that comes from a process which has looked more recently."""
    fanout = await make()
    with fanout.subscribe(2) as subscription:
        with trio.move_on_after(1) as waiting:
            await subscription.take()
        assert waiting.cancelled_caught
        log.commit(2)
        await trio.sleep(1)
        log.commit()
        await trio.sleep(1)
        assert await heard(subscription) == [3]


@pytest.mark.parametrize("replay", [0, 2, 100])
async def test_from_the_beginning(make, log, autojump_clock, replay):
    log.commit(9)
    log.prune(6)
    fanout = await make(replay=replay)
    with fanout.subscribe(0) as subscription:
        assert await heard(subscription) == [(1, 3), 4, 5, 6, 7, 8, 9]
    assert await fanout.newest() == 9


async def test_it_can_run_again_after_a_time_in_which_nobody_watched(log, autojump_clock):
    fanout = Fanout(log, run_sync, unchanged, watch=watch)
    with fanout.subscribe() as subscription:
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                await nursery.start(fanout.run)
                log.commit(2)
                await trio.sleep(1)
                nursery.cancel_scope.cancel()
            log.commit(3)
        assert await heard(subscription) == [1, 2, 3, 4, 5, 6, 7]


async def test_subscribers_are_counted_and_waited_for(make, autojump_clock):
    fanout = await make()
    with trio.move_on_after(1) as waiting:
        await fanout.wait_subscribed()
    assert waiting.cancelled_caught
    with fanout.subscribe():
        await fanout.wait_subscribed()
        assert fanout.subscribers == 1
    assert fanout.subscribers == 0


async def test_an_announcement_comes_after_the_events_and_only_the_newest(
    make, log, autojump_clock
):
    fanout = await make()
    fanout.announce("before")
    with fanout.subscribe() as subscription:
        fanout.announce("first")
        log.commit()
        await trio.sleep(1)
        fanout.announce("second")
        assert known(await subscription.take()) == [1]
        assert await subscription.take() == ["second"]
        with trio.move_on_after(1) as waiting:
            await subscription.take()
        assert waiting.cancelled_caught
        assert subscription.position == 1


# Reading on, against a model


class Client:
    """Somebody who takes what follows its place, and notes it."""

    def __init__(self, position):
        self.begin = self.position = position
        self.seen = []
        self.missing = set()

    def hear(self, items):
        for each in items:
            if isinstance(each, Gap):
                self.missing |= set(range(each.first, each.last + 1))
            else:
                self.seen.append(each.seq)
            self.position = each.seq


class Reading(RuleBasedStateMachine):
    """Processes commit and prune; two of them publish; a client goes from one to the other."""

    def __init__(self):
        super().__init__()
        self.log = Log()
        self.fanouts = [Fanout(self.log, run_sync, unchanged) for _ in range(2)]
        for fanout in self.fanouts:
            fanout._kept = type(fanout._kept)(maxlen=4)
        self.client = Client(0)
        self.page = None

    @rule(number=st.integers(1, 9))
    def commit(self, number):
        self.log.commit(number)

    @rule(keep=st.integers(0, 6))
    def prune(self, keep):
        self.log.prune(keep)

    @rule(which=st.integers(0, 1), limit=st.integers(1, 5))
    def publish(self, which, limit):
        fanout = self.fanouts[which]
        fanout.publish(self.log.events(fanout.last, limit))

    @precondition(lambda self: self.page is None)
    @rule(which=st.integers(0, 1), most=st.integers(1, 3))
    def take(self, which, most):
        """Take what is kept, or begin to read; a client may change its process at any time."""
        fanout, client = self.fanouts[which], self.client
        items = fanout.kept(client.position, most)
        if items is None:
            self.page = (fanout.last, self.log.events(client.position, most))
        else:
            assert [each.seq for each in items] == list(
                range(client.position + 1, client.position + 1 + len(items))
            )
            client.hear(items)

    @precondition(lambda self: self.page is not None)
    @rule(breaks_off=st.booleans())
    def receive(self, breaks_off):
        """What was read arrives, much later perhaps, whole or not at all."""
        newest, page = self.page
        self.page = None
        items = with_gaps(self.client.position, page, newest)
        assert items[-1].seq > self.client.position
        self.client.hear(items[:1] if breaks_off else items)

    @invariant()
    def every_event_once_or_said_to_be_missing(self):
        client = self.client
        assert client.seen == sorted(set(client.seen))
        assert client.missing.isdisjoint(client.seen)
        heard = client.missing | set(client.seen)
        assert heard == set(range(client.begin + 1, client.position + 1))

    @invariant()
    def nothing_is_said_to_be_missing_that_is_there(self):
        assert self.client.missing.isdisjoint(e.seq for e in self.log.rows)

    @invariant()
    def nothing_is_heard_before_it_was_published(self):
        assert self.client.position <= max(fanout.last for fanout in self.fanouts)

    def teardown(self):
        """In the end it hears all there is."""
        fanout = self.fanouts[0]
        while page := self.log.events(fanout.last, 3):
            fanout.publish(page)
        while self.client.position < fanout.last:
            items = fanout.kept(self.client.position, 2)
            if items is None:
                page = self.log.events(self.client.position, 2)
                items = with_gaps(self.client.position, page, fanout.last)
            self.client.hear(items)
        self.every_event_once_or_said_to_be_missing()


Reading.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestReading = Reading.TestCase


def test_what_is_kept_has_no_holes():
    fanout = Fanout(Log(), run_sync, unchanged)
    fanout.publish([event(1), event(2)])
    fanout.publish([event(7), event(8)])  # those between were pruned before they were read
    assert fanout.kept(2, 10) is None
    assert fanout.kept(5, 10) is None
    assert known(fanout.kept(6, 10)) == [7, 8]
    assert known(fanout.kept(6, 1)) == [7]
    assert fanout.kept(8, 10) == fanout.kept(99, 10) == []


def test_when_all_was_pruned_that_is_said():
    assert with_gaps(3, [], 9) == [Gap(4, 9)]
