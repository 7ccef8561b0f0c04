"""Anything in any order, the power failing at any commit: the design's promises hold.

Hypothesis drives the real SQLite store and a plain model of it side by side, and after each
step compares all that is stored: every entry has one queue row, of its own revision; vectors
are those of the text they claim to be of, and are kept for as long as they may be of use; words
find the present text; what is deleted leaves nothing; a claim that was lost changes nothing; the
feed tells of what has happened, once and in order. A copy of the vectors that is brought up to
date now and then, from the highest number it knows, never gives a wrong one.

Whenever all is to be encoded afresh the vectors become others, so that an old one shows.

A crash is real as far as the disk goes: the files are copied as they are at that moment, with
the log that no one has written back, and the copy is opened. `./tests/run --long` searches longer,
and elsewhere each time.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from actors.lifecycle import Embedded
from actors.messages import Claim, Encoded, Piece
from pyrite.storage.records import BULK, EmbeddingState, WordQuery
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.files import digest_of
from tests.conformance.hands import (
    LEASE_S,
    POLICY,
    Worker,
    delete,
    ending,
    entry,
    layout,
    record,
    vector,
    write,
)
from tests.conformance.queue_model import Key, QueueModel, Row

T = TypeVar("T")

#: Enough for all that is interesting to come about each time.
FEW = 60
MANY = 650
STEPS_EACH = 100

#: What has to come about ten times at least.
INTERESTING = (
    *("done", "late but held", "lost", "failed", "released", "rescued"),
    *("edit while processing", "power failure before", "power failure after"),
    *("done and never answered", "encoded afresh", "imported", "collected"),
    *("nothing collected", "slept and kept"),
    *("waits for available_at", "waits for lease_expires_at"),
)

KBS = ("kb", "other")
WORKERS = ("A", "B")
KEYS = st.tuples(st.sampled_from(KBS), st.sampled_from("abcd"))
TREES = ("ash", "birch", "cedar", "elm", "fir")
BODIES = st.lists(st.sampled_from(TREES), min_size=1, max_size=3).map("\n".join)
PICKS = st.integers(0, 15)
INTERFERENCES = (
    "crash",
    "crash within",
    "rescue",
    "rescue",
    "rescue",
    "prune",
    "refresh",
    "refresh",
)
#: Whether the power fails at the commit that a rule makes, "before" it has or "after".
POWER = st.sampled_from((*["stays"] * 16, "before", "after"))
#: At the commit that is most worth watching it fails more often.
POWER_AT_FINISH = st.sampled_from((*["stays"] * 4, "before", "after"))
#: Seconds; the backoff is of 10 and 20, a lease of 60.
PAUSES = st.sampled_from([0.0, 0.0, 1.0, 10.0, 20.0, LEASE_S])


class PowerFailure(BaseException):
    """The machine stops; nothing is tidied up."""


class StorageMachine(RuleBasedStateMachine):
    """One store, its model, and the claims that its workers hold or believe to hold."""

    #: Rules run by all instances together, and how often each was.
    steps = 0
    seen: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.generation = 0
        self.now = 0.0
        self.model = QueueModel()
        #: Every claim that a worker was given, ended ones too: it may come late.
        self.claims: list[Claim] = []
        self.seq = 0
        self.last_revision = 0
        #: How often the encoder has changed.
        self.drift = 0
        #: By a claim's token, up to when what was encoded did not count for it.
        self.renew: dict[str, int] = {}
        #: What has been read of the embeddings: it outlives a crash, as a file would.
        self.copy: dict[int, bytes] = {}
        self.copied_through = 0
        self.state: EmbeddingState | None = None
        #: When the next commit is to fail: "before" it takes place, or just "after".
        self.doom: str | None = None
        self.open()
        for kb in KBS:
            self.storage.add_kb(kb, f"/{kb}", now=0.0)
            self.model.add_kb(kb)

    # The store and its crashes

    @property
    def path(self) -> Path:
        return Path(self.folder.name) / str(self.generation) / "pyrite.db"

    def open(self) -> None:
        self.storage = SqliteStorage(self.path)
        # A crash copies the files as they are: whether the disk has them yet makes no difference.
        self.storage._db._writer.execute("PRAGMA synchronous = OFF")
        self.worker = {name: Worker(self.storage, name) for name in WORKERS}
        self.model_id = self.worker["A"].model_id

    def copy_files(self) -> None:
        """Keep what the disk holds now: this is what a restart will find."""
        target = self.path.parent.parent / str(self.generation + 1)
        target.mkdir()
        for name in ("pyrite.db", "pyrite.db-wal"):
            source = self.path.with_name(name)
            if source.exists():
                shutil.copy(source, target / name)

    def abandon(self) -> None:
        """Close what nobody will read again; closing tidies up, and need not wait for the disk."""
        db = self.storage._db
        for connection in (db._writer, db._reader, db._watcher.connection):
            connection.execute("PRAGMA synchronous = OFF")
        self.storage.close()

    def restart(self) -> None:
        """Leave the old files to themselves and open the copy."""
        self.abandon()
        shutil.rmtree(self.path.parent)
        self.generation += 1
        self.doom = None
        self.open()

    def attempt(self, do: Callable[[], T]) -> tuple[bool, T | None]:
        """Do it; whether it was committed, and its answer unless that was lost in a crash."""
        doom = self.doom
        if doom is None:
            return True, do()

        def fail(connection: sqlite3.Connection) -> None:
            if doom == "after":
                connection.execute("COMMIT")
            self.copy_files()
            raise PowerFailure

        self.storage._db.commit = fail  # type: ignore[method-assign]
        try:
            answer = do()
        except PowerFailure:
            self.saw(f"power failure {doom}")
            self.restart()
            return doom == "after", None
        del self.storage._db.commit  # nothing was committed: the failure is still to come
        return True, answer

    def encode(self, text: str) -> npt.NDArray[np.float32]:
        return vector(f"{text}, encoded anew {self.drift} times" if self.drift else text)

    def saw(self, what: str) -> None:
        StorageMachine.seen[what] += 1

    def tick(self, seconds: float = 0.0, power: str = "stays") -> None:
        """Every rule begins here; no two happen at the same time."""
        if power != "stays":
            self.doom = power
        StorageMachine.steps += 1
        self.now += seconds + 1 / 1024

    def pick(self, *numbers: int) -> list[Claim]:
        """Some of the claims that are held, or of the latest that have been lost."""
        if not any(map(self.held, self.claims)):
            self.claim_some(WORKERS[numbers[0] % 2], 3)
        held = list(filter(self.held, self.claims))[-4:]
        choice = held * 3 + [claim for claim in self.claims if not self.held(claim)][-3:]
        picked = [choice[number % len(choice)] for number in numbers if choice]
        return list({claim.token: claim for claim in picked}.values())

    def held(self, claim: Claim) -> Row | None:
        return self.model.held((claim.kb, claim.entry_id), claim.revision, claim.token)

    def query(self, sql: str) -> list[tuple]:
        with self.storage._db.read() as conn:
            return conn.execute(sql).fetchall()

    # What people do

    @initialize(bodies=st.lists(BODIES, min_size=5, max_size=5))
    def begin(self, bodies: list[str]) -> None:
        self.tick()
        keys = [(KBS[number % 2], "abc"[number // 2]) for number in range(len(bodies))]
        records = [
            record(kb, entry(name, body)) for (kb, name), body in zip(keys, bodies, strict=True)
        ]
        with self.storage.writing() as writing:
            revisions = writing.upsert(records, priority=BULK, now=self.now)
        for key, revision, body in zip(keys, revisions, bodies, strict=True):
            self.model.write(key, revision, body, self.now, BULK)
        self.last_revision = revisions[-1]

    @rule(key=KEYS, body=BODIES, priority=st.integers(0, 1), power=POWER)
    def write(self, key: Key, body: str, priority: int, power: str) -> None:
        self.tick(power=power)
        self.write_entry(key, body, priority)

    def write_entry(self, key: Key, body: str, priority: int) -> None:
        committed, revision = self.attempt(
            lambda: write(self.storage, *key, body, now=self.now, priority=priority)
        )
        if committed:
            if revision is None:
                ((revision,),) = self.query("SELECT value FROM sequences WHERE name = 'revision'")
            assert revision > self.last_revision
            self.last_revision = revision
            self.model.write(key, revision, body, self.now, priority)

    @rule(number=PICKS, body=BODIES)
    def edit_what_is_processed(self, number: int, body: str) -> None:
        self.tick()
        for claim in self.pick(number):
            if self.held(claim):
                self.saw("edit while processing")
                self.write_entry((claim.kb, claim.entry_id), body, 0)

    @precondition(lambda self: len(self.model.rows) > 3)
    @rule(number=st.integers(0, 7), all_of_it=st.integers(0, 5).map(lambda n: n == 5), power=POWER)
    def remove(self, number: int, all_of_it: bool, power: str) -> None:
        """Delete an entry, or seldom, the knowledge base that it is in."""
        self.tick(power=power)
        key = kb, _ = sorted(self.model.rows)[number % len(self.model.rows)]
        if all_of_it:
            committed, _ = self.attempt(lambda: self.storage.remove_kb(kb, now=self.now))
            if committed:
                # Its entries go in commits of their own: after the first, it is there without
                # them, and is removed once more.
                if any(each.name == kb for each in self.storage.kbs()):
                    assert self.storage.remove_kb(kb, now=self.now)
                self.model.remove_kb(kb)
                self.storage.add_kb(kb, f"/{kb}", now=self.now)
                self.model.add_kb(kb)
            return
        committed, deleted = self.attempt(lambda: delete(self.storage, *key, now=self.now))
        if committed:
            assert deleted in {1, None}
            self.model.delete(key)

    @rule(
        kb=st.none() | st.sampled_from(KBS),
        how=st.sampled_from(["retry", "retry", "reembed", "reembed by force"]),
        power=POWER,
    )
    def queue_again(self, kb: str | None, how: str, power: str) -> None:
        self.tick(power=power)
        if how == "retry":
            committed, retried = self.attempt(
                lambda: self.storage.retry_failed(kb, None, now=self.now)
            )
            if committed:
                expected = self.model.requeue(kb, {"failed"}, self.now)
                assert retried is None or set(retried) == expected
            return
        force = how == "reembed by force"
        self.drift += force
        committed, count = self.attempt(
            lambda: self.storage.reembed(kb, now=self.now, force=force, other_than=None)
        )
        if committed:
            expected = self.model.requeue(kb, {"pending", "done", "failed"}, self.now, force=force)
            assert count in {None, len(expected)}

    # What workers do

    @rule(
        name=st.sampled_from(WORKERS),
        limit=st.integers(1, 4),
        urgent=st.integers(0, 3).map(lambda n: n == 3),
        after=PAUSES,
        power=POWER,
    )
    def claim(self, name: str, limit: int, urgent: bool, after: float, power: str) -> None:
        self.tick(after, power)
        self.claim_some(name, limit, urgent=urgent)

    def claim_some(self, name: str, limit: int, *, urgent: bool = False) -> None:
        request = self.worker[name].request(self.now, limit, urgent=urgent)
        # A claim that finds nothing to do commits nothing; then no power failure can hit it.
        committed, rows = self.attempt(lambda: self.storage.claim(request))
        if not committed:
            return
        self.model.wake(self.now, name)
        held = {row.token for row in self.model.rows.values()}
        processing = self.query(
            "SELECT kb_name, entry_id, claim_token FROM embed_queue WHERE status = 'processing'"
        )
        taken = {(kb, entry_id): token for kb, entry_id, token in processing if token not in held}
        self.model.claim(taken, limit, name, self.now + LEASE_S, urgent=urgent)
        if rows is not None:
            claims = [self.worker[name].split(due) for due in rows.due]
            assert {(c.kb, c.entry_id): c.token for c in claims} == taken
            for claim in claims:
                row = self.model.rows[claim.kb, claim.entry_id]
                assert claim.attempt == row.attempts
                assert {chunk.digest for chunk in claim.missing} == self.model.missing(row)
                self.renew[claim.token] = row.renew
            assert rows.unfinished == self.storage.counts().unfinished
            self.claims += claims

    @rule(
        numbers=st.lists(PICKS, min_size=1, max_size=3, unique=True),
        after=PAUSES,
        power=POWER_AT_FINISH,
    )
    def finish(self, numbers: list[int], after: float, power: str) -> None:
        claims = self.pick(*numbers)
        self.tick(after, power)
        self.finish_claims(claims)

    @rule(number=PICKS, power=POWER_AT_FINISH)
    def finish_late(self, number: int, power: str) -> None:
        claims = self.pick(number)
        self.tick(LEASE_S, power)
        self.finish_claims(claims)

    def finish_claims(self, claims: list[Claim]) -> None:
        encoded = [
            Encoded(Piece(claim, chunk), self.encode(chunk.text))
            for claim in claims
            for chunk in claim.missing
        ]
        endings = [ending(claim, Embedded(), self.now) for claim in claims]
        committed, settled = self.attempt(
            lambda: self.worker["A"].settle(encoded, endings, now=self.now)
        )
        if not committed:
            return
        for each in encoded:
            there = each.piece.chunk.digest in self.model.embeddings
            renew = self.renew[each.piece.claim.token]
            if self.model.encode(each.piece.chunk.digest, each.vector.tobytes(), renew) and there:
                self.saw("encoded afresh")
        lost = []
        for claim in claims:
            row = self.held(claim)
            if row is None:
                lost.append(claim)
            else:
                self.saw("late but held" if row.lease_expires_at <= self.now else "done")
                self.model.finish((claim.kb, claim.entry_id), row)
        if settled is None:
            self.saw("done and never answered" if len(lost) < len(claims) else "lost twice")
        else:
            assert list(settled.lost) == lost
            assert len(settled.events) == len(claims) - len(lost)
        self.saw("lost" if lost else "none lost")

    @rule(name=st.sampled_from(WORKERS), numbers=st.lists(PICKS, min_size=1, max_size=3))
    def sleep(self, name: str, numbers: list[int]) -> None:
        """A worker sleeps beyond its leases, wakes and claims; then it ends what it held."""
        claims = self.pick(*numbers)
        mine = [each for each in claims if (row := self.held(each)) and row.worker == name]
        self.tick(2 * LEASE_S)
        self.claim_some(name, 2)
        assert all(map(self.held, mine))
        self.saw("slept and kept" if mine else "slept and held nothing")
        self.finish_claims(mine)

    @rule(number=PICKS, back=st.sampled_from([0.5, 10.0, LEASE_S, 3600.0]))
    def set_clock_back(self, number: int, back: float) -> None:
        """What waits for a time, as an entry does that has failed, waits no longer than it may."""
        self.tick()
        self.fail_claims(self.pick(number), final=False)
        self.tick(-back)
        for name in WORKERS:
            self.claim_some(name, 1)
        latest = {
            "available_at": self.now + POLICY.longest_s,
            "lease_expires_at": self.now + LEASE_S,
        }
        for column, at in latest.items():
            ((found,),) = self.query(f"SELECT max({column}) FROM embed_queue")
            assert found is None or found <= at + 1
            self.saw("nothing to wait for" if found is None else f"waits for {column}")

    @rule(number=PICKS, final=st.booleans(), power=POWER)
    def fail(self, number: int, final: bool, power: str) -> None:
        claims = self.pick(number)
        self.tick(power=power)
        self.fail_claims(claims, final=final)

    def fail_claims(self, claims: list[Claim], *, final: bool) -> None:
        for claim in claims:
            committed, settled = self.attempt(
                partial(self.worker["A"].fail, claim, final=final, now=self.now)
            )
            if committed:
                row = self.held(claim)
                assert settled is None or bool(settled.lost) == (row is None)
                if row is not None:
                    self.saw("failed")
                    self.model.fail((claim.kb, claim.entry_id), row, self.now, final=final)

    @rule(number=PICKS, power=POWER)
    def release(self, number: int, power: str) -> None:
        claims = self.pick(number)
        self.tick(power=power)
        for claim in claims:
            committed, released = self.attempt(partial(self.storage.release, [claim]))
            if committed:
                row = self.held(claim)
                assert released in {None, int(row is not None)}
                if row is not None:
                    self.saw("released")
                    self.model.release(row)

    @rule(number=PICKS)
    def renew(self, number: int) -> None:
        self.tick()
        for claim in self.pick(number):
            until = self.now + LEASE_S
            committed, _ = self.attempt(partial(self.storage.renew, [claim], until))
            row = self.held(claim)
            if committed and row is not None:
                row.lease_expires_at = until

    # What happens by itself

    @rule(what=st.sampled_from(INTERFERENCES), key=KEYS, number=st.integers(0, 3))
    def interfere(self, what: str, key: Key, number: int) -> None:
        """A crash at once, within a transaction or some housekeeping."""
        self.tick()
        match what:
            case "crash":
                self.copy_files()
                self.restart()
            case "crash within":
                self.doom = "before"
                self.attempt(lambda: write(self.storage, *key, "never committed", now=self.now))
            case "rescue":
                self.pick(number)
                self.rescue(WORKERS[number % 2])
            case "prune":
                self.storage.prune_events(number)
            case "refresh":
                self.bring_copy_up_to_date()

    @rule(
        after=PAUSES,
        unused_s=st.sampled_from([0.0, 10.0, LEASE_S]),
        idle=st.booleans(),
        power=POWER,
    )
    def collect(self, after: float, unused_s: float, idle: bool, power: str) -> None:
        """Delete what is unused, at times after all that was held has been given up."""
        self.tick(after)
        if idle:
            for name in WORKERS:
                self.rescue(name)
        self.doom = None if power == "stays" else power
        committed, collected = self.attempt(
            lambda: self.storage.collect_unused(now=self.now, unused_s=unused_s)
        )
        if committed:
            self.model.look_for_unused(self.now)
            if collected is not None:  # the power did not fail between looking and deleting
                assert self.model.collect(self.now, unused_s) == collected
                self.saw("collected" if collected else "nothing collected")

    @rule(texts=st.lists(st.sampled_from(TREES), max_size=3), power=POWER)
    def import_embeddings(self, texts: list[str], power: str) -> None:
        """Take in vectors that another database holds."""
        self.tick(power=power)
        given = [(digest_of(text.encode()), self.encode(text).tobytes()) for text in texts]
        committed, added = self.attempt(lambda: self.storage.add_cached(self.model_id, given))
        if committed:
            new = sum(self.model.encode(digest, blob) for digest, blob in given)
            assert added in {None, new}
            self.saw("imported" if new else "had already")

    def bring_copy_up_to_date(self) -> None:
        """Read what is new; then every entry's vectors are at hand, and are the right ones."""
        while new := self.storage.embeddings_after(self.model_id, self.copied_through, 2):
            for number, blob in new:
                assert number > self.copied_through
                self.copy[number] = blob
                self.copied_through = number
        found = sorted(
            (*key, p.ordinal, p.revision, self.copy[p.embedding_id])
            for key in self.model.rows
            for p in layout(self.storage, self.model_id, *key)
        )
        assert found == self.model.passages()
        still = dict(self.storage.embeddings_by_id(self.model_id, self.copy))
        assert len(still) == len(self.model.embeddings)
        assert still.items() <= self.copy.items()

        before, state = self.state, self.storage.embedding_state(self.model_id)
        assert (state.count, state.last_id >= self.copied_through) == (len(still), True)
        if before is not None:
            assert state.database_id == before.database_id
            assert (state.generation, state.last_id) >= (before.generation, before.last_id)
            assert state.last_id >= before.last_id
        self.state = state

    def rescue(self, name: str) -> None:
        committed, rescued = self.attempt(lambda: self.storage.rescue([name], POLICY, now=self.now))
        if committed:
            expected = self.model.lose(lambda row: row.worker == name)
            assert rescued in {None, expected}
            if expected:
                self.saw("rescued")

    # The promises

    @invariant()
    def every_entry_has_one_queue_row_of_its_revision(self) -> None:
        found = self.query(
            """SELECT kb_name, entry_id, e.revision, q.revision, body, status, attempts, queued_at,
                      priority, available_at, error IS NOT NULL, claim_token, claimed_by,
                      lease_expires_at
               FROM entries e FULL JOIN embed_queue q USING (kb_name, entry_id)
               ORDER BY kb_name, entry_id"""
        )
        expected = [
            (
                *(*key, row.revision, row.revision, row.body, row.status, row.attempts),
                *(row.queued_at, row.priority, row.available_at, row.error),
                *(row.token, row.worker, row.lease_expires_at),
            )
            for key, row in sorted(self.model.rows.items(), key=lambda item: item[0])
        ]
        assert found == expected

    @invariant()
    def no_vector_is_silently_wrong(self) -> None:
        chunks = self.query(
            """SELECT kb_name, entry_id, ordinal, revision, vector
               FROM chunks LEFT JOIN embeddings
                    ON (id, embeddings.model_id) = (embedding_id, chunks.model_id)
               ORDER BY kb_name, entry_id, ordinal"""
        )
        assert chunks == self.model.passages()

    @invariant()
    def what_was_encoded_is_kept_while_it_may_be_of_use(self) -> None:
        rows = self.storage.cached(self.model_id, 0, 1000)
        assert [number for number, _, _ in rows] == sorted({number for number, _, _ in rows})
        assert {digest: blob for _, digest, blob in rows} == {
            digest: blob for digest, (_, blob) in self.model.embeddings.items()
        }
        for claim in filter(self.held, self.claims):
            found_there = {span.digest for span in claim.layout} - {
                chunk.digest for chunk in claim.missing
            }
            assert found_there <= self.model.embeddings.keys()

    @invariant()
    def words_find_the_present_text(self) -> None:
        for word in ("ash", "fir", "never"):
            hits = self.storage.with_words(WordQuery((word,)), limit=100)
            assert sorted((hit.kb, hit.entry_id) for hit in hits) == self.model.having(word)

    @invariant()
    def every_write_can_be_asked_after(self) -> None:
        for row in self.model.rows.values():
            assert self.storage.revision_status(row.revision) == row.status
        present = {row.revision for row in self.model.rows.values()}
        gone = self.storage.revision_status(self.last_revision) is None
        assert gone == (self.last_revision not in present)

    @invariant()
    def counts_are_right(self) -> None:
        for kb in (None, *KBS):
            counts = asdict(self.storage.counts(kb))
            assert {status: n for status, n in counts.items() if n} == self.model.counts(kb)

    @invariant()
    def the_feed_tells_what_happened(self) -> None:
        events = self.storage.events(self.seq, 1000)
        assert [event.seq for event in events] == list(
            range(self.seq + 1, self.seq + 1 + len(events))
        )
        told = [(event.type, event.kb, event.entry_id, event.revision) for event in events]
        assert sorted(told) == sorted(self.model.told)
        self.seq += len(events)
        self.model.told.clear()

    def teardown(self) -> None:
        try:
            self.bring_copy_up_to_date()
            assert self.storage.problems() == {}
        finally:
            self.abandon()
            self.folder.cleanup()


@pytest.mark.repeats
@pytest.mark.parametrize(
    "examples",
    [FEW, pytest.param(MANY, marks=[pytest.mark.long, pytest.mark.timeout(7200)])],
)
def test_the_promises_hold_whatever_happens(examples: int) -> None:
    StorageMachine.steps = 0
    StorageMachine.seen = Counter()
    # What comes about is chance: with more examples, until all that is interesting has.
    for rounds in range(1, 6):
        run_state_machine_as_test(
            StorageMachine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=STEPS_EACH,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        assert StorageMachine.steps >= rounds * examples * STEPS_EACH * 3 // 4
        if all(StorageMachine.seen[what] >= 10 for what in INTERESTING):
            break

    # It is worth something only if what is interesting came about.
    for what in INTERESTING:
        assert StorageMachine.seen[what] >= 10, what
