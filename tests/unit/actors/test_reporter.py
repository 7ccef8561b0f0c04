"""The reporter alone: what ends a claim and when, what is told, and when it beats."""

import itertools
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.auto_reset_event import AutoResetEvent
from actors.in_flight import InFlight
from actors.lifecycle import RetryPolicy, Status, Transition
from actors.messages import Refused, Report, StateChange, WorkerState
from actors.ports import Settled, StorageUnavailableError
from actors.reporter import Assembly, reporter
from actors.retry import StorageRetry
from actors.tally import Tally
from tests.fakes.pipeline import Gate, claim, encoded, event, ids, inline, pieces

NOW = 1000.0
POLICY = RetryPolicy(max_attempts=3, base_s=2.0, jitter=0.5)
DONE = Transition(Status.DONE, 1)


# The assembly


def assembly_of(*claims):
    in_flight = InFlight()
    in_flight.enter(claims)
    return Assembly(in_flight, POLICY, clock=lambda: NOW, chance=lambda: 0.5)


def refused(piece, error="why", *, retryable=True):
    return Refused(piece, error, retryable)


def endings(assembly, *encoded, refused=(), ready=()):
    """Which entries a report ends, and how."""
    report = Report(tuple(encoded), tuple(refused), tuple(ready))
    return [(e.claim.entry_id, e.transition) for e in assembly.take(report)]


def test_a_claim_ends_only_with_its_last_chunk():
    one = claim("e", "a", "b", "c")
    a, b, c = encoded(one)
    assembly = assembly_of(one)
    assert endings(assembly, a) == []
    assert endings(assembly, c) == []
    assert one in assembly.in_flight
    assert endings(assembly, b) == [("e", DONE)]
    assert one not in assembly.in_flight


def test_claims_share_batches_and_end_each_with_its_own():
    first, second, third = claim("1", "a", "b"), claim("2", "c", "d"), claim("3", "e")
    (a, b), (c, d), (e,) = map(encoded, (first, second, third))
    assembly = assembly_of(first, second, third)
    assert endings(assembly, a, c, e) == [("3", DONE)]
    assert endings(assembly, d, b) == [("2", DONE), ("1", DONE)]
    assert len(assembly.in_flight) == 0


def test_one_text_in_two_claims_ends_each_by_its_own_piece():
    first, second = claim("1", "same"), claim("2", "same", "other")
    [(same_1,), (same_2, other)] = map(encoded, (first, second))
    assembly = assembly_of(first, second)
    assert endings(assembly, same_2) == []
    assert endings(assembly, same_1) == [("1", DONE)]
    assert endings(assembly, other) == [("2", DONE)]


def test_one_entry_under_two_claims_ends_each_by_its_own_piece():
    """A lease expired, and the entry came back under another token."""
    old, new = claim("e", "a", "b", token="old"), claim("e", "a", "b", token="new", attempt=2)
    assembly = assembly_of(old, new)
    assert endings(assembly, encoded(old)[0], encoded(new)[1]) == []
    assert endings(assembly, encoded(new)[0]) == [("e", Transition(Status.DONE, 2))]
    assert old in assembly.in_flight


def test_a_refused_chunk_ends_its_claim_once():
    one = claim("e", "a", "b", "c", "d")
    _, b, _, d = pieces(one)
    assembly = assembly_of(one)
    assert endings(assembly, encoded(one)[0]) == []
    due = NOW + 2.0 * (1 + 0.5 * 0.5)
    failure = Transition(Status.PENDING, 1, due, "why")
    assert endings(assembly, encoded(one)[2], refused=[refused(b)]) == [("e", failure)]
    assert endings(assembly, encoded(one)[3]) == []
    assert endings(assembly, refused=[refused(d)]) == []


def test_two_refused_chunks_in_one_report_end_it_once():
    one = claim("e", "a", "b", attempt=3)
    report = [refused(piece, f"error of {piece.chunk.text}") for piece in pieces(one)]
    failure = Transition(Status.FAILED, 3, error="error of a")
    assert endings(assembly_of(one), refused=report) == [("e", failure)]


def test_the_refused_chunk_counts_more_than_the_last_encoded_one():
    one = claim("e", "a", "b")
    _, b = pieces(one)
    [(_, transition)] = endings(assembly_of(one), encoded(one)[0], refused=[refused(b)])
    assert transition.status is Status.PENDING


def test_a_text_refused_for_good_is_not_tried_again():
    one = claim("e", "a")
    report = [refused(pieces(one)[0], retryable=False)]
    failure = Transition(Status.FAILED, 1, error="why")
    assert endings(assembly_of(one), refused=report) == [("e", failure)]


def test_a_neighbour_of_the_refused_succeeds():
    bad, good = claim("bad", "a"), claim("good", "b")
    report = [refused(pieces(bad)[0], retryable=False)]
    ended = dict(endings(assembly_of(bad, good), *encoded(good), refused=report))
    assert ended == {"bad": Transition(Status.FAILED, 1, error="why"), "good": DONE}


def test_ready_claims_are_done():
    one, other = claim("1"), claim("2")
    assembly = assembly_of(one, other)
    assert endings(assembly, ready=[one, other]) == [("1", DONE), ("2", DONE)]
    assert len(assembly.in_flight) == 0


def test_what_is_not_in_flight_is_not_ended():
    assert endings(assembly_of(), *encoded(claim("e", "a"))) == []


@given(st.data())
def test_every_claim_ends_once_however_its_chunks_arrive(data):
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    claims = [claim(f"e{n}", *(f"{n}/{i}" for i in range(size))) for n, size in enumerate(sizes)]
    poison = data.draw(st.sets(st.sampled_from(pieces(*claims)).map(lambda p: p.chunk.digest)))
    left = data.draw(st.permutations(encoded(*claims)))
    assembly, ended = assembly_of(*claims), []
    while left:
        size = data.draw(st.integers(1, len(left)))
        batch, left = left[:size], left[size:]
        bad = [e for e in batch if e.piece.chunk.digest in poison]
        good = [e for e in batch if e.piece.chunk.digest not in poison]
        ended += endings(assembly, *good, refused=[refused(e.piece) for e in bad])
    expected = {
        c.entry_id: Status.PENDING if poison & {m.digest for m in c.missing} else Status.DONE
        for c in claims
    }
    assert len(ended) == len(claims)
    assert {entry_id: transition.status for entry_id, transition in ended} == expected
    assert len(assembly.in_flight) == 0
    assert assembly._remaining == {}  # nothing is kept of what has ended


# The actor


@dataclass
class Ledger:
    """A queue that notes what it was told, and when, and answers a commit by the book."""

    answers: list[Settled] = field(default_factory=list)
    commits: list = field(default_factory=list)
    renewed: list = field(default_factory=list)
    beats: list = field(default_factory=list)

    def settle(self, encoded, endings):
        self.commits.append((encoded, endings))
        return self.answers.pop(0) if self.answers else Settled()

    def renew(self, claims):
        self.renewed.append((trio.current_time(), ids(claims)))

    def heartbeat(self, statistics):
        self.beats.append((trio.current_time(), statistics))


class Reporting:
    """A reporter with everything it touches."""

    def __init__(self, *claims, queue=None, run_sync=inline, beat_s=5.0):
        self.queue = queue or Ledger()
        self.assembly = assembly_of(*claims)
        #: What was reported of the database.
        self.said = []
        self.retry = StorageRetry(self.said.append)
        self.tally = Tally(trio.current_time, retry=self.retry)
        self.wake = AutoResetEvent()
        self.reports, self._reports = trio.open_memory_channel(2)
        #: How often the fan-out was told that there is something to read.
        self.committed = 0
        self.done = trio.Event()
        self._options = {"run_sync": run_sync, "beat_s": beat_s}

    async def run(self):
        await reporter(
            self._reports,
            queue=self.queue,
            retry=self.retry,
            assembly=self.assembly,
            tally=self.tally,
            wake=self.wake,
            committed=self._tell,
            **self._options,
        )
        self.done.set()

    def _tell(self):
        self.committed += 1

    async def report(self, *encoded, **parts):
        await self.reports.send(Report(tuple(encoded), **parts))

    async def told(self):
        """How often the fan-out was told, once the reporter has ended."""
        await self.done.wait()
        return self.committed

    def statistics(self):
        return self.tally.snapshot(len(self.assembly.in_flight))


async def test_a_report_is_one_commit(nursery, autojump_clock):
    first, second, ready = claim("1", "a"), claim("2", "b", "c"), claim("3")
    reporting = Reporting(first, second, ready)
    nursery.start_soon(reporting.run)
    results = encoded(first, second)[:2]
    await reporting.report(*results, ready=(ready,))
    reporting.reports.close()
    assert await reporting.told() == 0
    [(stored, ended)] = reporting.queue.commits
    assert stored == results  # chunks are kept even of a claim that goes on
    assert [(e.claim, e.transition) for e in ended] == [(ready, DONE), (first, DONE)]


async def test_only_what_the_database_changed_is_told(nursery, autojump_clock):
    first, second = claim("1", "a"), claim("2", "b")
    answers = [Settled((event(7), event(8)), lost=(first,)), Settled(), Settled((event(9),))]
    reporting = Reporting(first, second, queue=Ledger(answers))
    nursery.start_soon(reporting.run)
    await reporting.report(*encoded(first, second))
    await reporting.report(*encoded(first))
    await reporting.report(*encoded(second))
    reporting.reports.close()
    assert await reporting.told() == 2  # the second commit brought nothing


async def test_lost_claims_are_counted_and_are_no_error(nursery, autojump_clock):
    first, second, third = claim("1", "a"), claim("2", "b"), claim("3", "c")
    answer = Settled((event(1),), lost=(first, third))
    reporting = Reporting(first, second, third, queue=Ledger([answer]))
    nursery.start_soon(reporting.run)
    report = [refused(piece, retryable=False) for piece in pieces(third)]
    await reporting.report(*encoded(first, second), refused=tuple(report))
    reporting.reports.close()
    await reporting.told()
    statistics = reporting.statistics()
    assert (statistics.lost, statistics.done, statistics.failed) == (2, 1, 0)


async def test_the_time_of_every_commit_is_counted(nursery, autojump_clock, monkeypatch):
    seconds = SimpleNamespace(perf_counter=itertools.count().__next__)  # one between two looks
    monkeypatch.setattr("actors.reporter.time", seconds)
    one = claim("1", "a", "b")
    reporting = Reporting(one)
    nursery.start_soon(reporting.run)
    for result in encoded(one):
        await reporting.report(result)
    reporting.reports.close()
    await reporting.told()
    assert reporting.statistics().commit_s == 2.0


async def test_nothing_to_say_is_no_commit(nursery, autojump_clock):
    reporting = Reporting()
    nursery.start_soon(reporting.run)
    await reporting.report()
    reporting.reports.close()
    assert await reporting.told() == 0
    assert reporting.queue.commits == []


async def test_nothing_is_told_before_the_commit(nursery, autojump_clock):
    class Commits(Gate):
        async def __call__(self, sync_fn, *args, **options):
            if sync_fn.__name__ != "settle":
                return await inline(sync_fn, *args)
            return await super().__call__(sync_fn, *args, **options)

    gate, one = Commits(), claim("1", "a")
    reporting = Reporting(one, queue=Ledger([Settled((event(1),))]), run_sync=gate)
    nursery.start_soon(reporting.run)
    await reporting.report(*encoded(one))
    await gate.wait_entered()
    await trio.sleep(1)
    assert reporting.committed == 0
    gate.open()
    reporting.reports.close()
    assert await reporting.told() == 1


async def test_a_commit_is_not_torn_by_a_cancellation(autojump_clock):
    class AbandonsUnlessShielded:
        """Unlike a thread; so that only the reporter's own shield can save the commit."""

        def __init__(self):
            self.entered = trio.Event()

        async def __call__(self, sync_fn, *args, **options):
            if sync_fn.__name__ == "settle":
                self.entered.set()
                await trio.sleep(3)
            return sync_fn(*args)

    run_sync, first, second = AbandonsUnlessShielded(), claim("1", "a"), claim("2", "b")
    reporting = Reporting(first, second, run_sync=run_sync)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reporting.run)
        await reporting.report(*encoded(first))
        await reporting.report(*encoded(second))
        await run_sync.entered.wait()
        nursery.cancel_scope.cancel()
    assert trio.current_time() == 3
    assert [e.claim for _, ended in reporting.queue.commits for e in ended] == [first]
    assert reporting.assembly.in_flight.claims() == (second,)  # to be given back
    assert reporting.tally.snapshot(1).done == 1


async def test_a_bug_in_the_commit_is_not_swallowed(autojump_clock):
    class Broken(Ledger):
        def settle(self, encoded, endings):
            raise KeyError("bug")

    one = claim("1", "a")
    reporting = Reporting(one, queue=Broken())
    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="bug")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reporting.run)
            await reporting.report(*encoded(one))


async def test_the_poller_is_woken_by_each_report(nursery, autojump_clock):
    """In a drain it waits for the last ending, and for the first retry's due time."""
    one = claim("1", "a")
    reporting = Reporting(one)
    nursery.start_soon(reporting.run)
    await reporting.report(*encoded(one))
    with trio.fail_after(1):
        await reporting.wake.wait()
    assert len(reporting.queue.commits) == 1
    reporting.reports.close()


# A database that is unavailable for a while


@dataclass
class Full(Ledger):
    """A ledger whose disk is full until a time."""

    until: float = 2.0
    #: When a commit was tried, with what.
    tries: list = field(default_factory=list)

    def settle(self, encoded, endings):
        self.tries.append((trio.current_time(), encoded, endings))
        self._check()
        return super().settle(encoded, endings)

    def heartbeat(self, statistics):
        self._check()
        super().heartbeat(statistics)

    def _check(self):
        if 0 < trio.current_time() < self.until:
            raise StorageUnavailableError("database or disk is full")


async def test_a_commit_that_is_refused_is_made_again_and_told_once(nursery, autojump_clock):
    one = claim("1", "a", attempt=2)
    queue = Full([Settled((event(1),))])
    reporting = Reporting(one, queue=queue)
    nursery.start_soon(reporting.run)
    await trio.sleep(0.5)
    await reporting.report(*encoded(one))
    await trio.sleep(0.5)
    assert (reporting.committed, reporting.statistics().done) == (0, 0)
    assert reporting.statistics().state is WorkerState.DEGRADED
    assert reporting.statistics().reason == "the database is unavailable: database or disk is full"
    reporting.reports.close()
    assert await reporting.told() == 1
    # Each time the very same: what was decided once is not decided again.
    assert len(queue.tries) > 3
    assert len({(encoded, endings) for _, encoded, endings in queue.tries}) == 1
    assert (reporting.statistics().done, reporting.statistics().state) == (1, WorkerState.IDLE)
    assert len(reporting.said) == 2


async def test_a_commit_that_had_been_made_after_all_is_lost_and_no_error(nursery, autojump_clock):
    """The database did it, and could not say so; the guard keeps it from being done twice."""
    one = claim("1", "a")
    reporting = Reporting(one, queue=Full([Settled(lost=(one,))]))
    nursery.start_soon(reporting.run)
    await trio.sleep(0.5)
    await reporting.report(*encoded(one))
    reporting.reports.close()
    assert await reporting.told() == 0
    assert (reporting.statistics().lost, reporting.statistics().done) == (1, 0)


async def test_a_stop_in_an_outage_leaves_the_claims_to_be_given_back(autojump_clock):
    first, second = claim("1", "a"), claim("2", "b")
    reporting = Reporting(first, second, queue=Full(until=1000))
    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reporting.run)
            await trio.sleep(0.5)
            await reporting.report(*encoded(first))
    assert trio.current_time() == 10
    assert set(reporting.assembly.in_flight.claims()) == {first, second}
    assert reporting.committed == 0


async def test_after_an_outage_the_heart_says_at_once_that_it_is_over(nursery, autojump_clock):
    reporting = Reporting(queue=Full(until=7), beat_s=5)
    nursery.start_soon(reporting.run)
    await trio.sleep(9)
    at, said = reporting.queue.beats[-1]
    assert at < 9
    assert (said.state, said.reason) == (WorkerState.IDLE, None)
    reporting.reports.close()


# Beats


async def test_it_beats_at_the_start_and_then_regularly(nursery, autojump_clock):
    reporting = Reporting(beat_s=5)
    nursery.start_soon(reporting.run)
    await trio.sleep(17)
    assert [at for at, _ in reporting.queue.beats] == [0, 5, 10, 15]
    reporting.reports.close()


async def test_each_beat_renews_what_is_in_flight_then(nursery, autojump_clock):
    first, second, third = claim("1", "a"), claim("2", "b"), claim("3", "c")
    reporting = Reporting(first, second, beat_s=5)
    nursery.start_soon(reporting.run)
    await trio.sleep(6)
    await reporting.report(*encoded(first))
    reporting.assembly.in_flight.enter([third])
    await trio.sleep(6)
    assert reporting.queue.renewed == [(0, ["1", "2"]), (5, ["1", "2"]), (10, ["2", "3"])]
    reporting.reports.close()


async def test_a_stream_of_reports_does_not_keep_it_from_beating(nursery, autojump_clock):
    reporting = Reporting(beat_s=5)
    nursery.start_soon(reporting.run)
    for _ in range(22):
        await trio.sleep(1)
        await reporting.report()
    assert [at for at, _ in reporting.queue.beats] == [0, 5, 10, 15, 20]
    reporting.reports.close()


async def test_news_of_a_state_is_told_at_once_and_only_once(nursery, autojump_clock):
    one = claim("1", "a")
    reporting = Reporting(one, beat_s=100)
    nursery.start_soon(reporting.run)
    for at, change in [
        (1, StateChange(WorkerState.LOADING)),
        (2, StateChange(WorkerState.LOADING)),
        (3, StateChange(WorkerState.DEGRADED, "gone")),
        (4, StateChange(WorkerState.DEGRADED, "gone")),
        (5, StateChange(WorkerState.DEGRADED, "far away")),
        (6, StateChange(WorkerState.ENCODING)),
    ]:
        await trio.sleep_until(at)
        await reporting.reports.send(change)
    await trio.sleep_until(10)
    assert [(at, s.state, s.reason) for at, s in reporting.queue.beats] == [
        (0, WorkerState.STARTING, None),
        (1, WorkerState.LOADING, None),
        (3, WorkerState.DEGRADED, "gone"),
        (5, WorkerState.DEGRADED, "far away"),
        (6, WorkerState.ENCODING, None),
    ]
    reporting.reports.close()
