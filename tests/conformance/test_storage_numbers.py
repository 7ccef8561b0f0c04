"""The numbers that status shows: always those that a recount would give."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.lifecycle import Status
from pyrite.storage.protocol import Storage
from pyrite.storage.queue_records import LastError, QueueCounts, QueueState
from pyrite.storage.records import BULK, NO_MODEL, Filters
from tests.conformance.conftest import Opener
from tests.conformance.hands import POLICY, Worker, delete, write

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("write", "write", "delete", "claim", "claim", "finish", "fail", "retry later"),
                *("release", "rescue", "retry", "reembed", "forget"),
            ]
        ),
        st.sampled_from(["kb", "other"]),
        st.sampled_from(["a", "b", "c"]),
    ),
    max_size=25,
)


def recount(storage: Storage, kb: str | None) -> QueueCounts:
    entries = storage.entries(Filters(kbs=() if kb is None else (kb,)))
    return QueueCounts(**Counter(str(stored.embedding) for stored in entries))


def unfinished(storage: Storage, kb: str | None) -> int:
    """Characters of the texts that are not embedded, counted one by one."""
    length = 0
    for listed in storage.entries(Filters(kbs=() if kb is None else (kb,))):
        stored = storage.entry(listed.kb, listed.entry.id)
        if stored is not None and stored.embedding in {Status.PENDING, Status.PROCESSING}:
            length += len(stored.entry.title) + len(stored.entry.summary) + len(stored.entry.body)
    return length


@settings(
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_counts_always_equal_a_recount(opener: Opener, steps: list[tuple[str, str, str]]) -> None:
    storage = opener()
    worker = Worker(storage)
    for kb in ("kb", "other"):
        storage.remove_kb(kb, now=0.0)
        storage.add_kb(kb, f"/{kb}", now=0.0)
    held = []
    for now, (step, kb, entry_id) in enumerate(steps):
        match step:
            case "write":
                write(storage, kb, entry_id, now=now)
            case "delete":
                delete(storage, kb, entry_id, now=now)
            case "claim":
                held += worker.claim(now, limit=2)
            case "finish" if held:
                worker.finish(held.pop(), now=now)
            case "fail" | "retry later" if held:
                worker.fail(held.pop(), final=step == "fail", now=now)
            case "release":
                storage.release(held)
            case "rescue":
                storage.rescue([worker.name], POLICY, now=now)
            case "retry":
                storage.retry_failed(kb, None, now=now)
            case "reembed":
                storage.reembed(kb, now=now, force=False, other_than=None)
            case "forget":
                storage.remove_kb(kb, now=now)
                storage.add_kb(kb, f"/{kb}", now=now)
        for scope in (None, "kb", "other"):
            assert storage.counts(scope) == recount(storage, scope)
            state = storage.queue_state([scope] if scope else ())
            assert state.unfinished_characters == unfinished(storage, scope)
    assert storage.problems() == {}
    storage.close()


def test_totals() -> None:
    counts = QueueCounts(pending=1, processing=2, done=4, failed=8)

    assert (counts.total, counts.unfinished) == (15, 3)


def test_nothing_to_count(storage: Storage) -> None:
    assert storage.counts() == storage.counts("nowhere") == QueueCounts()
    assert storage.failures() == []
    for state in (storage.queue_state(), storage.queue_state(["kb"])):
        assert state == QueueState(QueueCounts(), 0, None, None)


def test_failures_come_newest_first(storage: Storage, worker: Worker) -> None:
    for kb, entry_id, at in (
        ("kb", "b", 2.0),
        ("kb", "old", 1.0),
        ("other", "a", 2.0),
        ("kb", "a", 2.0),
        ("other", "new", 3.0),
    ):
        write(storage, kb, entry_id)
        worker.fail(worker.claim_one(), f"error of {entry_id}", final=True, now=at)
    write(storage, "kb", "pending")

    def found(kb: str | None = None, limit: int | None = None) -> list[str]:
        return [f"{each.kb}:{each.entry_id}" for each in storage.failures(kb, limit)]

    assert found() == ["other:new", "kb:a", "kb:b", "other:a", "kb:old"]
    assert found(limit=2) == ["other:new", "kb:a"]
    assert found("kb") == ["kb:a", "kb:b", "kb:old"]
    assert found("kb", 1) == ["kb:a"]
    assert found("nowhere") == []
    assert storage.failures("other", 1)[0].error == "error of new"


def test_the_last_error_is_the_newest_that_no_success_followed(
    storage: Storage, worker: Worker
) -> None:
    for entry_id, at in (("a", 1.0), ("b", 5.0), ("c", 3.0)):
        write(storage, "kb", entry_id)
        worker.fail(worker.claim_one(), f"error of {entry_id}", final=entry_id == "c", now=at)
    assert storage.queue_state().last_error == LastError("kb", "b", "error of b", 5.0)

    (again,) = worker.claim(20.0, kb="kb", entry_id="b")
    assert storage.queue_state().last_error == LastError("kb", "b", "error of b", 5.0)
    worker.finish(again)
    assert storage.queue_state().last_error == LastError("kb", "c", "error of c", 3.0)

    storage.retry_failed(None, None, now=20.0)
    assert storage.queue_state().last_error == LastError("kb", "a", "error of a", 1.0)
    storage.release(worker.claim(30.0))
    assert storage.queue_state().last_error == LastError("kb", "a", "error of a", 1.0)
    write(storage, "kb", "a")
    assert storage.queue_state().last_error is None


def test_the_oldest_pending_may_be_of_any_kind(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "retried later", now=1.0)
    worker.fail(worker.claim_one(1.0), now=100.0)
    write(storage, "kb", "bulk", now=2.0, priority=BULK)
    write(storage, "kb", "interactive", now=3.0)
    write(storage, "other", "later", now=4.0)

    seen = [storage.queue_state().oldest_pending]
    for entry_id in ("retried later", "bulk", "interactive"):
        delete(storage, "kb", entry_id)
        seen.append(storage.queue_state().oldest_pending)
    assert seen == [1.0, 2.0, 3.0, 4.0]


def test_the_oldest_pending_of_one_knowledge_base(storage: Storage, worker: Worker) -> None:
    write(storage, "other", "retried later", now=0.0)
    worker.fail(worker.claim_one(), now=0.0)
    write(storage, "other", "first", now=1.0)
    write(storage, "kb", "bulk", now=2.0, priority=BULK)
    write(storage, "kb", "interactive", now=3.0)

    assert storage.queue_state(["kb"]).oldest_pending == 2.0
    assert storage.queue_state(["other"]).oldest_pending == 0.0
    worker.claim(5.0, kb="kb")
    assert storage.queue_state(["kb"]).oldest_pending is None
    assert storage.queue_state().oldest_pending == 0.0


def test_what_is_held_does_not_count_as_pending(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", now=1.0)
    write(storage, "kb", "b", now=2.0)
    worker.claim(3.0, limit=1)

    assert storage.queue_state().oldest_pending == 2.0


def test_what_another_model_embedded_is_pending(storage: Storage) -> None:
    old, new = Worker(storage, "old", fingerprint="old"), Worker(storage, "new", fingerprint="new")
    for kb, entry_id in (("kb", "a"), ("kb", "b"), ("other", "c")):
        write(storage, kb, entry_id)
        for claim in old.claim(1.0):
            old.finish(claim)
    write(storage, "kb", "b", "new text", now=2.0)
    for claim in new.claim(3.0):
        new.finish(claim)
    write(storage, "other", "d", now=4.0)

    models = {model.fingerprint: model.model_id for model in storage.models()}
    assert storage.counts() == QueueCounts(pending=1, done=3)
    for number, pending, done in ((models["old"], 2, 2), (models["new"], 3, 1), (NO_MODEL, 4, 0)):
        assert storage.counts(model_id=number) == QueueCounts(pending=pending, done=done)
        assert storage.queue_state(model_id=number).counts == storage.counts(model_id=number)
    assert storage.counts("kb", model_id=models["new"]) == QueueCounts(pending=1, done=1)
    # What is to be encoded again counts with its length; it has been queued by nobody yet.
    state = storage.queue_state(["kb"], model_id=models["new"])
    assert state.unfinished_characters == len("Title of a") + len("text")
    assert state.oldest_pending is None
    assert storage.queue_state(model_id=models["new"]).oldest_pending == 4.0


def test_the_state_of_some_knowledge_bases_is_that_of_each(
    storage: Storage, worker: Worker
) -> None:
    storage.add_kb("third", "/third", now=0.0)
    for now, kb in enumerate(("third", "kb", "other", "kb")):
        write(storage, kb, str(now), now=now)
    (claim,) = worker.claim(5.0, kb="other")
    worker.fail(claim, final=True, now=6.0)

    state = storage.queue_state(["kb", "other", "kb"])
    assert state.counts == QueueCounts(pending=2, failed=1)
    assert state.oldest_pending == 1.0
    assert state.last_error is not None
    assert storage.queue_state(["kb", "third"]).last_error is None
    assert storage.queue_state(["nowhere"]).counts == QueueCounts()
