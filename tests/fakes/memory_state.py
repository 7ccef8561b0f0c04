"""What the storage in memory holds, and how its queue rows change: all of it pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime
from typing import TypeAlias

from actors.lifecycle import (
    LeaseExpired,
    Occurrence,
    RetryPolicy,
    Status,
    Transition,
    after,
)
from actors.messages import Claim, Event
from pyrite.storage.protocol import ClaimRequest
from pyrite.storage.queue_protocol import CLOCK_ERROR_S
from pyrite.storage.records import (
    BULK,
    INTERACTIVE,
    SUSPECT,
    DueEntry,
    Filters,
    JobRow,
    KnowledgeBase,
    Leader,
    Model,
    Passage,
    Record,
    StoredEntry,
    TokenRow,
    WorkerRow,
)

Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the queue."""

    revision: int
    queued_at: float
    priority: int
    status: Status = Status.PENDING
    attempts: int = 0
    available_at: float | None = None
    error: str | None = None
    error_at: float | None = None
    renew_through: int = 0
    token: str | None = None
    worker: str | None = None
    lease_expires_at: float | None = None
    finished_at: float | None = None
    model_id: int | None = None

    def due(self, now: float) -> bool:
        """Whether it may be claimed."""
        waits = self.available_at is not None and self.available_at > now
        return self.status is Status.PENDING and not waits

    def expired(self, now: float) -> bool:
        """Whether its worker has lost it."""
        return self.lease_expires_at is not None and self.lease_expires_at <= now

    def shortened(self, latest_due: float, latest_lease: float) -> Row:
        """The row without times that are further away than a claim's request allows."""
        row = self
        if row.available_at is not None and row.available_at > latest_due + CLOCK_ERROR_S:
            row = replace(row, available_at=latest_due)
        lease = row.lease_expires_at
        if lease is not None and lease > latest_lease + CLOCK_ERROR_S:
            row = replace(row, lease_expires_at=latest_lease)
        return row

    def requeued(self, now: float, *, renew_through: int = 0) -> Row:
        """The row, queued again as bulk work."""
        renew = max(self.renew_through, renew_through)
        fresh = Row(self.revision, now, BULK, renew_through=renew, model_id=self.model_id)
        place = self if self.status is Status.PENDING else fresh
        return replace(fresh, queued_at=place.queued_at, priority=place.priority)


def moved(row: Row, to: Transition) -> Row:
    """The row after a transition, no longer held, its error as it was."""
    return replace(
        row,
        priority=SUSPECT if to.suspect else row.priority,
        status=to.status,
        attempts=to.attempts,
        available_at=to.available_at,
        token=None,
        worker=None,
        lease_expires_at=None,
    )


def ended(row: Row, to: Transition, now: float) -> Row:
    """The row after an attempt came to its end."""
    error_at = None if to.error is None else now
    finished_at = now if to.status in {Status.DONE, Status.FAILED} else None
    return replace(moved(row, to), error=to.error, error_at=error_at, finished_at=finished_at)


@dataclass(frozen=True, slots=True)
class Indexed:
    """An entry's row in the index."""

    record: Record
    revision: int
    updated_at: float


@dataclass
class State:
    """Everything that is stored."""

    kbs: dict[str, KnowledgeBase] = field(default_factory=dict)
    entries: dict[Key, Indexed] = field(default_factory=dict)
    queue: dict[Key, Row] = field(default_factory=dict)
    #: Of each entry, its passages and the model that they were made with.
    chunks: dict[Key, tuple[tuple[Passage, int], ...]] = field(default_factory=dict)
    #: By model and hash of the text: the embedding's number and its vector.
    embeddings: dict[tuple[int, bytes], tuple[int, bytes]] = field(default_factory=dict)
    last_embedding: int = 0
    unused_since: dict[int, float] = field(default_factory=dict)
    collected_at: int = 0
    generations: Counter[int] = field(default_factory=Counter)
    models: dict[str, Model] = field(default_factory=dict)
    workers: dict[str, WorkerRow] = field(default_factory=dict)
    leader: Leader | None = None
    tokens: dict[str, TokenRow] = field(default_factory=dict)
    jobs: dict[str, JobRow] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    revision: int = 0
    seq: int = 0

    def draft(self) -> State:
        """A copy to work on; what it holds is frozen."""
        return State(**{each.name: copy(getattr(self, each.name)) for each in fields(self)})

    def tell(self, kind: str, key: Key, revision: int, at: float, **detail: object) -> Event:
        """Append to the feed."""
        self.seq += 1
        event = Event(self.seq, kind, *key, revision, at, detail)  # type: ignore[arg-type]
        self.events.append(event)
        return event

    def tell_failed(self, key: Key, to: Transition, now: float) -> Event:
        """Append a failure to the feed."""
        revision = self.queue[key].revision
        return self.tell("embed_failed", key, revision, now, error=to.error, attempts=to.attempts)

    def forget(self, key: Key) -> int:
        """Remove an entry with all that hangs on it; returns its revision."""
        del self.queue[key]
        self.chunks.pop(key, None)
        return self.entries.pop(key).revision

    def held(self, claim: Claim) -> Row | None:
        """The claim's row, if it is still the claim's."""
        row = self.queue.get((claim.kb, claim.entry_id))
        return row if row and (row.revision, row.token) == (claim.revision, claim.token) else None

    def rows(self, kb: str | None, *statuses: Status) -> list[tuple[Key, Row]]:
        """Rows of a knowledge base, or of all, in the order they were first queued."""
        scope = ((key, row) for key, row in self.queue.items() if kb in {None, key[0]})
        return [(key, row) for key, row in scope if row.status in (statuses or Status)]

    def rescue(self, lost: Callable[[Row], bool], policy: RetryPolicy, now: float) -> int:
        """End the attempts of workers that are gone."""
        rows = [(key, row) for key, row in self.rows(None, Status.PROCESSING) if lost(row)]
        for key, row in rows:
            to = after(row.status, row.attempts, LeaseExpired(), now=now, policy=policy)
            self.queue[key] = ended(row, to, now)
            if to.status is Status.FAILED:
                self.tell_failed(key, to, now)
        return len(rows)

    def embed(self, model_id: int, digest: bytes, vector: bytes, renew_through: int = 0) -> None:
        """Store an embedding; what is there already stays, unless it is to be encoded afresh."""
        old, _ = self.embeddings.get((model_id, digest), (0, b""))
        if old > renew_through:
            return
        self.last_embedding += 1
        self.embeddings[model_id, digest] = self.last_embedding, vector
        for key, chunks in self.chunks.items():
            self.chunks[key] = tuple(
                (replace(p, embedding_id=self.last_embedding), model)
                if p.embedding_id == old
                else (p, model)
                for p, model in chunks
            )

    def vectors(self, model_id: int) -> list[tuple[int, bytes, bytes]]:
        """A model's embeddings (number, hash, vector) in order of their numbers."""
        return sorted(
            (number, digest, vector)
            for (model, digest), (number, vector) in self.embeddings.items()
            if model == model_id
        )

    def used(self) -> set[int]:
        """The numbers of the embeddings that an entry uses."""
        return {p.embedding_id for chunks in self.chunks.values() for p, _ in chunks}

    def chosen(self, filters: Filters) -> list[Indexed]:
        """Entries by knowledge base and id."""
        ordered = sorted(self.entries.items(), key=lambda item: item[0])
        return [found for _, found in ordered if matches(found, filters)]


def matches(found: Indexed, filters: Filters) -> bool:
    """Whether an entry is one of those that are meant."""
    entry, kb = found.record.entry, found.record.kb
    return (
        (not filters.kbs or kb in filters.kbs)
        and (not filters.types or entry.type in filters.types)
        and set(filters.tags) <= set(entry.tags)
        and (filters.since is None or day_of(found) >= filters.since)
        and (filters.until is None or day_of(found) <= filters.until)
        and all(has(entry.fields.get(k, ABSENT), v) for k, v in filters.fields.items())
    )


def day_of(found: Indexed) -> str:
    """The day that an entry is of."""
    written = str(found.record.entry.fields.get("date"))[:10]
    with suppress(ValueError):
        if date.fromisoformat(written).isoformat() == written:
            return written
    return datetime.fromtimestamp(found.updated_at, UTC).date().isoformat()


ABSENT = object()


def has(value: object, wanted: str) -> bool:
    """Whether a front-matter field has a value, or is a list that contains it."""
    if isinstance(value, list | tuple):
        return any(not isinstance(v, list | tuple | dict) and has(v, wanted) for v in value)
    if value is ABSENT or isinstance(value, dict):
        return False
    return (value if isinstance(value, str) else json.dumps(value)) == wanted


def after_now(row: Row, occurrence: Occurrence) -> Transition:
    """A transition that asks neither for the time nor for a policy."""
    return after(row.status, row.attempts, occurrence, now=0.0, policy=RetryPolicy())


def candidates(state: State, request: ClaimRequest) -> list[tuple[Key, Row]]:
    """The rows to be claimed, most urgent first."""
    pending = state.rows(request.kb, Status.PENDING)
    if request.entry_id is not None:
        return [(key, row) for key, row in pending if key[1] == request.entry_id]
    held = [row.priority for row in state.queue.values() if row.worker == request.worker_id]
    due = [(key, row) for key, row in pending if row.due(request.now)]
    due.sort(key=lambda kr: (kr[1].priority, kr[1].queued_at))
    if SUSPECT in held:
        return []
    if request.urgent:
        return [(key, row) for key, row in due if row.priority == INTERACTIVE][: request.limit]
    clear = [(key, row) for key, row in due if row.priority != SUSPECT]
    bulk = [(key, row) for key, row in clear if row.priority == BULK][: int(request.limit > 1)]
    rest = [each for each in clear if each not in bulk]
    chosen = bulk + rest[: request.limit - len(bulk)]
    chosen.sort(key=lambda kr: (kr[1].priority, kr[1].queued_at))
    return chosen or due[: 0 if held else min(1, request.limit)]


def chunks_of(state: State, model_id: int, claim: Claim) -> Iterator[tuple[Passage, int]]:
    """The chunks that a claim gives its entry."""
    for ordinal, span in enumerate(claim.layout):
        number, _ = state.embeddings[model_id, span.digest]
        place = (claim.kb, claim.entry_id, ordinal, span.start, span.end, claim.revision)
        yield Passage(*place, span.headings, number), model_id


def due_entry(state: State, key: Key, row: Row) -> DueEntry:
    """What a claim brings."""
    assert row.token is not None
    entry = state.entries[key].record.entry
    return DueEntry(
        *(*key, entry.title, entry.summary, entry.body),
        revision=row.revision,
        token=row.token,
        attempt=row.attempts,
        queued_at=row.queued_at,
        priority=row.priority,
        renew_through=row.renew_through,
    )


def stored(state: State, found: Indexed) -> StoredEntry:
    """The entry as it is shown."""
    record, file = found.record, found.record.file
    status = state.queue[record.kb, record.entry.id].status
    return StoredEntry(
        record.kb,
        record.entry,
        file.path,
        file.digest,
        found.revision,
        found.updated_at,
        status,
    )
