"""The SQLite engine: :class:`pyrite.storage.protocol.Storage` over the modules beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from actors.lifecycle import RetryPolicy, Status
from actors.messages import Claim, Encoded, Event
from actors.ports import Ending, Settled
from pyrite.markdown.link_targets import Named
from pyrite.storage.protocol import EVERYTHING, ClaimedRows, ClaimRequest, Watcher
from pyrite.storage.records import (
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
    Space,
    StoredEntry,
    TokenRow,
    WordHit,
    WordQuery,
    WorkerRow,
)
from pyrite.storage.sqlite import transactions
from pyrite.storage.sqlite.backup import Progress, back_up, silent
from pyrite.storage.sqlite.connection import Connections
from pyrite.storage.sqlite.space import compact, space
from pyrite.storage.sqlite.tables import (
    embeddings,
    entries,
    feed,
    jobs,
    leadership,
    links,
    passages,
    queue,
    queue_status,
    tokens,
    words,
    workers,
)
from pyrite.storage.sqlite.writing import SqliteWriting


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

    def backup(self, target: Path, progress: Progress = silent) -> int:
        """Copy the database into a new file while others go on; returns its size in bytes.

        Args:
            target: where nothing is yet; in a folder that is there.
            progress: told how many bytes of how many have been copied.

        Raises:
            BackupError: something is there, or it cannot be written or read.
        """
        return back_up(self.path, target, progress)

    def compact(self) -> Space:
        """Give the disk back what is empty; writers wait meanwhile. How large it is then.

        Raises:
            StorageError: it cannot be done; the database is as it was.
        """
        return compact(self.path)

    def changed(self) -> bool:
        return self._db.changed()

    def watcher(self) -> Watcher:
        return self._db.watcher()

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

    def set_availability(self, name: str, *, device: int | None, unavailable: str | None) -> None:
        with self._db.write() as conn:
            entries.set_availability(conn, name, device=device, unavailable=unavailable)

    def remove_kb(self, name: str, *, now: float) -> bool:
        return transactions.remove_kb(self._db, name, now=now)

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

    def links(
        self, kb: str, *, entry_id: str | None = None, keys: Collection[str] | None = None
    ) -> list[LinkRow]:
        with self._db.read() as conn:
            return links.links(conn, kb, entry_id, keys)

    def names(self, kb: str) -> list[Named]:
        with self._db.read() as conn:
            return links.names(conn, kb)

    # The queue

    def claim(self, request: ClaimRequest) -> ClaimedRows:
        return transactions.claim(self._db, request)

    def settle(
        self, model_id: int, encoded: Sequence[Encoded], endings: Sequence[Ending], *, now: float
    ) -> Settled:
        with self._db.write() as conn:
            return transactions.settle(conn, model_id, encoded, endings, now=now)

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
        return transactions.reembed(self._db, kb, now=now, force=force, other_than=other_than)

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

    # The right to embed, tokens and jobs

    def lead(self, candidate: Leader, *, dead: Collection[str] = ()) -> Leader:
        return transactions.lead(self._db, candidate, dead)

    def resign(self, worker_id: str) -> None:
        with self._db.write() as conn:
            leadership.resign(conn, worker_id)

    def leader(self) -> Leader | None:
        with self._db.read() as conn:
            return leadership.leader(conn)

    def add_token(self, token: TokenRow) -> None:
        with self._db.write() as conn:
            tokens.add(conn, token)

    def tokens(self) -> list[TokenRow]:
        with self._db.read() as conn:
            return tokens.tokens(conn)

    def revoke_token(self, name: str) -> bool:
        with self._db.write() as conn:
            return tokens.revoke(conn, name)

    def put_job(self, job: JobRow) -> None:
        with self._db.write() as conn:
            jobs.put(conn, job)

    def jobs(self) -> list[JobRow]:
        with self._db.read() as conn:
            return jobs.jobs(conn)

    # Embeddings

    def model(self, fingerprint: str, name: str) -> Model:
        return transactions.model(self._db, fingerprint, name)

    def models(self) -> list[Model]:
        with self._db.read() as conn:
            return embeddings.models(conn)

    def known(self, model_id: int, digests: Collection[bytes]) -> dict[bytes, int]:
        with self._db.read() as conn:
            return embeddings.known(conn, model_id, digests)

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
        return transactions.collect_unused(self._db, now=now, unused_s=unused_s, every_s=every_s)

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

    def feed_bounds(self) -> FeedBounds:
        with self._db.read() as conn:
            return feed.bounds(conn)

    def prune_events(self, keep: int) -> int:
        return transactions.prune_events(self._db, keep)

    def problems(self) -> Mapping[str, int | str]:
        return transactions.problems(self._db)

    def space(self) -> Space:
        with self._db.read() as conn:
            return space(conn)
