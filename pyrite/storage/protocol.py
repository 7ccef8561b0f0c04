"""What every storage engine offers; one conformance suite holds them all to it.

Methods block and may be called from any thread. Each call is one transaction, but for
:meth:`Storage.writing`, which makes one of everything done inside it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from actors.lifecycle import RetryPolicy, Status
from actors.messages import Claim, Encoded, Event
from actors.ports import Ending, Settled
from pyrite.entries.link_targets import Named
from pyrite.storage.records import (
    DueEntry,
    EmbeddingState,
    Failure,
    FeedBounds,
    FileRow,
    Filters,
    JobRow,
    KnowledgeBase,
    LastError,
    Leader,
    LinkRow,
    Model,
    Passage,
    QueueCounts,
    Record,
    StoredEntry,
    TokenRow,
    WordHit,
    WordQuery,
    WorkerRow,
)

#: No filter at all.
EVERYTHING = Filters()


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Who claims what, and for how long."""

    worker_id: str
    now: float
    lease_s: float
    policy: RetryPolicy
    limit: int = 10
    #: Only of this knowledge base.
    kb: str | None = None
    #: Only this entry of it, due or not.
    entry_id: str | None = None
    #: Only what somebody waits for. Otherwise this goes first, but one claim in ``limit`` is
    #: kept for what has waited longest in bulk.
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class ClaimedRows:
    """What a claim brought."""

    due: tuple[DueEntry, ...] = ()
    #: Seconds until the next entry falls due or the next lease expires; None where none will.
    next_due_s: float | None = None
    #: Entries in the claim's scope that are pending or processing.
    unfinished: int = 0
    #: Claims of others that were ended for it, because their lease had expired.
    rescued: int = 0


class Writing(Protocol):
    """One transaction over entries, their files and their queue rows."""

    def file(self, kb: str, entry_id: str) -> tuple[int, FileRow] | None:
        """An entry's revision and file, or None where there is no such entry."""
        ...

    def upsert(self, records: Sequence[Record], *, priority: int, now: float) -> list[int]:
        """Write entries and queue each for embedding; returns their new revisions."""
        ...

    def restamp(self, kb: str, files: Iterable[FileRow]) -> None:
        """Note new stats of files whose content is as it was; nothing is queued."""
        ...

    def delete(self, kb: str, entry_ids: Collection[str], *, now: float) -> int:
        """Delete entries with their queue rows and chunks; returns how many there were."""
        ...


class Watcher(Protocol):
    """Notices commits, each for itself; used from one thread."""

    def changed(self) -> bool:
        """Whether anything was committed since the last call; takes microseconds."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


class Storage(Protocol):
    """Entries, the queue, embeddings and the feed, in one durable place."""

    def close(self) -> None:
        """Release the storage."""
        ...

    def changed(self) -> bool:
        """Whether anything was committed since the last call; does not block."""
        ...

    def watcher(self) -> Watcher:
        """One more who looks for commits, whoever made them."""
        ...

    def writing(self) -> AbstractContextManager[Writing]:
        """A transaction: all of it happens, or on an exception nothing."""
        ...

    # Knowledge bases

    def add_kb(self, name: str, path: str, *, now: float) -> None:
        """Register a folder.

        Raises:
            ConflictError: the name or the folder is registered already.
        """
        ...

    def kbs(self) -> list[KnowledgeBase]:
        """All of them, by name."""
        ...

    def remove_kb(self, name: str, *, now: float) -> bool:
        """Forget a knowledge base and its entries; False if there was none."""
        ...

    # Entries

    def entry(self, kb: str, entry_id: str) -> StoredEntry | None:
        """One entry."""
        ...

    def entries(
        self, filters: Filters = EVERYTHING, *, limit: int | None = None, offset: int = 0
    ) -> list[StoredEntry]:
        """Entries by knowledge base and id, without their bodies."""
        ...

    def files(self, kb: str) -> dict[str, FileRow]:
        """The files of a knowledge base as they were last read, by entry id."""
        ...

    # Links

    def links(
        self, kb: str, *, entry_id: str | None = None, keys: Collection[str] | None = None
    ) -> list[LinkRow]:
        """Links by the id of the entry that they are in, and in order of its text.

        Args:
            kb: whose entries' links.
            entry_id: only of this entry.
            keys: only those whose targets have one of these :func:`lookup_key`s; not both.
        """
        ...

    def names(self, kb: str) -> list[Named]:
        """What the entries of a knowledge base are called, in no particular order."""
        ...

    # The queue

    def claim(self, request: ClaimRequest) -> ClaimedRows:
        """Rescue expired leases, promote what has fallen due, and claim due entries."""
        ...

    def settle(
        self, model_id: int, encoded: Sequence[Encoded], endings: Sequence[Ending], *, now: float
    ) -> Settled:
        """Store embeddings, and end those claims that are still held, with their events."""
        ...

    def renew(self, claims: Sequence[Claim], lease_expires_at: float) -> None:
        """Extend the leases of those claims that are still held."""
        ...

    def release(self, claims: Sequence[Claim]) -> int:
        """Give back those claims that are still held; returns how many."""
        ...

    def rescue(self, worker_ids: Collection[str], policy: RetryPolicy, *, now: float) -> int:
        """End the leases of workers known to be dead; returns how many there were."""
        ...

    def retry_failed(
        self, kb: str | None, entry_ids: Collection[str] | None, *, now: float
    ) -> list[tuple[str, str]]:
        """Queue failed entries again, all or those named; returns which (knowledge base, id)."""
        ...

    def reembed(self, kb: str | None, *, now: float, force: bool, other_than: int | None) -> int:
        """Queue finished entries again, in several transactions; returns how many.

        Args:
            kb: only of this knowledge base.
            now: when they are queued.
            force: encode even texts that have been encoded before.
            other_than: only entries that were embedded with another model than this one.
        """
        ...

    def counts(self, kb: str | None = None) -> QueueCounts:
        """How many entries stand where; takes microseconds."""
        ...

    def unfinished_characters(self, kb: str | None = None) -> int:
        """How long the texts are of entries that are pending or processing."""
        ...

    def outdated(self, model_ids: Collection[int], kb: str | None = None) -> int:
        """How many finished entries were embedded with one of these models."""
        ...

    def failures(self, kb: str | None = None, limit: int | None = None) -> list[Failure]:
        """Entries that have failed, newest first."""
        ...

    def last_error(self, kb: str | None = None) -> LastError | None:
        """The newest error that no success has followed."""
        ...

    def oldest_pending(self, kb: str | None = None) -> float | None:
        """When the entry that has waited longest was queued."""
        ...

    def revision_status(self, revision: int, model_id: int | None = None) -> Status | None:
        """How far that write is; None if the entry was written anew or deleted since.

        What was embedded with another model than the one given is still pending.

        Raises:
            NotFoundError: there has been no such write.
        """
        ...

    # Workers

    def beat(self, worker: WorkerRow) -> None:
        """Write a worker's heartbeat."""
        ...

    def retire(self, worker_ids: Collection[str]) -> None:
        """Forget workers."""
        ...

    def workers(self) -> list[WorkerRow]:
        """All that have not been forgotten, latest heartbeat first."""
        ...

    # The right to embed

    def lead(self, candidate: Leader, *, dead: Collection[str] = ()) -> Leader:
        """Take the right to embed, or renew it; returns who has it now.

        It is free to take where nobody has it, where it has lapsed by ``candidate.since``, or
        where it is that of one of the ``dead`` workers. Who has it keeps its own ``since``.
        """
        ...

    def resign(self, worker_id: str) -> None:
        """Give the right to embed back; done by who does not have it, this does nothing."""
        ...

    def leader(self) -> Leader | None:
        """Who took the right to embed last and has not given it back, lapsed or not."""
        ...

    # Tokens

    def add_token(self, token: TokenRow) -> None:
        """Enter a token.

        Raises:
            ConflictError: another one has the name.
        """
        ...

    def tokens(self) -> list[TokenRow]:
        """All of them, in order of their names."""
        ...

    def revoke_token(self, name: str) -> bool:
        """Forget a token; False if there was none of that name."""
        ...

    # Jobs

    def put_job(self, job: JobRow) -> None:
        """Enter a job, or what is new of it; the oldest of very many are forgotten."""
        ...

    def jobs(self) -> list[JobRow]:
        """All that are remembered, newest first."""
        ...

    # Embeddings

    def model(self, fingerprint: str, name: str) -> Model:
        """The model with that fingerprint, entered if it is new; it goes by that name now."""
        ...

    def models(self) -> list[Model]:
        """All that have ever been used."""
        ...

    def known(self, model_id: int, digests: Collection[bytes]) -> dict[bytes, int]:
        """Which of these texts have been encoded, and their embeddings' numbers, from 1."""
        ...

    def embeddings(self, kb: str, entry_id: str) -> list[tuple[Passage, bytes]]:
        """An entry's passages in order, each with its embedding's bytes."""
        ...

    def embedding_state(self, model_id: int) -> EmbeddingState:
        """What a copy of the model's vectors has to agree with."""
        ...

    def embeddings_after(self, model_id: int, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Embeddings (number, float32 little-endian) with larger numbers, in their order."""
        ...

    def embeddings_by_id(self, model_id: int, ids: Collection[int]) -> list[tuple[int, bytes]]:
        """Those of the embeddings that there are, in order of their numbers."""
        ...

    def cached(self, model_id: int, after: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        """Embeddings (number, hash of the text, vector) with larger numbers, in their order."""
        ...

    def add_cached(self, model_id: int, vectors: Sequence[tuple[bytes, bytes]]) -> int:
        """Take in embeddings (hash of the text, vector); returns how many were new."""
        ...

    def collect_unused(self, *, now: float, unused_s: float, every_s: float = 0.0) -> int:
        """Delete embeddings that no entry has used for so long; returns how many.

        Deletes nothing while any entry is being embedded: its worker may be about to use one.
        Does nothing at all if it was done less than ``every_s`` ago.
        """
        ...

    # Searching

    def embedding_ids(self, model_id: int, filters: Filters) -> list[int]:
        """The numbers of the embeddings that serve such entries, in order."""
        ...

    def layout(self, model_id: int, kb: str, entry_id: str) -> list[Passage]:
        """An entry's passages in order; none if it is not embedded with that model."""
        ...

    def passages(self, ids: Collection[int], filters: Filters = EVERYTHING) -> list[Passage]:
        """The passages of such entries that these embeddings serve, in no particular order."""
        ...

    def with_words(
        self, query: WordQuery, filters: Filters = EVERYTHING, *, limit: int, offset: int = 0
    ) -> list[WordHit]:
        """Such entries that contain what is looked for, best first; ties by knowledge base and id.

        An entry is found from the moment in which its write is committed.
        """
        ...

    def highlights(self, kb: str, entry_id: str, query: WordQuery) -> list[tuple[int, int]]:
        """Where in an entry's body the words are: ranges in characters, in order."""
        ...

    # The feed

    def events(self, since: int, limit: int) -> list[Event]:
        """Events numbered above ``since``, in order."""
        ...

    def feed_bounds(self) -> FeedBounds:
        """Which events there are."""
        ...

    def prune_events(self, keep: int) -> int:
        """Delete all but the newest events; returns how many went."""
        ...

    # Health

    def problems(self) -> Mapping[str, int | str]:
        """Invariants that do not hold, by name, with how often or what; empty when all is well."""
        ...
