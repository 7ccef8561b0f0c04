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
from pyrite.storage.protocol import ClaimedRows, ClaimRequest
from pyrite.storage.records import (
    Failure,
    FileRow,
    KnowledgeBase,
    LastError,
    Model,
    Passage,
    PassageChanges,
    QueueCounts,
    Record,
    StoredEntry,
    WorkerRow,
)
from pyrite.storage.sqlite import entries, feed, health, queue, queue_status, vectors, workers
from pyrite.storage.sqlite.connection import Connections


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
        self,
        kb: str | None = None,
        *,
        entry_type: str | None = None,
        tag: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[StoredEntry]:
        with self._db.read() as conn:
            return entries.entries(
                conn, kb, entry_type=entry_type, tag=tag, limit=limit, offset=offset
            )

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
            vectors.store(conn, model_id, encoded)
            queued_at = queue.finish(conn, finished, model_id, now=now)
            done = [claim for claim in finished if claim.token in queued_at]
            vectors.link(conn, model_id, done)
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
            known = vectors.model(conn, fingerprint)
        if known is not None and known.name == name:
            return known
        with self._db.write() as conn:
            return vectors.add_model(conn, fingerprint, name)

    def models(self) -> list[Model]:
        with self._db.read() as conn:
            return vectors.models(conn)

    def known(self, model_id: int, digests: Collection[bytes]) -> set[bytes]:
        with self._db.read() as conn:
            return vectors.known(conn, model_id, digests)

    def embeddings(self, kb: str, entry_id: str) -> list[tuple[Passage, bytes]]:
        with self._db.read() as conn:
            return vectors.embeddings(conn, kb, entry_id)

    def passages_since(self, model_id: int, seq: int | None) -> PassageChanges:
        with self._db.read() as conn:
            return vectors.passages_since(conn, model_id, seq)

    # The feed and its health

    def events(self, since: int, limit: int) -> list[Event]:
        with self._db.read() as conn:
            return feed.events(conn, since, limit)

    def prune_events(self, keep: int) -> int:
        with self._db.write() as conn:
            return feed.prune(conn, keep)

    def problems(self) -> Mapping[str, int | str]:
        with self._db.read() as conn:
            return health.problems(conn)
