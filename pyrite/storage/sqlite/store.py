"""The SQLite engine: :class:`pyrite.storage.protocol.Storage` over the modules beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from actors.lifecycle import RetryPolicy, Status
from actors.messages import Claim, Encoded, Event
from actors.ports import Ending, Settled
from pyrite.storage.driver import sqlite3
from pyrite.storage.protocol import EVERYTHING, ClaimedRows, ClaimRequest
from pyrite.storage.records import (
    EmbeddingState,
    Failure,
    FileRow,
    Filters,
    KnowledgeBase,
    LastError,
    Model,
    Passage,
    QueueCounts,
    Record,
    StoredEntry,
    WordHit,
    WordQuery,
    WorkerRow,
)
from pyrite.storage.sqlite import (
    embeddings,
    entries,
    feed,
    health,
    passages,
    queue,
    queue_status,
    words,
    workers,
)
from pyrite.storage.sqlite.connection import Connections

#: Embeddings deleted in one transaction: a fraction of a second's work.
_COLLECTED = 1_000


@dataclass(frozen=True, slots=True)
class SqliteWriting:
    """A transaction over entries."""

    conn: sqlite3.Connection

    def file(self, kb: str, entry_id: str) -> tuple[int, FileRow] | None:
        """An entry's revision and file."""
        return entries.file(self.conn, kb, entry_id)

    def upsert(self, records: Sequence[Record], *, priority: int, now: float) -> list[int]:
        """Write entries and queue each for embedding."""
        return entries.upsert(self.conn, records, priority=priority, now=now)

    def restamp(self, kb: str, files: Iterable[FileRow]) -> None:
        """Note new stats of unchanged files."""
        entries.restamp(self.conn, kb, files)

    def delete(self, kb: str, entry_ids: Collection[str], *, now: float) -> int:
        """Delete entries."""
        return entries.delete(self.conn, kb, entry_ids, now=now)


class SqliteStorage:
    """A database file; see :class:`pyrite.storage.protocol.Storage` for what each method does."""

    def __init__(self, path: Path) -> None:
        self._db = Connections(path)

    @property
    def path(self) -> Path:
        """The database file."""
        return self._db.path

    def close(self) -> None:
        self._db.close()

    def changed(self) -> bool:
        return self._db.changed()

    @contextmanager
    def writing(self) -> Iterator[SqliteWriting]:
        with self._db.write() as conn:
            yield SqliteWriting(conn)

    # Knowledge bases and entries

    def add_kb(self, name: str, path: str, *, now: float) -> None:
        with self._db.write() as conn:
            entries.add_kb(conn, name, path, now=now)

    def kbs(self) -> list[KnowledgeBase]:
        with self._db.read() as conn:
            return entries.kbs(conn)

    def remove_kb(self, name: str, *, now: float) -> bool:
        with self._db.write() as conn:
            return entries.remove_kb(conn, name, now=now)

    def entry(self, kb: str, entry_id: str) -> StoredEntry | None:
        with self._db.read() as conn:
            return entries.entry(conn, kb, entry_id)

    def entries(
        self, filters: Filters = EVERYTHING, *, limit: int | None = None, offset: int = 0
    ) -> list[StoredEntry]:
        with self._db.read() as conn:
            return entries.entries(conn, filters, limit=limit, offset=offset)

    def files(self, kb: str) -> dict[str, FileRow]:
        with self._db.read() as conn:
            return entries.files(conn, kb)

    # The queue

    def claim(self, request: ClaimRequest) -> ClaimedRows:
        with self._db.read() as conn:
            due = queue.any_due(conn, request)
        claimed: list[int] = []
        if due:
            with self._db.write() as conn:
                claimed = queue.claim(conn, request)
        with self._db.read() as conn:
            next_due = queue_status.next_due(conn)
            return ClaimedRows(
                due=tuple(queue.read_claimed(conn, claimed, request.worker_id)),
                next_due_s=None if next_due is None else next_due - request.now,
                unfinished=queue_status.counts(conn, request.kb).unfinished,
            )

    def settle(
        self, model_id: int, encoded: Sequence[Encoded], endings: Sequence[Ending], *, now: float
    ) -> Settled:
        finished = [e.claim for e in endings if e.transition.status is Status.DONE]
        failed = [e for e in endings if e.transition.status is not Status.DONE]
        events: list[Event] = []
        with self._db.write() as conn:
            embeddings.store(conn, model_id, encoded)
            queued_at = queue.finish(conn, finished, model_id, now=now)
            done = [claim for claim in finished if claim.token in queued_at]
            embeddings.link(conn, model_id, done)
            events += feed.append_completed(conn, done, queued_at, now)
            lost = [claim for claim in finished if claim.token not in queued_at]
            for ending in failed:
                claim, to = ending.claim, ending.transition
                if not queue.fail(conn, ending, now=now):
                    lost.append(claim)
                elif to.status is Status.FAILED:
                    entry = (claim.kb, claim.entry_id, claim.revision)
                    events.append(queue.failed_event(conn, entry, to, now=now))
        return Settled(tuple(events), tuple(lost))

    def renew(self, claims: Sequence[Claim], lease_expires_at: float) -> None:
        with self._db.write() as conn:
            queue.renew(conn, claims, lease_expires_at)

    def release(self, claims: Sequence[Claim]) -> int:
        with self._db.write() as conn:
            return queue.release(conn, claims)

    def rescue(self, worker_ids: Collection[str], policy: RetryPolicy, *, now: float) -> int:
        with self._db.write() as conn:
            return queue.rescue_workers(conn, worker_ids, policy, now=now)

    def retry_failed(
        self, kb: str | None, entry_ids: Collection[str] | None, *, now: float
    ) -> list[tuple[str, str]]:
        with self._db.write() as conn:
            return queue.retry_failed(conn, kb, entry_ids, now=now)

    def reembed(self, kb: str | None, *, now: float, force: bool, other_than: int | None) -> int:
        # In slices, so that others can write in between.
        queued, rowids = 0, [0]
        while rowids:
            with self._db.write() as conn:
                rowids = queue.reembed(
                    conn, kb, now=now, force=force, other_than=other_than, after_row=rowids[-1]
                )
            queued += len(rowids)
        return queued

    def counts(self, kb: str | None = None) -> QueueCounts:
        with self._db.read() as conn:
            return queue_status.counts(conn, kb)

    def unfinished_characters(self, kb: str | None = None) -> int:
        with self._db.read() as conn:
            return queue_status.unfinished_characters(conn, kb)

    def outdated(self, model_ids: Collection[int], kb: str | None = None) -> int:
        with self._db.read() as conn:
            return queue_status.outdated(conn, model_ids, kb)

    def failures(self, kb: str | None = None, limit: int | None = None) -> list[Failure]:
        with self._db.read() as conn:
            return queue_status.failures(conn, kb, limit)

    def last_error(self, kb: str | None = None) -> LastError | None:
        with self._db.read() as conn:
            return queue_status.last_error(conn, kb)

    def oldest_pending(self, kb: str | None = None) -> float | None:
        with self._db.read() as conn:
            return queue_status.oldest_pending(conn, kb)

    def revision_status(self, revision: int, model_id: int | None = None) -> Status | None:
        with self._db.read() as conn:
            return queue_status.of_revision(conn, revision, model_id)

    # Workers

    def beat(self, worker: WorkerRow) -> None:
        with self._db.write() as conn:
            workers.beat(conn, worker)

    def retire(self, worker_ids: Collection[str]) -> None:
        with self._db.write() as conn:
            workers.retire(conn, worker_ids)

    def workers(self) -> list[WorkerRow]:
        with self._db.read() as conn:
            return workers.workers(conn)

    # Embeddings

    def model(self, fingerprint: str, name: str) -> Model:
        with self._db.read() as conn:
            known = embeddings.model(conn, fingerprint)
        if known is not None and known.name == name:
            return known
        with self._db.write() as conn:
            return embeddings.add_model(conn, fingerprint, name)

    def models(self) -> list[Model]:
        with self._db.read() as conn:
            return embeddings.models(conn)

    def known(self, model_id: int, digests: Collection[bytes], *, above: int = 0) -> set[bytes]:
        with self._db.read() as conn:
            found = embeddings.known(conn, model_id, digests)
        return {digest for digest, number in found.items() if number > above}

    def embeddings(self, kb: str, entry_id: str) -> list[tuple[Passage, bytes]]:
        with self._db.read() as conn:
            return passages.of_entry(conn, kb, entry_id)

    def embedding_state(self, model_id: int) -> EmbeddingState:
        with self._db.read() as conn:
            return embeddings.state(conn, model_id)

    def embeddings_after(self, model_id: int, after: int, limit: int) -> list[tuple[int, bytes]]:
        with self._db.read() as conn:
            return embeddings.after(conn, model_id, after, limit)

    def embeddings_by_id(self, model_id: int, ids: Collection[int]) -> list[tuple[int, bytes]]:
        with self._db.read() as conn:
            return embeddings.by_id(conn, model_id, ids)

    def cached(self, model_id: int, after: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        with self._db.read() as conn:
            return embeddings.cached(conn, model_id, after, limit)

    def add_cached(self, model_id: int, vectors: Sequence[tuple[bytes, bytes]]) -> int:
        with self._db.write() as conn:
            return embeddings.add_cached(conn, model_id, vectors)

    def collect_unused(self, *, now: float, unused_s: float, every_s: float = 0.0) -> int:
        # Looking is slow and needs no lock; what it found is looked at again under the lock.
        with self._db.read() as conn:
            # An explicit wish is met even where the clock has been set back since.
            if every_s and now - embeddings.collected_at(conn) < every_s:
                return 0
            found = embeddings.unused(conn)
        with self._db.write() as conn:
            embeddings.mark_unused(conn, found, now=now)
        collected, last = 0, _COLLECTED
        while last == _COLLECTED:
            with self._db.write() as conn:
                last = embeddings.collect(conn, before=now - unused_s, limit=_COLLECTED)
            collected += last
        return collected

    # Searching

    def embedding_ids(self, model_id: int, filters: Filters) -> list[int]:
        with self._db.read() as conn:
            return passages.embedding_ids(conn, model_id, filters)

    def layout(self, model_id: int, kb: str, entry_id: str) -> list[Passage]:
        with self._db.read() as conn:
            return passages.layout(conn, model_id, kb, entry_id)

    def passages(self, ids: Collection[int], filters: Filters = EVERYTHING) -> list[Passage]:
        with self._db.read() as conn:
            return passages.serving(conn, ids, filters)

    def with_words(
        self, query: WordQuery, filters: Filters = EVERYTHING, *, limit: int, offset: int = 0
    ) -> list[WordHit]:
        with self._db.read() as conn:
            return words.search(conn, query, filters, limit=limit, offset=offset)

    def highlights(self, kb: str, entry_id: str, query: WordQuery) -> list[tuple[int, int]]:
        with self._db.read() as conn:
            return words.highlights(conn, kb, entry_id, query)

    # The feed and its health

    def events(self, since: int, limit: int) -> list[Event]:
        with self._db.read() as conn:
            return feed.events(conn, since, limit)

    def prune_events(self, keep: int) -> int:
        with self._db.write() as conn:
            return feed.prune(conn, keep)

    def problems(self) -> Mapping[str, int | str]:
        with self._db.read() as conn:
            found = health.problems(conn)
        with self._db.write() as conn:
            disagreement = health.words_problem(conn)
        if disagreement is not None:
            found["words that are not those of the entries"] = disagreement
        return found
