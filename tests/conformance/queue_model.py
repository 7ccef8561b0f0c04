"""The design's queue table once more, as plainly as can be: what the real store is held against.

It knows nothing of :mod:`actors.lifecycle` nor of SQL, so that a mistake there is not repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.conformance.hands import chunks

Key: TypeAlias = tuple[str, str]
#: Type, knowledge base, entry, revision.
ResponseDescription: TypeAlias = tuple[str, str, str, int]

MOST_ATTEMPTS = 3
#: Seconds: the longest backoff, a lease, and by how much a time may be later than either.
LONGEST_S, LEASE_S, CLOCK_ERROR_S = 300.0, 60.0, 1.0
#: Priorities: what somebody waits for, what nobody does, and what a worker held when it died.
INTERACTIVE, BULK, SUSPECT = 0, 1, 2


@dataclass
class Row:
    """An entry with its queue row and what was embedded of it."""

    revision: int
    body: str
    queued_at: float
    priority: int
    status: str = "pending"
    attempts: int = 0
    available_at: float | None = None
    error: bool = False
    token: str | None = None
    worker: str | None = None
    lease_expires_at: float | None = None
    #: The revision that was embedded last, and its text.
    embedded: tuple[int, str] | None = None
    #: What was encoded up to then is to be encoded afresh.
    renew: int = 0

    def leave(self, status: str) -> None:
        """Go into a state in which nobody holds it."""
        self.status = status
        self.token = self.worker = self.lease_expires_at = None

    def has_expired(self, now: float) -> bool:
        """Whether whoever holds it has not been heard of for a lease."""
        return self.lease_expires_at is not None and self.lease_expires_at <= now

    def place(self) -> tuple[int, float]:
        """Where it stands among what is due; smaller is sooner."""
        return self.priority, self.queued_at


@dataclass
class QueueModel:
    """Every entry and embedding there is, and what the feed must tell next."""

    rows: dict[Key, Row] = field(default_factory=dict)
    told: list[ResponseDescription] = field(default_factory=list)
    #: By the text's hash: when it was encoded, as the number of that, and its vector.
    embeddings: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    encoded: int = 0
    #: Since when those that no entry uses have been known for it.
    unused: dict[bytes, float] = field(default_factory=dict)

    def tell(self, kind: str, key: Key) -> None:
        """Expect an event."""
        self.told.append((kind, *key, self.rows[key].revision))

    def write(self, key: Key, revision: int, body: str, now: float, priority: int) -> None:
        """Whatever it was, it is pending."""
        old = self.rows.get(key)
        self.rows[key] = Row(revision, body, now, priority)
        if old is not None:
            self.rows[key].embedded, self.rows[key].renew = old.embedded, old.renew
        self.tell("entry_created" if old is None else "entry_updated", key)

    def delete(self, key: Key) -> None:
        """The row goes, with all that hangs on it."""
        self.tell("entry_deleted", key)
        del self.rows[key]

    def add_kb(self, kb: str) -> None:
        """It is there, and empty."""
        self.told.append(("kb_added", kb, "", 0))

    def remove_kb(self, kb: str) -> None:
        """All rows of one knowledge base go."""
        self.rows = {key: row for key, row in self.rows.items() if key[0] != kb}
        self.told.append(("kb_removed", kb, "", 0))

    def wake(self, now: float, worker: str) -> None:
        """What a claim does first: others' leases end, and waiting rows fall due."""
        self.lose(lambda row: row.worker != worker and row.has_expired(now))
        for row in self.rows.values():
            lease, due = row.lease_expires_at, row.available_at
            if lease is not None and lease > now + LEASE_S + CLOCK_ERROR_S:
                row.lease_expires_at = now + LEASE_S
            if due is not None and due > now + LONGEST_S + CLOCK_ERROR_S:
                row.available_at = now + LONGEST_S
            if due is not None and due <= now:
                row.available_at = None

    def lose(self, lost: Callable[[Row], bool]) -> int:
        """End the attempts whose worker is gone."""
        gone = [
            (k, row) for k, row in self.rows.items() if row.status == "processing" and lost(row)
        ]
        for key, row in gone:
            row.leave("failed" if row.attempts >= MOST_ATTEMPTS else "pending")
            row.error = True
            if row.status == "pending":
                row.priority = SUSPECT
            if row.status == "failed":
                self.tell("embed_failed", key)
        return len(gone)

    def due(self, worker: str, urgent: bool) -> tuple[dict[Key, Row], int]:
        """What a worker may claim, and how many of it: suspects come last, one by one."""
        due = {
            key: row
            for key, row in self.rows.items()
            if row.status == "pending" and row.available_at is None
        }
        held = [row.priority for row in self.rows.values() if row.worker == worker]
        if urgent:
            due = {key: row for key, row in due.items() if row.priority == INTERACTIVE}
        clear = {key: row for key, row in due.items() if row.priority != SUSPECT}
        if SUSPECT in held or (held and not clear):
            return {}, 0
        return (clear, len(clear)) if clear else (due, min(1, len(due)))

    def claim(
        self,
        taken: dict[Key, str],
        limit: int,
        worker: str,
        lease_expires_at: float,
        *,
        urgent: bool = False,
    ) -> None:
        """Check that those were the right ones to take, and take them."""
        due, most = self.due(worker, urgent)
        assert set(taken) <= set(due)
        assert len(taken) == min(limit, most)
        by_place = sorted(due[key].place() for key in taken)
        bulk = [row.place() for row in due.values() if row.priority == BULK]
        if bulk and limit > 1:
            # However much is more urgent, one place is kept for what has waited longest.
            by_place.remove(min(bulk))
        left = [row.place() for key, row in due.items() if key not in taken]
        assert not left or all(place <= min(left) for place in by_place)
        for key, token in taken.items():
            row = self.rows[key]
            row.status, row.token, row.worker = "processing", token, worker
            row.lease_expires_at = lease_expires_at
            row.attempts += 1

    def held(self, key: Key, revision: int, token: str) -> Row | None:
        """The row, if a claim still holds it."""
        row = self.rows.get(key)
        return row if row and (row.revision, row.token) == (revision, token) else None

    def finish(self, key: Key, row: Row) -> None:
        """Its present text is embedded."""
        row.leave("done")
        row.error = False
        row.renew = 0
        row.embedded = (row.revision, row.body)
        for digest in digests(row.body):
            self.unused.pop(digest, None)
        self.tell("embed_complete", key)

    def fail(self, key: Key, row: Row, now: float, *, final: bool) -> None:
        """It is tried again after 10 s, then 20 s, then no more."""
        ended = final or row.attempts >= MOST_ATTEMPTS
        row.leave("failed" if ended else "pending")
        row.error = True
        if ended:
            self.tell("embed_failed", key)
        else:
            row.available_at = now + 10.0 * 2 ** (row.attempts - 1)

    def release(self, row: Row) -> None:
        """The attempt was none."""
        row.leave("pending")
        row.attempts -= 1

    def requeue(
        self, kb: str | None, statuses: Collection[str], now: float, *, force: bool = False
    ) -> set[Key]:
        """Ended rows start anew, behind what a person waits for; waiting ones keep their place."""
        chosen = {k for k, r in self.rows.items() if kb in {None, k[0]} and r.status in statuses}
        for key in chosen:
            row = self.rows[key]
            if row.status != "pending":
                row.queued_at, row.priority = now, 1
            row.leave("pending")
            row.attempts, row.available_at, row.error = 0, None, False
            row.renew = self.encoded if force else row.renew
        return chosen

    # Embeddings

    def missing(self, row: Row) -> set[bytes]:
        """The texts of an entry that are to be encoded."""
        return {digest for digest in digests(row.body) if self._encoded_at(digest) <= row.renew}

    def _encoded_at(self, digest: bytes) -> int:
        return self.embeddings.get(digest, (0, b""))[0]

    def encode(self, digest: bytes, vector: bytes, renew: int = 0) -> bool:
        """A text has this vector from now on, unless it has one that is to stay."""
        if self._encoded_at(digest) > renew:
            return False
        self.encoded += 1
        self.embeddings[digest] = self.encoded, vector
        self.unused.pop(digest, None)
        return True

    def look_for_unused(self, now: float) -> None:
        """What no entry uses is known for it from now on."""
        used = {d for row in self.rows.values() if row.embedded for d in digests(row.embedded[1])}
        self.unused = {d: self.unused.get(d, now) for d in self.embeddings if d not in used}

    def collect(self, now: float, unused_s: float) -> int:
        """What has not been used for so long goes, unless somebody may be about to use it."""
        if any(row.status == "processing" for row in self.rows.values()):
            return 0
        old = [digest for digest, since in self.unused.items() if since <= now - unused_s]
        for digest in old:
            del self.embeddings[digest], self.unused[digest]
        return len(old)

    def counts(self, kb: str | None) -> Counter[str]:
        """How many rows are in which state."""
        return Counter(row.status for key, row in self.rows.items() if kb in {None, key[0]})

    def passages(self) -> list[tuple[str, str, int, int, bytes]]:
        """Every chunk that there should be, with its revision and the text's own vector."""
        return sorted(
            (*key, ordinal, row.embedded[0], blob)
            for key, row in self.rows.items()
            if row.embedded
            for ordinal, digest in enumerate(digests(row.embedded[1]))
            for blob in [self.embeddings[digest][1]]
        )

    def having(self, word: str) -> list[Key]:
        """The entries whose present text has the word."""
        return sorted(key for key, row in self.rows.items() if word in row.body.split())


def digests(body: str) -> list[bytes]:
    """The hashes of an entry's chunks, in order."""
    return [chunk.digest for _, chunk in chunks(body)]
