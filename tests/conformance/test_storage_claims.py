"""Claiming: who gets what, in which order, and for how long."""

from __future__ import annotations

import pytest

from actors.lifecycle import LEASE_EXPIRED, Status
from pyrite.errors import NotFoundError
from pyrite.markdown.entry import Entry
from pyrite.storage.protocol import ClaimedRows, Storage
from pyrite.storage.queue_records import DueEntry, QueueCounts
from pyrite.storage.records import BULK, INTERACTIVE
from tests.conformance.hands import (
    LEASE_S,
    POLICY,
    Worker,
    delete,
    record,
    status,
    told,
    write,
)


def ids(claims: list) -> list[str]:
    return [claim.entry_id for claim in claims]


def test_a_claim_carries_the_entry(storage: Storage, worker: Worker) -> None:
    given = Entry("a", "person", "Ä", "Short", ("t",), "body", {"x": [1]})
    with storage.writing() as writing:
        (revision,) = writing.upsert([record("kb", given)], priority=BULK, now=3.0)

    rows = storage.claim(worker.request(5.0))

    (due,) = rows.due
    assert due == DueEntry(
        *("kb", given.id, "Ä", "Short", "body"),
        *(revision, due.token, 1, 3.0, BULK),
        renew_through=0,
    )
    assert (rows.next_due_s, rows.unfinished) == (None, 1)
    other = storage.claim(Worker(storage, "another").request(5.0))
    assert (other.next_due_s, other.unfinished) == (LEASE_S, 1)
    assert storage.counts() == QueueCounts(processing=1)


def test_every_claim_has_a_token_of_its_own(storage: Storage, worker: Worker) -> None:
    for name in "abc":
        write(storage, "kb", name)
    tokens = [claim.token for claim in worker.claim()]
    write(storage, "kb", "a")
    tokens.append(worker.claim_one().token)

    assert len(set(tokens)) == 4
    assert all(len(token) >= 32 for token in tokens)


def test_interactive_goes_before_bulk_and_older_before_newer(
    storage: Storage, worker: Worker
) -> None:
    write(storage, "kb", "bulk new", now=4.0, priority=BULK)
    write(storage, "kb", "bulk old", now=1.0, priority=BULK)
    write(storage, "other", "new", now=3.0, priority=INTERACTIVE)
    write(storage, "kb", "old", now=2.0, priority=INTERACTIVE)

    assert ids(worker.claim(9.0, limit=3)) == ["old", "new", "bulk old"]
    assert ids(worker.claim(9.0, limit=3)) == ["bulk new"]
    assert ids(worker.claim(9.0, limit=3)) == []


def test_a_stream_of_edits_does_not_stop_the_bulk(storage: Storage, worker: Worker) -> None:
    for number, name in enumerate("abcdef"):
        write(storage, "kb", name, now=float(number))
    for number, name in enumerate(("bulk old", "bulk new")):
        write(storage, "other", name, now=10.0 + number, priority=BULK)

    assert ids(worker.claim(20.0, limit=3)) == ["a", "b", "bulk old"]
    assert ids(worker.claim(20.0, limit=1)) == ["c"]
    assert ids(worker.claim(20.0, limit=2, kb="kb")) == ["d", "e"]
    assert ids(worker.claim(20.0, limit=2)) == ["f", "bulk new"]


def test_an_urgent_claim_takes_only_what_somebody_waits_for(
    storage: Storage, worker: Worker
) -> None:
    write(storage, "kb", "suspect")
    worker.claim_one()
    storage.rescue([worker.name], POLICY, now=0.0)
    write(storage, "kb", "bulk", now=1.0, priority=BULK)
    assert ids(worker.claim(5.0, urgent=True)) == []
    for name, at in (("b", 3.0), ("a", 2.0), ("c", 4.0)):
        write(storage, "kb", name, now=at)

    assert ids(worker.claim(5.0, limit=2, urgent=True)) == ["a", "b"]
    assert ids(worker.claim(5.0, urgent=True)) == ["c"]
    assert ids(worker.claim(5.0, urgent=True)) == []
    assert ids(worker.claim(5.0)) == ["bulk"]


def test_what_one_holds_another_does_not_get(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", now=1.0)
    write(storage, "kb", "b", now=2.0)
    mine = worker.claim(3.0, limit=1)
    theirs = Worker(storage, "another").claim(3.0)

    assert (ids(mine), ids(theirs)) == (["a"], ["b"])


def test_nothing_due_claims_nothing(storage: Storage, worker: Worker) -> None:
    assert storage.claim(worker.request()) == ClaimedRows((), None, 0)


def test_what_is_due_later_waits_for_its_time(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a")
    worker.fail(worker.claim_one(), now=100.0)  # due again at 110
    write(storage, "kb", "b", now=105.0)

    rows = storage.claim(worker.request(109.5))
    assert [due.entry_id for due in rows.due] == ["b"]
    assert rows.next_due_s == 0.5
    assert rows.unfinished == 2

    (claim,) = worker.claim(110.0)
    assert (claim.entry_id, claim.attempt, claim.queued_at) == ("a", 2, 0.0)


def test_promoting_one_leaves_the_others_waiting(storage: Storage, worker: Worker) -> None:
    for name, at in (("a", 100.0), ("b", 105.0)):
        write(storage, "kb", name)
        worker.fail(worker.claim_one(at), now=at)

    assert ids(worker.claim(110.0)) == ["a"]
    assert status(storage, "kb", "b") is Status.PENDING
    assert storage.claim(worker.request(112.0)).next_due_s == 3.0


def test_next_due_is_whichever_comes_first(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a")
    worker.fail(worker.claim_one(), now=0.0)  # due again at 10
    assert storage.claim(worker.request(4.0)).next_due_s == 6.0
    write(storage, "kb", "b", now=4.0)
    Worker(storage, "another").claim(4.0, lease_s=2.0)
    assert storage.claim(worker.request(5.0)).next_due_s == 1.0


def test_one_knowledge_base_can_be_served_alone(storage: Storage, worker: Worker) -> None:
    write(storage, "other", "first", now=1.0)
    write(storage, "kb", "bulk", now=2.0, priority=BULK)
    write(storage, "kb", "interactive", now=3.0)
    write(storage, "kb", "failed once", now=0.0)
    worker.fail(worker.claim(0.0, kb="kb", limit=1)[0], now=0.0)

    rows = storage.claim(worker.request(5.0, kb="kb", limit=1))
    assert [due.entry_id for due in rows.due] == ["interactive"]
    assert rows.unfinished == 3
    assert ids(worker.claim(5.0, kb="kb")) == ["bulk"]
    assert ids(worker.claim(5.0, kb="nowhere")) == []
    assert storage.claim(worker.request(5.0, kb="other", limit=0)).unfinished == 1
    assert storage.claim(worker.request(5.0, limit=0)).unfinished == 4
    assert status(storage, "other", "first") is Status.PENDING


def test_unfinished_counts_what_others_hold(storage: Storage, worker: Worker) -> None:
    for name in "abc":
        write(storage, "kb", name)
    held = worker.claim(limit=2)
    worker.finish(held[0])

    assert storage.claim(Worker(storage, "another").request(limit=0)).unfinished == 2


def test_one_entry_is_claimed_alone(storage: Storage, worker: Worker) -> None:
    for name in "abc":
        write(storage, "kb", name)
    write(storage, "other", "b")

    (claim,) = worker.claim(kb="kb", entry_id="b")

    assert (claim.kb, claim.entry_id) == ("kb", "b")
    assert storage.counts() == QueueCounts(pending=3, processing=1)
    assert worker.claim(kb="kb", entry_id="b") == []
    assert worker.claim(kb="kb", entry_id="missing") == []


def test_one_entry_is_claimed_even_while_it_waits(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a")
    worker.fail(worker.claim_one(), now=0.0)

    (claim,) = worker.claim(1.0, kb="kb", entry_id="a")

    assert claim.attempt == 2
    assert not worker.finish(claim, now=2.0).lost


@pytest.mark.parametrize("state", [Status.DONE, Status.FAILED])
def test_what_has_ended_is_not_claimed(storage: Storage, worker: Worker, state: Status) -> None:
    write(storage, "kb", "a")
    claim = worker.claim_one()
    if state is Status.DONE:
        worker.finish(claim)
    else:
        worker.fail(claim, final=True)

    assert worker.claim(1e6) == []
    assert worker.claim(1e6, kb="kb", entry_id="a") == []
    assert status(storage, "kb", "a") is state


# Leases


def test_a_lease_holds_until_it_expires(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a")
    worker.claim_one(100.0, lease_s=10.0)
    another = Worker(storage, "another")

    assert another.claim(109.9) == []
    assert another.claim_one(110.0).attempt == 2


def test_a_claim_says_how_many_leases_had_expired(storage: Storage, worker: Worker) -> None:
    for entry_id in ("a", "b"):
        write(storage, "kb", entry_id)
    worker.claim(100.0, lease_s=10.0)
    another = Worker(storage, "another")
    rescued = [storage.claim(another.request(at)).rescued for at in (109.0, 110.0, 111.0)]
    assert rescued == [0, 2, 0]


def test_renewing_extends_a_lease_that_is_held(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a")
    claim = worker.claim_one(100.0, lease_s=10.0)
    storage.renew([claim], 150.0)
    another = Worker(storage, "another")

    assert another.claim(149.9) == []
    taken = another.claim_one(150.0, lease_s=10.0)
    storage.renew([claim], 1e9)
    assert worker.claim_one(160.0).attempt == 3
    assert worker.finish(taken).lost == (taken,)


def test_an_expired_lease_costs_its_attempt(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a")
    before = storage.feed_bounds().last
    attempts = []
    for turn in range(3):
        next_worker = Worker(storage, f"worker {turn}")
        attempts.append(next_worker.claim_one(turn * 10.0, lease_s=10.0).attempt)
        error = storage.queue_state().last_error
        assert (error is None) == (turn == 0)
    assert worker.claim(29.9) == []

    assert worker.claim(30.0) == []

    assert attempts == [1, 2, 3]
    (failure,) = storage.failures()
    assert (failure.error, failure.attempts, failure.failed_at) == (LEASE_EXPIRED, 3, 30.0)
    (event,) = storage.events(before, 10)
    assert (event.type, event.kb, event.entry_id) == ("embed_failed", "kb", "a")
    assert (event.revision, event.at) == (failure.revision, 30.0)
    assert event.detail["error"] == LEASE_EXPIRED


def test_a_worker_keeps_what_it_holds_however_often_it_sleeps(
    storage: Storage, worker: Worker
) -> None:
    """A laptop that is shut three times is no reason to give an entry up."""
    write(storage, "kb", "a")
    claim = worker.claim_one(0.0)
    for turn in range(1, 4):
        now = turn * 10 * LEASE_S
        rows = storage.claim(worker.request(now))
        assert rows == ClaimedRows((), None, unfinished=1, rescued=0)
        storage.renew([claim], now + LEASE_S)

    assert not worker.finish(claim, now=31 * LEASE_S).lost
    assert (claim.attempt, storage.queue_state().last_error) == (1, None)


def test_a_worker_that_slept_rescues_what_others_left(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "mine")
    mine = worker.claim_one(0.0)
    write(storage, "kb", "theirs")
    Worker(storage, "another").claim_one(1.0)

    rows = storage.claim(worker.request(10 * LEASE_S))

    assert (rows.rescued, rows.next_due_s) == (1, None)
    assert not worker.finish(mine).lost
    assert worker.claim_one(10 * LEASE_S).entry_id == "theirs"


def test_claiming_one_entry_rescues_no_other(storage: Storage, worker: Worker) -> None:
    for name in ("a", "b"):
        write(storage, "kb", name)
    held = worker.claim(0.0)
    another = Worker(storage, "another")

    (mine,) = another.claim(10 * LEASE_S, kb="kb", entry_id="a")
    assert (mine.entry_id, mine.attempt) == ("a", 2)
    (lost,) = worker.finish(*held).lost
    assert lost.entry_id == "a"


# A clock that was set back


DAY_S = 86_400.0


def test_what_waits_for_a_retry_does_not_wait_longer_for_a_clock_set_back(
    storage: Storage, worker: Worker
) -> None:
    write(storage, "kb", "a", now=DAY_S)
    worker.fail(worker.claim_one(DAY_S), now=DAY_S)  # due a day and ten seconds from now

    rows = storage.claim(worker.request(0.0))
    assert (rows.due, rows.next_due_s) == ((), POLICY.longest_s)
    assert worker.claim(POLICY.longest_s - 1) == []
    assert worker.claim_one(POLICY.longest_s).attempt == 2


def test_a_lease_does_not_last_longer_for_a_clock_set_back(
    storage: Storage, worker: Worker
) -> None:
    write(storage, "kb", "a", now=DAY_S)
    worker.claim_one(DAY_S)
    another = Worker(storage, "another")

    assert storage.claim(another.request(0.0)).next_due_s == LEASE_S
    assert another.claim(LEASE_S - 1) == []
    assert another.claim_one(LEASE_S).attempt == 2


@pytest.mark.parametrize("late_s", [0.0, 0.5])
def test_a_time_that_may_be_right_is_left_as_it_is(
    storage: Storage, worker: Worker, late_s: float
) -> None:
    """Who renews may read the clock a moment after who claims."""
    write(storage, "kb", "a")
    storage.renew([worker.claim_one(0.0)], LEASE_S + late_s)
    another = Worker(storage, "another")

    assert storage.claim(another.request(0.0)).next_due_s == LEASE_S + late_s


def test_suspects_are_claimed_alone_and_after_everything_else(
    storage: Storage, worker: Worker
) -> None:
    """A worker that dies takes the innocent with it once, and never a second time."""
    dead = Worker(storage, "dead")
    for turn in range(3):
        write(storage, "kb", f"suspect {turn}", now=float(turn))
    assert len(dead.claim(5.0)) == 3
    storage.rescue(["dead"], POLICY, now=6.0)
    write(storage, "kb", "bulk", now=7.0, priority=BULK)

    (bulk,) = worker.claim(8.0)
    assert bulk.entry_id == "bulk"
    assert worker.claim(8.0) == []  # as long as it holds anything else
    assert not worker.finish(bulk).lost
    (suspect,) = worker.claim(8.0)
    assert suspect.entry_id == "suspect 0"
    write(storage, "kb", "edit", now=9.0)
    assert worker.claim(9.0) == []  # not even that, beside a suspect
    (edit,) = Worker(storage, "other").claim(9.0)
    assert edit.entry_id == "edit"
    storage.rescue(["worker"], POLICY, now=10.0)
    attempts = [Worker(storage, f"next {n}").claim(11.0)[0].attempt for n in range(3)]
    assert sorted(attempts) == [2, 2, 3]


def test_a_suspect_that_is_written_again_is_none(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", now=1.0)
    write(storage, "kb", "b", now=2.0)
    Worker(storage, "dead").claim(5.0)
    storage.rescue(["dead"], POLICY, now=6.0)
    write(storage, "kb", "a", now=7.0)
    write(storage, "kb", "b", now=8.0)
    assert [claim.entry_id for claim in worker.claim(9.0)] == ["a", "b"]


def test_dead_workers_are_rescued_before_their_leases_expire(
    storage: Storage, worker: Worker
) -> None:
    dead, dead_too = Worker(storage, "dead"), Worker(storage, "dead too")
    for turn in range(3):
        write(storage, "kb", str(turn), now=float(turn))
    mine, lost, lost_too = (w.claim(5.0, limit=1)[0] for w in (worker, dead, dead_too))

    assert storage.rescue([], POLICY, now=6.0) == 0
    assert storage.rescue(["dead", "dead too", "never seen"], POLICY, now=6.0) == 2

    assert storage.counts() == QueueCounts(pending=2, processing=1)
    assert not worker.finish(mine).lost
    assert dead.finish(lost).lost == (lost,)
    (first,) = worker.claim(6.0)
    assert first.attempt == 2
    assert not worker.finish(first).lost
    assert [claim.attempt for claim in worker.claim(6.0)] == [2]
    assert dead_too.finish(lost_too).lost == (lost_too,)


def test_an_entry_that_kills_its_workers_fails_in_the_end(storage: Storage) -> None:
    revision = write(storage, "kb", "poison")
    before = storage.feed_bounds().last
    for turn in range(3):
        Worker(storage, f"worker {turn}").claim_one()
        assert storage.rescue([f"worker {turn}"], POLICY, now=float(turn)) == 1

    assert status(storage, "kb", "poison") is Status.FAILED
    assert told(storage, before) == [("embed_failed", "poison", revision)]
    assert delete(storage, "kb", "poison") == 1


# Asking after one write


def test_a_write_can_be_asked_after(storage: Storage, worker: Worker) -> None:
    revision = write(storage, "kb", "a")
    seen = [storage.revision_status(revision)]
    claim = worker.claim_one()
    seen.append(storage.revision_status(revision))
    worker.fail(claim, now=0.0)
    seen.append(storage.revision_status(revision))
    worker.finish(worker.claim_one(10.0))
    seen.append(storage.revision_status(revision))
    failing = write(storage, "kb", "b")
    worker.fail(worker.claim_one(20.0), final=True)
    seen.append(storage.revision_status(failing))

    pending, processing = Status.PENDING, Status.PROCESSING
    assert seen == [pending, processing, pending, Status.DONE, Status.FAILED]


def test_a_write_that_another_followed_has_no_status(storage: Storage, worker: Worker) -> None:
    first = write(storage, "kb", "a")
    worker.embed_all()
    second = write(storage, "kb", "a", "edited")
    assert storage.revision_status(first) is None
    assert storage.revision_status(second) is Status.PENDING
    third = write(storage, "other", "b")
    delete(storage, "kb", "a")
    assert storage.revision_status(second) is None
    assert storage.revision_status(third) is Status.PENDING
    storage.remove_kb("other", now=1.0)
    assert storage.revision_status(third) is None


@pytest.mark.parametrize("revision", [0, -1, 2, 10**12])
def test_a_write_that_never_was_cannot_be_asked_after(storage: Storage, revision: int) -> None:
    assert write(storage, "kb", "a") == 1

    with pytest.raises(NotFoundError, match=f"no revision {revision}"):
        storage.revision_status(revision)
