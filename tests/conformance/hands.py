"""What the storage tests have in common: entries, their texts and vectors, and a worker by hand.

A text's "embedding" is a function of the text, so that a vector in the wrong place shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from actors.lifecycle import Embedded, Failed, RetryPolicy, Status, after
from actors.messages import Chunk, Claim, Encoded, Piece, Span
from actors.ports import Ending, Settled
from pyrite.markdown.entry import JSON, Entry
from pyrite.storage.protocol import ClaimRequest, Storage
from pyrite.storage.queue_records import DueEntry
from pyrite.storage.records import (
    INTERACTIVE,
    NO_MODEL,
    FileRow,
    FileStamp,
    Passage,
    Record,
    WordQuery,
)
from pyrite.vault.files import digest_of

DIMENSION = 4
POLICY = RetryPolicy(max_attempts=3, base_s=10.0, jitter=0.0)
LEASE_S = 60.0
STAMP = FileStamp(size=3, mtime_ns=4, ctime_ns=5, inode=6)


def entry(
    entry_id: str = "a",
    body: str = "text",
    *,
    entry_type: str = "note",
    title: str | None = None,
    summary: str = "",
    tags: tuple[str, ...] = (),
    fields: Mapping[str, JSON] | None = None,
) -> Entry:
    """An entry of which only what matters is said."""
    title = f"Title of {entry_id}" if title is None else title
    return Entry(entry_id, entry_type, title, summary, tags, body, fields or {})


def record(kb: str, what: Entry, stamp: FileStamp | None = STAMP) -> Record:
    """The entry as read from its file."""
    file = FileRow(what.id, f"{what.id}.md", digest_of(what.body.encode()), stamp)
    return Record(kb, what, file)


def write(
    storage: Storage,
    kb: str,
    entry_id: str,
    body: str = "text",
    *,
    now: float = 0.0,
    priority: int = INTERACTIVE,
) -> int:
    """Write one entry; returns its revision."""
    with storage.writing() as writing:
        (revision,) = writing.upsert(
            [record(kb, entry(entry_id, body))], priority=priority, now=now
        )
    return revision


def delete(storage: Storage, kb: str, *entry_ids: str, now: float = 0.0) -> int:
    """Delete entries; returns how many there were."""
    with storage.writing() as writing:
        return writing.delete(kb, entry_ids, now=now)


def told(storage: Storage, since: int = 0) -> list[tuple[str, str, int]]:
    """The feed in short: type, entry, revision."""
    return [(each.type, each.entry_id, each.revision) for each in storage.events(since, 1000)]


def status(storage: Storage, kb: str, entry_id: str) -> Status:
    """Where an entry stands."""
    stored = storage.entry(kb, entry_id)
    assert stored is not None
    return stored.embedding


def chunks(body: str) -> list[tuple[Span, Chunk]]:
    """One chunk for each line of the body."""
    found = []
    start = 0
    for line in body.split("\n"):
        digest = digest_of(line.encode())
        found.append((Span(digest, start, start + len(line)), Chunk(digest, line, 1)))
        start += len(line) + 1
    return found


@cache
def vector(text: str) -> npt.NDArray[np.float32]:
    """The text's embedding: unit length, and any other text's differs."""
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    raw = np.random.default_rng(seed).standard_normal(DIMENSION)
    unit = (raw / np.linalg.norm(raw)).astype("<f4")
    unit.flags.writeable = False
    return unit


def vectors(storage: Storage, kb: str, entry_id: str) -> list[bytes]:
    """The bytes of an entry's embeddings, in order."""
    return [blob for _, blob in storage.embeddings(kb, entry_id)]


def layout(storage: Storage, model_id: int, kb: str, entry_id: str) -> list[Passage]:
    """An entry's passages by a model, in order."""
    view = storage.views([(kb, entry_id)], model_id=model_id).get((kb, entry_id))
    return [] if view is None else list(view.layout)


def highlights(storage: Storage, kb: str, entry_id: str, query: WordQuery) -> list[tuple[int, int]]:
    """Where in an entry's body the words are."""
    found = storage.views([(kb, entry_id)], model_id=NO_MODEL, query=query)
    view = found.get((kb, entry_id))
    return [] if view is None else list(view.highlights)


def true_vectors(body: str) -> list[bytes]:
    """What an entry's embeddings ought to be."""
    return [vector(chunk.text).tobytes() for _, chunk in chunks(body)]


@dataclass
class Worker:
    """Does by hand what the pipeline does to the storage."""

    storage: Storage
    name: str = "worker"
    fingerprint: str = "model"

    def __post_init__(self) -> None:
        self.model_id = self.storage.model(self.fingerprint, "a model").model_id

    def request(
        self,
        now: float = 0.0,
        limit: int = 10,
        *,
        lease_s: float = LEASE_S,
        kb: str | None = None,
        entry_id: str | None = None,
        urgent: bool = False,
    ) -> ClaimRequest:
        """The request that a claim of this worker makes."""
        return ClaimRequest(self.name, now, lease_s, POLICY, limit, kb, entry_id, urgent)

    def claim(
        self,
        now: float = 0.0,
        limit: int = 10,
        *,
        lease_s: float = LEASE_S,
        kb: str | None = None,
        entry_id: str | None = None,
        urgent: bool = False,
    ) -> list[Claim]:
        """Claim entries and split their texts."""
        request = self.request(now, limit, lease_s=lease_s, kb=kb, entry_id=entry_id, urgent=urgent)
        return [self.split(due) for due in self.storage.claim(request).due]

    def claim_one(self, now: float = 0.0, *, lease_s: float = LEASE_S) -> Claim:
        """Claim the one entry that is due."""
        (claim,) = self.claim(now, lease_s=lease_s)
        return claim

    def split(self, due: DueEntry) -> Claim:
        """The claim, with those of its chunks that are not yet encoded."""
        pairs = chunks(due.body)
        by_digest = {chunk.digest: chunk for _, chunk in pairs}
        known = self.storage.known(self.model_id, by_digest)
        return Claim(
            kb=due.kb,
            entry_id=due.entry_id,
            revision=due.revision,
            token=due.token,
            attempt=due.attempt,
            queued_at=due.queued_at,
            priority=due.priority,
            layout=tuple(span for span, _ in pairs),
            missing=tuple(
                chunk
                for digest, chunk in by_digest.items()
                if known.get(digest, 0) <= due.renew_through
            ),
            renew_through=due.renew_through,
        )

    def finish(self, *claims: Claim, now: float = 0.0) -> Settled:
        """Store the claims' embeddings and end them."""
        encoded = [
            Encoded(Piece(claim, chunk), vector(chunk.text))
            for claim in claims
            for chunk in claim.missing
        ]
        return self.settle(encoded, [ending(claim, Embedded(), now) for claim in claims], now=now)

    def fail(
        self, claim: Claim, error: str = "boom", *, final: bool = False, now: float = 0.0
    ) -> Settled:
        """End a claim with an error."""
        return self.settle([], [ending(claim, Failed(error, final), now)], now=now)

    def settle(
        self, encoded: Sequence[Encoded], endings: Sequence[Ending], *, now: float = 0.0
    ) -> Settled:
        """Store and end, as given."""
        return self.storage.settle(self.model_id, encoded, endings, now=now)

    def embed_all(self, now: float = 0.0) -> None:
        """Claim and finish until nothing is due."""
        while claims := self.claim(now, 100):
            self.finish(*claims, now=now)


def ending(claim: Claim, occurrence: Embedded | Failed, now: float) -> Ending:
    """How the occurrence ends the claim."""
    to = after(Status.PROCESSING, claim.attempt, occurrence, now=now, policy=POLICY)
    return Ending(claim, to)
