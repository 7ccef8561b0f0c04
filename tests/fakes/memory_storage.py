"""The storage in memory: an honest fake, held to the same conformance suite as the engines.

A transaction works on a copy of the state, and committing puts the copy in its place: what
fails halfway leaves no trace, and readers see only what has been committed.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from actors.lifecycle import (
    Claimed,
    Released,
    Retried,
    RetryPolicy,
    Status,
    Written,
    after,
)
from actors.messages import Claim, Encoded, Event
from actors.ports import Ending, Settled
from pyrite.errors import ConflictError
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
from tests.fakes.memory_state import (
    Indexed,
    Key,
    Row,
    State,
    after_now,
    candidates,
    chunks_of,
    due_entry,
    ended,
    moved,
    stored,
)


@dataclass(frozen=True, slots=True)
class MemoryWriting:
    """A transaction over entries."""

    state: State

    def file(self, kb: str, entry_id: str) -> tuple[int, FileRow] | None:
        found = self.state.entries.get((kb, entry_id))
        return None if found is None else (found.revision, found.record.file)

    def upsert(self, records: Sequence[Record], *, priority: int, now: float) -> list[int]:
        return [self._upsert(record, priority, now) for record in records]

    def _upsert(self, record: Record, priority: int, now: float) -> int:
        state, key = self.state, (record.kb, record.entry.id)
        assert record.kb in state.kbs
        state.revision += 1
        # As JSON would give it back: a tuple in the fields becomes a list.
        entry = replace(record.entry, fields=json.loads(json.dumps(record.entry.fields)))
        state.entries[key] = Indexed(replace(record, entry=entry), state.revision, now)
        old = state.queue.get(key, Row(0, now, priority))
        to = after(old.status, old.attempts, Written(), now=now, policy=RetryPolicy())
        fresh = Row(state.revision, now, priority, force=old.force, model_id=old.model_id)
        state.queue[key] = moved(fresh, to)
        return state.revision

    def restamp(self, kb: str, files: Iterable[FileRow]) -> None:
        for file in files:
            found = self.state.entries.get((kb, file.entry_id))
            if found and found.record.file.digest == file.digest:
                record = replace(found.record, file=replace(found.record.file, stamp=file.stamp))
                self.state.entries[kb, file.entry_id] = replace(found, record=record)

    def delete(self, kb: str, entry_ids: Collection[str], *, now: float) -> int:
        keys = [(kb, entry_id) for entry_id in dict.fromkeys(entry_ids)]
        there = [key for key in keys if key in self.state.entries]
        for key in there:
            self.state.tell("entry_deleted", key, self.state.forget(key), now)
        return len(there)


class Memory:
    """What several instances share, as they would a database file."""

    def __init__(self) -> None:
        self.state = State()
        self.commits = 0
        self.lock = threading.RLock()
        self.in_transaction = False


class MemoryStorage:
    """See :class:`pyrite.storage.protocol.Storage` for what each method does."""

    def __init__(self, memory: Memory | None = None) -> None:
        self._memory = memory or Memory()
        self._seen = self._memory.commits

    @property
    def _now(self) -> State:
        return self._memory.state

    @contextmanager
    def _write(self) -> Iterator[State]:
        memory = self._memory
        with memory.lock:
            assert not memory.in_transaction, "a transaction within a transaction"
            memory.in_transaction = True
            try:
                draft = memory.state.draft()
                yield draft
                if draft != memory.state:
                    memory.state = draft
                    memory.commits += 1
            finally:
                memory.in_transaction = False

    def close(self) -> None:
        pass

    def changed(self) -> bool:
        seen, self._seen = self._seen, self._memory.commits
        return seen != self._seen

    @contextmanager
    def writing(self) -> Iterator[MemoryWriting]:
        with self._write() as state:
            yield MemoryWriting(state)

    # Knowledge bases and entries

    def add_kb(self, name: str, path: str, *, now: float) -> None:
        with self._write() as state:
            if name in state.kbs or any(kb.path == path for kb in state.kbs.values()):
                raise ConflictError(f"{name!r} or {path} is registered already")
            state.kbs[name] = KnowledgeBase(name, path, now)

    def kbs(self) -> list[KnowledgeBase]:
        return [kb for _, kb in sorted(self._now.kbs.items())]

    def remove_kb(self, name: str, *, now: float) -> bool:
        with self._write() as state:
            if state.kbs.pop(name, None) is None:
                return False
            for key, _ in state.rows(name):
                state.forget(key)
            state.tell("kb_removed", (name, ""), 0, now)
            return True

    def entry(self, kb: str, entry_id: str) -> StoredEntry | None:
        state = self._now
        found = state.entries.get((kb, entry_id))
        return None if found is None else stored(state, found)

    def entries(
        self,
        kb: str | None = None,
        *,
        entry_type: str | None = None,
        tag: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[StoredEntry]:
        state = self._now
        found = [
            stored(state, each)
            for _, each in sorted(state.entries.items(), key=lambda item: item[0])
            if kb in {None, each.record.kb}
            and entry_type in {None, each.record.entry.type}
            and (tag is None or tag in each.record.entry.tags)
        ]
        found = [replace(each, entry=replace(each.entry, body="")) for each in found]
        return found[offset : None if limit is None else offset + limit]

    def files(self, kb: str) -> dict[str, FileRow]:
        return {k[1]: e.record.file for k, e in self._now.entries.items() if k[0] == kb}

    # The queue

    def claim(self, request: ClaimRequest) -> ClaimedRows:
        now, policy = request.now, request.policy
        tokens = []
        if any(row.due(now) or row.expired(now) for row in self._now.queue.values()) or (
            request.entry_id is not None
        ):
            with self._write() as state:
                state.rescue(lambda row: row.expired(now), policy, now)
                for key, row in candidates(state, request):
                    to = after(row.status, row.attempts, Claimed(), now=now, policy=policy)
                    token, lease = secrets.token_hex(16), now + request.lease_s
                    state.queue[key] = replace(
                        moved(row, to),
                        token=token,
                        worker=request.worker_id,
                        lease_expires_at=lease,
                    )
                    tokens.append((key, token))
        state = self._now
        waits = [r.available_at for r in state.queue.values() if r.status is Status.PENDING]
        leases = [r.lease_expires_at for r in state.queue.values()]
        return ClaimedRows(
            due=tuple(
                due_entry(state, key, state.queue[key])
                for key, token in tokens
                if key in state.queue and state.queue[key].token == token
            ),
            next_due_s=min((at - now for at in waits + leases if at is not None), default=None),
            unfinished=self.counts(request.kb).unfinished,
        )

    def settle(
        self, model_id: int, encoded: Sequence[Encoded], endings: Sequence[Ending], *, now: float
    ) -> Settled:
        events: list[Event] = []
        lost: list[Claim] = []
        with self._write() as state:
            for each in encoded:
                digest = each.piece.chunk.digest
                state.embeddings[model_id, digest] = each.vector.astype("<f4").tobytes()
            for claim, to in ((ending.claim, ending.transition) for ending in endings):
                row, key = state.held(claim), (claim.kb, claim.entry_id)
                if row is None:
                    lost.append(claim)
                    continue
                state.queue[key] = ended(row, to, now)
                if to.status is Status.DONE:
                    state.queue[key] = replace(state.queue[key], model_id=model_id, force=False)
                    state.chunks[key] = tuple(chunks_of(state, model_id, claim))
                    detail = {"queued_at": row.queued_at, "embedded_at": now}
                    detail["duration_ms"] = round((now - row.queued_at) * 1000, 3)
                    events.append(state.tell("embed_complete", key, row.revision, now, **detail))
                elif to.status is Status.FAILED:
                    events.append(state.tell_failed(key, to, now))
        return Settled(tuple(events), tuple(lost))

    def renew(self, claims: Sequence[Claim], lease_expires_at: float) -> None:
        self._held(claims, lambda row: replace(row, lease_expires_at=lease_expires_at))

    def release(self, claims: Sequence[Claim]) -> int:
        return self._held(claims, lambda row: moved(row, after_now(row, Released())))

    def _held(self, claims: Sequence[Claim], change: Callable[[Row], Row]) -> int:
        changed = 0
        with self._write() as state:
            for claim in claims:
                row = state.held(claim)
                if row is not None:
                    state.queue[claim.kb, claim.entry_id] = change(row)
                    changed += 1
        return changed

    def rescue(self, worker_ids: Collection[str], policy: RetryPolicy, *, now: float) -> int:
        with self._write() as state:
            return state.rescue(lambda row: row.worker in worker_ids, policy, now)

    def retry_failed(
        self, kb: str | None, entry_ids: Collection[str] | None, *, now: float
    ) -> list[Key]:
        with self._write() as state:
            failed = state.rows(kb, Status.FAILED)
            named = [(k, row) for k, row in failed if entry_ids is None or k[1] in entry_ids]
            for key, row in named:
                state.queue[key] = moved(row.requeued(now, force=False), after_now(row, Retried()))
            return [key for key, _ in named]

    def reembed(self, kb: str | None, *, now: float, force: bool, other_than: int | None) -> int:
        with self._write() as state:
            rows = state.rows(kb, Status.PENDING, Status.DONE, Status.FAILED)
            if other_than is not None:
                rows = [
                    (key, row)
                    for key, row in rows
                    if row.status is Status.DONE and row.model_id != other_than
                ]
            for key, row in rows:
                state.queue[key] = row.requeued(now, force=force)
            return len(rows)

    def counts(self, kb: str | None = None) -> QueueCounts:
        return QueueCounts(**Counter(str(row.status) for _, row in self._now.rows(kb)))

    def outdated(self, model_ids: Collection[int], kb: str | None = None) -> int:
        return sum(row.model_id in model_ids for _, row in self._now.rows(kb, Status.DONE))

    def failures(self, kb: str | None = None, limit: int | None = None) -> list[Failure]:
        rows = self._now.rows(kb, Status.FAILED)
        rows.sort(key=lambda pair: (-(pair[1].finished_at or 0), *pair[0]))
        return [
            Failure(*key, row.revision, row.error or "", row.attempts, row.finished_at or 0)
            for key, row in rows[:limit]
        ]

    def last_error(self, kb: str | None = None) -> LastError | None:
        errors = [(row.error_at, key, row.error) for key, row in self._now.rows(kb)]
        newest = max((e for e in errors if e[0] is not None), default=None)
        return None if newest is None else LastError(*newest[1], newest[2] or "", newest[0] or 0)

    def oldest_pending(self, kb: str | None = None) -> float | None:
        waiting = self._now.rows(kb, Status.PENDING)
        return min((row.queued_at for _, row in waiting), default=None)

    # Workers

    def beat(self, worker: WorkerRow) -> None:
        with self._write() as state:
            state.workers[worker.worker_id] = worker

    def retire(self, worker_ids: Collection[str]) -> None:
        with self._write() as state:
            for worker_id in worker_ids:
                state.workers.pop(worker_id, None)

    def workers(self) -> list[WorkerRow]:
        return sorted(self._now.workers.values(), key=lambda w: -w.heartbeat_at)

    # Embeddings

    def model(self, fingerprint: str, name: str) -> Model:
        with self._write() as state:
            known = state.models.get(fingerprint)
            model_id = len(state.models) + 1 if known is None else known.model_id
            state.models[fingerprint] = Model(model_id, fingerprint, name)
            return state.models[fingerprint]

    def models(self) -> list[Model]:
        return list(self._now.models.values())

    def known(self, model_id: int, digests: Collection[bytes]) -> set[bytes]:
        return {each for each in digests if (model_id, each) in self._now.embeddings}

    def embeddings(self, kb: str, entry_id: str) -> list[tuple[Passage, bytes]]:
        state = self._now
        chunks = state.chunks.get((kb, entry_id), ())
        return [(passage, state.embeddings[model, digest]) for passage, model, digest in chunks]

    def passages_since(self, model_id: int, seq: int | None) -> PassageChanges:
        state = self._now
        news = [event for event in state.events if seq is not None and event.seq > seq]
        gap = seq is None or len(news) < state.seq - seq
        if gap or any(event.type == "kb_removed" for event in news):
            added = state.passages(state.chunks, model_id)
            return PassageChanges(state.seq, True, (), tuple(added))
        touching = {"embed_complete", "entry_deleted"}
        touched = tuple({(e.kb, e.entry_id): None for e in news if e.type in touching})
        added = state.passages(touched, model_id)
        return PassageChanges(state.seq, False, touched, tuple(added))

    # The feed and its health

    def events(self, since: int, limit: int) -> list[Event]:
        return [event for event in self._now.events if event.seq > since][:limit]

    def prune_events(self, keep: int) -> int:
        with self._write() as state:
            before = len(state.events)
            state.events = [e for e in state.events if e.seq > state.seq - keep]
            return before - len(state.events)

    def problems(self) -> Mapping[str, int | str]:
        return {}
