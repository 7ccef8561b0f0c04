"""How claims end, and what becomes of rows that are queued again: the design's table."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.lifecycle import Embedded, Status
from actors.messages import Claim
from pyrite.storage.protocol import Storage
from pyrite.storage.queue_records import QueueCounts
from pyrite.storage.records import BULK, INTERACTIVE
from tests.conformance.hands import (
    POLICY,
    Worker,
    delete,
    ending,
    status,
    true_vectors,
    vectors,
    write,
)


def bring_to(worker: Worker, state: str) -> Claim | None:
    """Bring the entry ``a`` of ``kb``, once written, into a state; the claim, if it has one."""
    if state == "pending":
        return None
    claim = worker.claim_one()
    match state:
        case "waiting":
            worker.fail(claim)
        case "done":
            worker.finish(claim)
        case "failed":
            worker.fail(claim, final=True)
    return claim


STATES = ["pending", "waiting", "processing", "done", "failed"]


@pytest.mark.parametrize("state", STATES)
def test_writing_resets_whatever_state_it_was_in(
    storage: Storage, worker: Worker, state: str
) -> None:
    write(storage, "kb", "a", "old", priority=BULK)
    bring_to(worker, state)

    revision = write(storage, "kb", "a", "new", now=1.0, priority=INTERACTIVE)

    assert storage.counts() == QueueCounts(pending=1)
    assert storage.failures() == []
    assert storage.queue_state().last_error is None
    assert storage.queue_state().oldest_pending == 1.0
    claim = worker.claim_one(1.0)
    assert (claim.attempt, claim.revision, claim.queued_at) == (1, revision, 1.0)
    assert claim.priority == INTERACTIVE
    assert claim.missing[0].text == "new"


@pytest.mark.parametrize("state", STATES)
def test_deleting_removes_it_from_whatever_state(
    storage: Storage, worker: Worker, state: str
) -> None:
    write(storage, "kb", "a")
    claim = bring_to(worker, state)

    assert delete(storage, "kb", "a", now=1.0) == 1

    assert storage.counts() == QueueCounts()
    assert storage.failures() == []
    assert storage.queue_state().last_error is None
    assert storage.queue_state().oldest_pending is None
    assert worker.claim(1e6) == []
    if claim is not None:
        assert worker.finish(claim, now=2.0).lost == (claim,)
    assert storage.entry("kb", "a") is None
    assert vectors(storage, "kb", "a") == []


def test_finishing_stores_vectors_queue_row_and_event_together(
    storage: Storage, worker: Worker
) -> None:
    revision = write(storage, "kb", "a", "one\ntwo\none", now=2.0)
    before = storage.feed_bounds().last
    claim = worker.claim_one(3.0)

    settled = worker.finish(claim, now=4.5)

    assert settled.lost == ()
    assert settled.events == tuple(storage.events(before, 10))
    (event,) = settled.events
    assert (event.type, event.kb, event.entry_id) == ("embed_complete", "kb", "a")
    assert (event.revision, event.at) == (revision, 4.5)
    assert event.detail == {"queued_at": 2.0, "embedded_at": 4.5, "duration_ms": 2500.0}
    assert status(storage, "kb", "a") is Status.DONE
    assert vectors(storage, "kb", "a") == true_vectors("one\ntwo\none")
    passages = [passage for passage, _ in storage.embeddings("kb", "a")]
    assert [(p.ordinal, p.start, p.end) for p in passages] == [(0, 0, 3), (1, 4, 7), (2, 8, 11)]
    assert {p.revision for p in passages} == {revision}


def test_a_failure_with_attempts_left_waits_ever_longer(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a")
    settled = worker.fail(worker.claim_one(0.0), "first", now=0.0)
    assert (settled.events, settled.lost) == ((), ())
    assert storage.counts() == QueueCounts(pending=1)
    assert storage.claim(worker.request(0.0)).next_due_s == POLICY.backoff(1, 0)

    worker.fail(worker.claim_one(10.0), "second", now=10.0)
    assert storage.claim(worker.request(10.0)).next_due_s == POLICY.backoff(2, 0)
    assert storage.failures() == []

    (event,) = worker.fail(worker.claim_one(30.0), "third", now=31.0).events

    (failure,) = storage.failures()
    assert (failure.error, failure.attempts, failure.failed_at) == ("third", 3, 31.0)
    assert (event.type, event.detail) == ("embed_failed", {"error": "third", "attempts": 3})
    assert storage.counts() == QueueCounts(failed=1)
    assert storage.claim(worker.request(1e9)).next_due_s is None


def test_a_final_failure_is_not_tried_again(storage: Storage, worker: Worker) -> None:
    revision = write(storage, "kb", "a")
    (event,) = worker.fail(worker.claim_one(), "not text", final=True, now=2.0).events

    (failure,) = storage.failures()
    assert (failure.kb, failure.entry_id, failure.revision) == ("kb", "a", revision)
    assert (failure.error, failure.attempts, failure.failed_at) == ("not text", 1, 2.0)
    assert (event.type, event.revision) == ("embed_failed", revision)


def test_a_failed_edit_keeps_the_older_vectors(storage: Storage, worker: Worker) -> None:
    old = write(storage, "kb", "a", "old")
    worker.embed_all()
    write(storage, "kb", "a", "new")
    worker.fail(worker.claim_one(), final=True)

    ((passage, blob),) = storage.embeddings("kb", "a")
    assert (passage.revision, [blob]) == (old, true_vectors("old"))


# The guard: a claim that is no longer held changes nothing


def edited(storage: Storage, worker: Worker, claim: Claim) -> None:
    write(storage, claim.kb, claim.entry_id, "edited", now=1.0)


def edited_and_claimed(storage: Storage, worker: Worker, claim: Claim) -> None:
    edited(storage, worker, claim)
    worker.claim_one(1.0)


def edited_and_finished(storage: Storage, worker: Worker, claim: Claim) -> None:
    edited(storage, worker, claim)
    worker.finish(worker.claim_one(1.0), now=1.0)


def deleted(storage: Storage, worker: Worker, claim: Claim) -> None:
    delete(storage, claim.kb, claim.entry_id, now=1.0)


def claimed_by_another(storage: Storage, worker: Worker, claim: Claim) -> None:
    Worker(storage, "another").claim_one(1e3)


def finished_by_another(storage: Storage, worker: Worker, claim: Claim) -> None:
    another = Worker(storage, "another")
    another.finish(another.claim_one(1e3), now=1e3)


def rescued(storage: Storage, worker: Worker, claim: Claim) -> None:
    storage.rescue([worker.name], POLICY, now=1.0)


def released(storage: Storage, worker: Worker, claim: Claim) -> None:
    storage.release([claim])


def finished(storage: Storage, worker: Worker, claim: Claim) -> None:
    worker.finish(claim, now=1.0)


def failed(storage: Storage, worker: Worker, claim: Claim) -> None:
    worker.fail(claim, final=True, now=1.0)


Happening = Callable[[Storage, Worker, Claim], None]


@pytest.mark.parametrize("attempt", ["finish", "retry", "fail", "release", "renew"])
@pytest.mark.parametrize(
    "happening",
    [
        edited,
        edited_and_claimed,
        edited_and_finished,
        deleted,
        claimed_by_another,
        finished_by_another,
        rescued,
        released,
        finished,
        failed,
    ],
)
def test_a_lost_claim_changes_nothing(
    storage: Storage, worker: Worker, happening: Happening, attempt: str
) -> None:
    write(storage, "kb", "a", "original")
    claim = worker.claim_one()
    happening(storage, worker, claim)

    def everything() -> object:
        claimed = storage.claim(worker.request(2.0, limit=0))
        return (
            *(storage.entries(), storage.failures(), storage.queue_state()),
            *(storage.events(0, 100), storage.embeddings("kb", "a"), claimed),
        )

    before = everything()
    match attempt:
        case "finish":
            settled = worker.finish(claim, now=2.0)
            assert (settled.events, settled.lost) == ((), (claim,))
        case "retry" | "fail":
            settled = worker.fail(claim, final=attempt == "fail", now=2.0)
            assert (settled.events, settled.lost) == ((), (claim,))
        case "release":
            assert storage.release([claim]) == 0
        case "renew":
            storage.renew([claim], 1e9)
    assert everything() == before


@pytest.mark.parametrize("stale", ["token", "revision"])
def test_both_token_and_revision_must_match(storage: Storage, worker: Worker, stale: str) -> None:
    revision = write(storage, "kb", "a")
    claim = worker.claim_one()
    token = "0" * 32 if stale == "token" else claim.token
    number = revision + 1 if stale == "revision" else revision
    forged = Claim("kb", "a", number, token, 1, 0.0, 0, claim.layout, claim.missing)

    assert worker.finish(forged).lost == (forged,)
    assert storage.release([forged]) == 0
    assert status(storage, "kb", "a") is Status.PROCESSING
    assert worker.finish(claim).lost == ()


def test_one_lost_claim_does_not_hold_up_the_others(storage: Storage, worker: Worker) -> None:
    for name in "abc":
        write(storage, "kb", name, f"text of {name}", now=float(ord(name)))
    first, second, third = worker.claim(200.0)
    write(storage, "kb", "b", "edited")

    settled = worker.finish(first, second, third, now=201.0)

    assert settled.lost == (second,)
    assert [event.entry_id for event in settled.events] == ["a", "c"]
    assert storage.counts() == QueueCounts(pending=1, done=2)


def test_a_late_end_counts_while_nobody_else_has_taken_over(
    storage: Storage, worker: Worker
) -> None:
    write(storage, "kb", "a")
    claim = worker.claim_one(0.0, lease_s=1.0)

    assert worker.finish(claim, now=1e6).lost == ()
    assert status(storage, "kb", "a") is Status.DONE


def test_an_old_claim_and_a_new_one_of_an_entry_may_end_together(
    storage: Storage, worker: Worker
) -> None:
    """Only the one that is held ends anything, even where nothing but the token differs."""
    write(storage, "kb", "a", "text", now=0.0)
    old = worker.claim_one(1.0)
    storage.rescue(["worker"], POLICY, now=2.0)
    new = worker.claim_one(3.0)
    assert (old.revision, old.token != new.token) == (new.revision, True)

    settled = worker.finish(old, new, now=4.0)

    assert settled.lost == (old,)
    assert [(event.type, event.revision) for event in settled.events] == [
        ("embed_complete", new.revision)
    ]


def test_settling_is_all_or_nothing(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "one", now=0.0)
    write(storage, "kb", "b", "two", now=1.0)
    sound, broken = worker.claim(2.0)
    endings = [ending(claim, Embedded(), 2.0) for claim in (sound, broken)]
    before = storage.events(0, 10)

    # Neither claim's vector is given: a done row without one must not come to be.
    with pytest.raises(Exception):  # noqa: B017, PT011 - each engine has an error of its own
        worker.settle([], endings, now=2.0)

    assert storage.counts() == QueueCounts(processing=2)
    assert storage.events(0, 10) == before
    assert worker.finish(sound, broken, now=3.0).lost == ()


# Giving back


def test_releasing_costs_no_attempt(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", now=1.0)
    worker.fail(worker.claim_one(1.0), now=1.0)
    claim = worker.claim_one(20.0)
    assert claim.attempt == 2

    assert storage.release([claim]) == 1
    assert storage.release([claim]) == 0

    again = worker.claim_one(20.0)
    assert (again.attempt, again.queued_at) == (2, 1.0)
    assert again.token != claim.token


def test_only_what_is_still_held_is_released(storage: Storage, worker: Worker) -> None:
    for name in "abc":
        write(storage, "kb", name)
    claims = worker.claim()
    delete(storage, "kb", "b")

    assert storage.release(claims) == 2
    assert storage.release([]) == 0
    assert storage.counts() == QueueCounts(pending=2)


# Queued again


def fail_all(storage: Storage, worker: Worker, *keys: tuple[str, str]) -> None:
    for kb, entry_id in keys:
        write(storage, kb, entry_id)
        worker.fail(worker.claim_one(), final=True)


def test_all_failures_are_retried(storage: Storage, worker: Worker) -> None:
    fail_all(storage, worker, ("kb", "a"), ("kb", "b"), ("other", "a"))
    write(storage, "kb", "done")
    worker.embed_all()

    retried = storage.retry_failed(None, None, now=9.0)

    assert sorted(retried) == [("kb", "a"), ("kb", "b"), ("other", "a")]
    assert storage.counts() == QueueCounts(pending=3, done=1)
    assert storage.queue_state().last_error is None
    assert {(claim.attempt, claim.queued_at) for claim in worker.claim(9.0)} == {(1, 9.0)}


def test_named_failures_are_retried(storage: Storage, worker: Worker) -> None:
    fail_all(storage, worker, ("kb", "a"), ("kb", "b"), ("other", "a"), ("other", "b"))
    write(storage, "kb", "pending")

    assert storage.retry_failed("kb", ["a", "pending", "missing"], now=1.0) == [("kb", "a")]
    assert storage.retry_failed("kb", [], now=1.0) == []
    assert sorted(storage.retry_failed(None, ["b"], now=1.0)) == [("kb", "b"), ("other", "b")]
    assert [(f.kb, f.entry_id) for f in storage.failures()] == [("other", "a")]


def test_one_knowledge_bases_failures_are_retried(storage: Storage, worker: Worker) -> None:
    fail_all(storage, worker, ("kb", "a"), ("other", "a"))

    assert storage.retry_failed("other", None, now=1.0) == [("other", "a")]
    assert storage.counts("kb") == QueueCounts(failed=1)
    assert storage.counts("other") == QueueCounts(pending=1)


def test_reembedding_queues_what_has_ended(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "done")
    write(storage, "other", "done")
    worker.embed_all()
    fail_all(storage, worker, ("kb", "failed"))
    write(storage, "kb", "held")
    held = worker.claim_one()

    assert storage.reembed("kb", now=8.0, force=False, other_than=None) == 2

    assert storage.counts("kb") == QueueCounts(pending=2, processing=1)
    assert storage.counts("other") == QueueCounts(done=1)
    assert worker.finish(held).lost == ()
    claims = worker.claim(8.0)
    assert {(claim.attempt, claim.priority) for claim in claims} == {(1, BULK)}
    assert {claim.entry_id: len(claim.missing) for claim in claims} == {"done": 0, "failed": 0}


def test_reembedding_by_force_encodes_afresh(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "text")
    worker.embed_all()
    storage.reembed(None, now=1.0, force=True, other_than=None)

    (due,) = storage.claim(worker.request(1.0)).due
    assert due.renew_through
    claim = worker.split(due)
    assert len(claim.missing) == 1
    worker.finish(claim)
    write(storage, "kb", "a", "text", now=2.0)
    (due,) = storage.claim(worker.request(2.0)).due
    assert not due.renew_through


@pytest.mark.parametrize("interlude", ["retry", "edit", "failure", "release", "reembed"])
def test_what_is_to_be_encoded_afresh_stays_so_until_it_is(
    storage: Storage, worker: Worker, interlude: str
) -> None:
    write(storage, "kb", "a")
    worker.embed_all()
    storage.reembed(None, now=1.0, force=True, other_than=None)
    claim = worker.claim_one(1.0)
    match interlude:
        case "retry":
            worker.fail(claim, final=True)
            storage.retry_failed(None, None, now=2.0)
        case "edit":
            write(storage, "kb", "a", now=2.0)
        case "failure":
            worker.fail(claim, now=2.0)
        case "release":
            storage.release([claim])
        case "reembed":
            storage.release([claim])
            storage.reembed(None, now=2.0, force=False, other_than=None)

    (due,) = storage.claim(worker.request(100.0)).due
    assert due.renew_through


def test_reembedding_does_not_put_an_edit_behind_the_bulk(storage: Storage, worker: Worker) -> None:
    for name in "abc":
        write(storage, "kb", name, now=0.0)
    worker.embed_all()
    write(storage, "kb", "b", "edited", now=5.0, priority=INTERACTIVE)

    storage.reembed(None, now=6.0, force=True, other_than=None)

    assert storage.queue_state().oldest_pending == 5.0
    (due,) = storage.claim(worker.request(6.0, limit=1)).due
    assert (due.entry_id, due.priority, due.renew_through > 0) == ("b", INTERACTIVE, True)


def test_only_what_another_model_embedded_is_queued(storage: Storage, worker: Worker) -> None:
    newer = Worker(storage, fingerprint="newer")
    write(storage, "kb", "old")
    write(storage, "other", "old")
    worker.embed_all()
    write(storage, "kb", "new")
    newer.embed_all()
    fail_all(storage, worker, ("kb", "failed"))
    write(storage, "kb", "pending", now=3.0)

    assert storage.reembed("kb", now=4.0, force=False, other_than=newer.model_id) == 1
    assert {claim.entry_id for claim in newer.claim(4.0)} == {"old", "pending"}
    assert storage.reembed(None, now=4.0, force=False, other_than=newer.model_id) == 1
    assert storage.reembed(None, now=4.0, force=False, other_than=newer.model_id) == 0
    assert storage.counts() == QueueCounts(pending=1, processing=2, done=1, failed=1)
