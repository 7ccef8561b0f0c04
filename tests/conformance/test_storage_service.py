"""What a service of several processes shares: the right to embed, tokens, and long work."""

from __future__ import annotations

from dataclasses import replace
from threading import Barrier, Thread

import pytest

from pyrite.errors import ConflictError
from pyrite.storage.protocol import Storage
from pyrite.storage.queue_records import Leader
from pyrite.storage.records import JobRow, TokenRow
from tests.conformance.conftest import Opener

# The right to embed

TERM_S = 10.0
A = Leader("a", 7, "host", "boot-1", since=100.0, expires_at=110.0)
B = Leader("b", 8, "host", None, since=105.0, expires_at=115.0)


def at(now: float, who: Leader) -> Leader:
    """The candidate as it asks at a later time."""
    return replace(who, since=now, expires_at=now + TERM_S)


def test_nobody_leads_before_somebody_asks(storage: Storage) -> None:
    assert storage.leader() is None
    assert storage.lead(A) == A
    assert storage.leader() == A


def test_what_is_held_is_not_taken(storage: Storage) -> None:
    storage.lead(A)

    assert storage.lead(B) == A
    assert storage.lead(at(109.999, B), dead=["c"]) == A
    assert storage.leader() == A


def test_renewing_keeps_since(storage: Storage) -> None:
    storage.lead(A)
    renewed = replace(A, expires_at=119.0)

    assert storage.lead(at(109.0, A)) == renewed
    assert storage.leader() == renewed
    assert storage.lead(at(115.0, B)) == renewed


def test_one_that_was_late_still_has_what_nobody_took(storage: Storage) -> None:
    storage.lead(A)

    assert storage.lead(at(500.0, A)) == replace(A, expires_at=510.0)


def test_what_has_lapsed_can_be_taken(storage: Storage) -> None:
    storage.lead(A)
    taken = at(110.0, B)

    assert storage.lead(taken) == taken
    # And is not taken back by whoever lost it.
    assert storage.lead(at(110.5, A)) == taken
    assert storage.leader() == taken


def test_the_dead_lose_it_at_once(storage: Storage) -> None:
    storage.lead(A)

    assert storage.lead(B, dead=["x", "a"]) == B
    assert storage.leader() == B


def test_a_clock_set_back_keeps_nobody_in_office(storage: Storage) -> None:
    """It lapses one term after the first who wants it has asked, and not after a day."""
    day_s = 86_400.0
    storage.lead(at(day_s, A))
    shortened = replace(at(day_s, A), expires_at=50.0 + TERM_S)

    assert storage.lead(at(50.0, B)) == shortened
    assert storage.lead(at(55.0, B)) == shortened
    assert storage.leader() == shortened
    taken = at(60.0, B)
    assert storage.lead(taken) == taken


def test_whoever_leads_goes_on_after_a_clock_set_back(storage: Storage) -> None:
    storage.lead(at(86_400.0, A))
    storage.lead(at(50.0, B))

    assert storage.lead(at(53.0, A)) == replace(at(53.0, A), since=86_400.0)
    assert storage.lead(at(61.0, B)).worker_id == "a"


def test_a_clock_that_is_a_moment_behind_changes_nothing(storage: Storage) -> None:
    storage.lead(A)

    assert storage.lead(at(99.5, B)) == A


def test_lapsed_or_not_it_is_shown(storage: Storage) -> None:
    storage.lead(replace(A, expires_at=A.since))

    assert storage.leader() == replace(A, expires_at=A.since)


def test_who_resigns_leaves_it_free(storage: Storage) -> None:
    storage.lead(A)
    storage.resign("a")

    assert storage.leader() is None
    assert storage.lead(B) == B


def test_only_who_has_it_can_resign(storage: Storage) -> None:
    storage.resign("a")
    storage.lead(A)
    storage.resign("b")

    assert storage.leader() == A


def test_asking_in_vain_is_no_commit(opener: Opener) -> None:
    mine, theirs = opener(), opener()
    theirs.lead(A)
    watcher = mine.watcher()
    theirs.lead(B)
    assert not watcher.changed()
    theirs.resign("b")
    assert not watcher.changed()
    theirs.lead(at(104.0, A))
    assert watcher.changed()
    theirs.resign("a")
    assert watcher.changed()
    watcher.close()


def test_of_many_who_ask_at_once_one_leads(opener: Opener) -> None:
    count = 6
    storages = [opener() for _ in range(count)]
    barrier = Barrier(count)
    answers: list[Leader] = []

    def ask(number: int) -> None:
        barrier.wait()
        answers.append(storages[number].lead(replace(A, worker_id=str(number))))

    threads = [Thread(target=ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [storages[0].leader()] * count


# Tokens

TOKEN = TokenRow("1f", "phone", "read", b"\x00digest\xff", 5.0, 9.5)
OTHER = TokenRow("2e", "editor ü", "admin", b"other", 6.0, None)


def test_tokens_are_listed_by_name(storage: Storage) -> None:
    assert storage.tokens() == []
    for token in (TOKEN, OTHER, replace(TOKEN, token_id="3d", name="Zoe", tier="write")):
        storage.add_token(token)

    assert [token.name for token in storage.tokens()] == ["Zoe", "editor ü", "phone"]
    assert storage.tokens()[1:] == [OTHER, TOKEN]


def test_a_token_has_a_name_of_its_own(storage: Storage) -> None:
    storage.add_token(TOKEN)

    with pytest.raises(ConflictError, match="'phone'"):
        storage.add_token(replace(OTHER, name="phone"))
    assert storage.tokens() == [TOKEN]


def test_a_revoked_token_is_gone(opener: Opener) -> None:
    mine, theirs = opener(), opener()
    mine.add_token(TOKEN)
    mine.add_token(OTHER)
    watcher = mine.watcher()

    assert theirs.revoke_token("phone")

    assert watcher.changed()
    watcher.close()
    assert mine.tokens() == [OTHER]
    assert not mine.revoke_token("phone")
    mine.add_token(replace(TOKEN, token_id="4c"))
    assert [token.token_id for token in theirs.tokens()] == ["2e", "4c"]


# Long work

JOB = JobRow(
    *("j", "sync", "kb", "running", 0, None, None, None),
    *(10.0, 10.0, 7, "host", "boot-1"),
)


def ids(storage: Storage) -> list[str]:
    return [job.job_id for job in storage.jobs()]


def test_a_job_goes_on_to_its_end(storage: Storage) -> None:
    assert storage.jobs() == []
    half = replace(JOB, done=5, total=10, updated_at=11.0)
    done = replace(half, state="done", done=10, result='{"created": 10}', updated_at=12.0)
    for job in (JOB, half, done):
        storage.put_job(job)
        assert storage.jobs() == [job]


def test_a_job_that_failed_says_why(storage: Storage) -> None:
    failed = replace(JOB, kb=None, state="failed", error="Übel 🪨", process_started=None)
    storage.put_job(JOB)
    storage.put_job(replace(failed, kb="kb"))
    storage.put_job(replace(failed, job_id="k"))

    newest, older = storage.jobs()
    assert (newest.job_id, newest.kb, newest.error) == ("k", None, "Übel 🪨")
    assert (older.job_id, older.state, older.process_started) == ("j", "failed", None)


def test_another_process_may_end_a_job(storage: Storage) -> None:
    storage.put_job(JOB)
    taken = replace(JOB, state="failed", error="it died", pid=9, host="b", process_started="x")
    storage.put_job(taken)

    assert storage.jobs() == [taken]


def test_what_was_asked_for_stays_as_it_was(storage: Storage) -> None:
    storage.put_job(JOB)
    storage.put_job(replace(JOB, kind="other", kb=None, created_at=99.0, updated_at=99.0))

    assert storage.jobs() == [replace(JOB, updated_at=99.0)]


def test_jobs_come_newest_first(storage: Storage) -> None:
    for name, created_at in (("b", 2.0), ("d", 3.0), ("a", 1.0), ("c", 2.0)):
        storage.put_job(replace(JOB, job_id=name, created_at=created_at))
    storage.put_job(replace(JOB, job_id="b", created_at=2.0, done=1))

    assert ids(storage) == ["d", "c", "b", "a"]


def test_the_oldest_of_very_many_are_forgotten(storage: Storage) -> None:
    for number in range(103):
        job = replace(JOB, job_id=str(number), created_at=float(number), state="done")
        storage.put_job(job)

    assert ids(storage) == [str(number) for number in reversed(range(3, 103))]
    # One that has been forgotten, and is older than all that are known, does not come back.
    storage.put_job(replace(JOB, job_id="0", created_at=0.0, state="failed"))
    assert len(ids(storage)) == 100
    assert "0" not in ids(storage)


def test_what_runs_is_not_forgotten_before_what_has_ended(storage: Storage) -> None:
    storage.put_job(replace(JOB, job_id="old", created_at=0.0))
    for number in range(103):
        storage.put_job(replace(JOB, job_id=str(number), created_at=1.0 + number, state="done"))

    assert ids(storage) == [*(str(number) for number in reversed(range(4, 103))), "old"]
    storage.put_job(replace(JOB, job_id="old", created_at=0.0, state="done"))
    storage.put_job(replace(JOB, job_id="new", created_at=999.0))
    assert "old" not in ids(storage)
