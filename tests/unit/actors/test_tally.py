"""The worker's numbers: what is counted, the rate over a minute, and the state shown."""

import pytest

from actors.lifecycle import Status, Transition
from actors.messages import Refused, Report, StateChange, Statistics, WorkerState
from actors.ports import Ending, Settled
from actors.tally import Tally
from tests.fakes.pipeline import claim, encoded, pieces


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tally(clock):
    return Tally(clock)


def batch(tokens, encode_s):
    """A batch of two texts that took so long to encode."""
    return Report(encoded(claim("e", "a", "b", tokens=tokens // 2)), encode_s=encode_s)


def rate(tally):
    return tally.snapshot(1).tokens_per_s


# Counts


def test_it_starts_from_nothing(tally):
    assert tally.snapshot(1) == Statistics()


def test_reports_are_counted(tally):
    one, bad = claim("1", "a", "b", tokens=5), claim("2", "c")
    refused = (Refused(pieces(bad)[0], "why"),)
    tally.report(Report(encoded(one), refused, encode_s=2.0))
    tally.report(Report(refused=refused, encode_s=1.0))
    tally.report(Report(ready=(claim("3"),)))
    statistics = tally.snapshot(1)
    assert (statistics.chunks, statistics.tokens, statistics.batches) == (2, 10, 2)
    assert statistics.encode_s == 3.0


def test_endings_are_counted_by_what_they_became(tally):
    kinds = [Status.DONE] * 3 + [Status.FAILED] * 2 + [Status.PENDING]
    endings = [Ending(claim(str(n)), Transition(kind, 1)) for n, kind in enumerate(kinds)]
    lost = (endings[0].claim, endings[3].claim)
    tally.settled(tuple(endings), Settled(lost=lost), commit_s=0.5)
    tally.settled((), Settled(), commit_s=0.25)
    statistics = tally.snapshot(0)
    counts = (statistics.done, statistics.failed, statistics.retried, statistics.lost)
    assert counts == (2, 1, 1, 2)
    assert statistics.commit_s == 0.75


def test_released_claims_are_counted(tally):
    tally.released(3)
    tally.released(4)
    assert tally.snapshot(0).released == 7


# The rate


def test_there_is_no_rate_before_the_first_batch(tally):
    assert rate(tally) == 0.0


def test_the_rate_of_one_batch(tally):
    tally.report(batch(100, encode_s=2.0))
    assert rate(tally) == pytest.approx(50)


def test_the_rate_of_batches_without_a_pause(tally, clock):
    for tokens, encode_s in [(100, 1.0), (100, 3.0), (400, 2.0)]:
        clock.now += encode_s
        tally.report(batch(tokens, encode_s))
    assert rate(tally) == pytest.approx(600 / 6)


def test_pauses_between_batches_are_not_counted(tally, clock):
    tally.report(batch(100, encode_s=1.0))
    clock.now += 40.0
    tally.report(batch(100, encode_s=1.0))
    assert rate(tally) == pytest.approx(100)


def test_the_pause_after_the_last_batch_is_not_counted(tally, clock):
    tally.report(batch(100, encode_s=2.0))
    clock.now += 59.0
    assert rate(tally) == pytest.approx(50)


def test_what_is_more_than_a_minute_old_no_longer_counts(tally, clock):
    tally.report(batch(1000, encode_s=1.0))
    clock.now += 61.0
    tally.report(batch(100, encode_s=2.0))
    assert rate(tally) == pytest.approx(50)
    clock.now += 61.0
    assert rate(tally) == 0.0


def test_batches_that_took_no_time_have_no_rate(tally):
    tally.report(batch(100, encode_s=0.0))
    assert rate(tally) == 0.0


def test_a_clock_set_back_does_no_harm(tally, clock):
    tally.report(batch(100, encode_s=1.0))
    clock.now -= 3600.0
    tally.report(batch(100, encode_s=1.0))
    assert rate(tally) >= 0.0


# The state


def test_a_state_is_news_once(tally):
    gone = StateChange(WorkerState.DEGRADED, "gone")
    assert tally.state(gone)
    assert not tally.state(gone)
    assert tally.state(StateChange(WorkerState.DEGRADED, "other"))
    assert tally.state(StateChange(WorkerState.ENCODING))
    assert tally.snapshot(1).reason is None


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (WorkerState.STARTING, WorkerState.IDLE),
        (WorkerState.ENCODING, WorkerState.IDLE),
        (WorkerState.LOADING, WorkerState.LOADING),
        (WorkerState.DEGRADED, WorkerState.DEGRADED),
    ],
)
def test_a_worker_with_nothing_in_flight_is_idle_unless_its_model_is_away(tally, state, shown):
    tally.state(StateChange(state, "why"))
    assert tally.snapshot(1).state is state
    assert tally.snapshot(0).state is shown
    assert tally.snapshot(0).reason == "why"


def test_characters_are_counted_beside_tokens(clock, tally):
    texts = claim("e", "long text", "a", tokens=10)
    tally.report(Report(encoded(texts), encode_s=2.0, took_s=2.0))
    snapshot = tally.snapshot(1)
    assert (snapshot.tokens, snapshot.characters) == (20, 10)
    assert (snapshot.tokens_per_s, snapshot.characters_per_s) == (10.0, 5.0)
    clock.now += 3600
    assert tally.snapshot(1).characters_per_s == 0.0
    assert tally.snapshot(1).characters == 10


# The observer


class Observer:
    def __init__(self):
        self.seen = []

    def encoded(self, texts, seconds):
        self.seen.append(("encoded", texts, seconds))

    def committed(self, seconds):
        self.seen.append(("committed", seconds))

    def rescued(self, claims):
        self.seen.append(("rescued", claims))


def test_an_observer_is_told_of_each_batch_and_each_commit(clock):
    observer = Observer()
    tally = Tally(clock, observer)
    one, bad = claim("1", "a", "b"), claim("2", "c")
    tally.report(Report(encoded(one), (Refused(pieces(bad)[0], "why"),), took_s=2.0))
    # Nothing was encoded for a claim whose chunks all had been before.
    tally.report(Report(ready=(claim("3"),)))
    tally.settled((), Settled(), 0.25)
    assert observer.seen == [("encoded", 3, 2.0), ("committed", 0.25)]
