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
from pyrite.errors import ConflictError, NotFoundError
from pyrite.markdown.link_targets import Named, aliases_of, lookup_key
from pyrite.storage.protocol import EVERYTHING, ClaimedRows, ClaimRequest, Watcher
from pyrite.storage.queue_protocol import CLOCK_ERROR_S
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
    Record,
    Space,
    StoredEntry,
    TokenRow,
    WordHit,
    WordQuery,
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
from tests.fakes.memory_words import places, word_scores

#: Jobs that are remembered.
JOBS = 100


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
        kind = "entry_updated" if key in state.entries else "entry_created"
        state.revision += 1
        # As JSON would give it back: a tuple in the fields becomes a list.
        entry = replace(record.entry, fields=json.loads(json.dumps(record.entry.fields)))
        state.entries[key] = Indexed(replace(record, entry=entry), state.revision, now)
        old = state.queue.get(key, Row(0, now, priority))
        to = after(old.status, old.attempts, Written(), now=now, policy=RetryPolicy())
        fresh = Row(
            state.revision, now, priority, renew_through=old.renew_through, model_id=old.model_id
        )
        state.queue[key] = moved(fresh, to)
        state.tell(kind, key, state.revision, now)
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


class MemoryWatcher:
    """Counts the commits that it has seen."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._seen = memory.commits

    def changed(self) -> bool:
        seen, self._seen = self._seen, self._memory.commits
        return seen != self._seen

    def close(self) -> None:
        pass


class MemoryStorage:
    """See :class:`pyrite.storage.protocol.Storage` for what each method does."""

    def __init__(self, memory: Memory | None = None) -> None:
        self._memory = memory or Memory()
        self._watcher = MemoryWatcher(self._memory)

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
        return self._watcher.changed()

    def watcher(self) -> Watcher:
        return MemoryWatcher(self._memory)

    @contextmanager
    def writing(self) -> Iterator[MemoryWriting]:
        with self._write() as state:
            yield MemoryWriting(state)

    # Knowledge bases and entries

    def add_kb(self, name: str, path: str, *, now: float) -> None:
        with self._write() as state:
            if name in state.kbs or any(kb.path == path for kb in state.kbs.values()):
                message = f"{name!r} or {path} is registered already"
                raise ConflictError(message, public="the name or the folder is registered already")
            state.kbs[name] = KnowledgeBase(name, path, now)
            state.tell("kb_added", (name, ""), 0, now)

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
        self, filters: Filters = EVERYTHING, *, limit: int | None = None, offset: int = 0
    ) -> list[StoredEntry]:
        state = self._now
        found = [stored(state, each) for each in state.chosen(filters)]
        found = [replace(each, entry=replace(each.entry, body="")) for each in found]
        return found[offset : None if limit is None else offset + limit]

    def files(self, kb: str) -> dict[str, FileRow]:
        return {k[1]: e.record.file for k, e in self._now.entries.items() if k[0] == kb}

    def links(
        self, kb: str, *, entry_id: str | None = None, keys: Collection[str] | None = None
    ) -> list[LinkRow]:
        return [
            LinkRow(kb, found.record.entry.id, link)
            for found in self._now.chosen(Filters(kbs=(kb,)))
            if entry_id in {None, found.record.entry.id}
            for link in found.record.found_links()
            if keys is None or lookup_key(link.target) in keys
        ]

    def names(self, kb: str) -> list[Named]:
        entries = [found.record.entry for found in self._now.chosen(Filters(kbs=(kb,)))]
        return [Named(entry.id, entry.title, aliases_of(entry.fields)) for entry in entries]

    # The queue

    def claim(self, request: ClaimRequest) -> ClaimedRows:
        now, policy = request.now, request.policy
        tokens = []
        rescued = 0
        latest = request.latest_due, request.latest_lease

        def lost(row: Row) -> bool:
            named = request.entry_id is None or row is self._now.queue.get(
                (request.kb or "", request.entry_id)
            )
            return named and row.expired(now) and row.worker != request.worker_id

        if any(
            row.due(now) or lost(row) or row.shortened(*latest) != row
            for row in self._now.queue.values()
        ) or (request.entry_id is not None):
            with self._write() as state:
                rescued = state.rescue(lost, policy, now)
                for key, row in state.queue.items():
                    state.queue[key] = row.shortened(*latest)
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
        leases = [r.lease_expires_at for r in state.queue.values() if r.worker != request.worker_id]
        return ClaimedRows(
            due=tuple(
                due_entry(state, key, state.queue[key])
                for key, token in tokens
                if key in state.queue and state.queue[key].token == token
            ),
            next_due_s=min((at - now for at in waits + leases if at is not None), default=None),
            unfinished=self.counts(request.kb).unfinished,
            rescued=rescued,
        )

    def settle(
        self, model_id: int, encoded: Sequence[Encoded], endings: Sequence[Ending], *, now: float
    ) -> Settled:
        events: list[Event] = []
        lost: list[Claim] = []
        with self._write() as state:
            for each in encoded:
                vector = each.vector.astype("<f4").tobytes()
                piece = each.piece
                state.embed(model_id, piece.chunk.digest, vector, piece.claim.renew_through)
            for claim, to in ((ending.claim, ending.transition) for ending in endings):
                row, key = state.held(claim), (claim.kb, claim.entry_id)
                if row is None:
                    lost.append(claim)
                    continue
                state.queue[key] = ended(row, to, now)
                if to.status is Status.DONE:
                    state.queue[key] = replace(state.queue[key], model_id=model_id, renew_through=0)
                    state.chunks[key] = tuple(chunks_of(state, model_id, claim))
                    for passage, _ in state.chunks[key]:
                        state.unused_since.pop(passage.embedding_id, None)
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
                state.queue[key] = moved(row.requeued(now), after_now(row, Retried()))
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
                through = state.last_embedding if force else 0
                state.queue[key] = row.requeued(now, renew_through=through)
            return len(rows)

    def counts(self, kb: str | None = None) -> QueueCounts:
        return QueueCounts(**Counter(str(row.status) for _, row in self._now.rows(kb)))

    def unfinished_characters(self, kb: str | None = None) -> int:
        rows = self._now.rows(kb, Status.PENDING, Status.PROCESSING)
        entries = (self._now.entries[key].record.entry for key, _ in rows)
        return sum(len(e.title) + len(e.summary) + len(e.body) for e in entries)

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

    def revision_status(self, revision: int, model_id: int | None = None) -> Status | None:
        for row in self._now.queue.values():
            if row.revision == revision:
                other = row.status is Status.DONE and model_id not in {None, row.model_id}
                return Status.PENDING if other else row.status
        if not 1 <= revision <= self._now.revision:
            raise NotFoundError(f"there is no revision {revision}")
        return None

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

    # The right to embed, tokens and jobs

    def lead(self, candidate: Leader, *, dead: Collection[str] = ()) -> Leader:
        with self._write() as state:
            held = state.leader
            if held is None or held.expires_at <= candidate.since or held.worker_id in dead:
                state.leader = candidate
            elif held.expires_at > candidate.expires_at + CLOCK_ERROR_S:
                state.leader = replace(held, expires_at=candidate.expires_at)
            if held is not None and held.worker_id == candidate.worker_id:
                state.leader = replace(candidate, since=held.since)
            assert state.leader is not None
            return state.leader

    def resign(self, worker_id: str) -> None:
        with self._write() as state:
            if state.leader is not None and state.leader.worker_id == worker_id:
                state.leader = None

    def leader(self) -> Leader | None:
        return self._now.leader

    def add_token(self, token: TokenRow) -> None:
        with self._write() as state:
            if token.name in state.tokens:
                raise ConflictError(f"there is a token {token.name!r} already")
            state.tokens[token.name] = token

    def tokens(self) -> list[TokenRow]:
        return [token for _, token in sorted(self._now.tokens.items())]

    def revoke_token(self, name: str) -> bool:
        with self._write() as state:
            return state.tokens.pop(name, None) is not None

    def put_job(self, job: JobRow) -> None:
        with self._write() as state:
            known = state.jobs.get(job.job_id, job)
            same = {"kind": known.kind, "kb": known.kb, "created_at": known.created_at}
            state.jobs[job.job_id] = replace(job, **same)
            # Newest first; those that run go before those that have ended.
            order = list(reversed(state.jobs.values()))
            order.sort(key=lambda each: (each.state != "running", -each.created_at))
            for forgotten in order[JOBS:]:
                del state.jobs[forgotten.job_id]

    def jobs(self) -> list[JobRow]:
        newest_first = list(reversed(self._now.jobs.values()))
        newest_first.sort(key=lambda job: -job.created_at)
        return newest_first

    # Embeddings

    def model(self, fingerprint: str, name: str) -> Model:
        with self._write() as state:
            known = state.models.get(fingerprint)
            model_id = len(state.models) + 1 if known is None else known.model_id
            state.models[fingerprint] = Model(model_id, fingerprint, name)
            return state.models[fingerprint]

    def models(self) -> list[Model]:
        return list(self._now.models.values())

    def known(self, model_id: int, digests: Collection[bytes]) -> dict[bytes, int]:
        embeddings = self._now.embeddings
        return {
            each: embeddings[model_id, each][0]
            for each in digests
            if (model_id, each) in embeddings
        }

    def embeddings(self, kb: str, entry_id: str) -> list[tuple[Passage, bytes]]:
        vectors = dict(self._now.embeddings.values())
        chunks = self._now.chunks.get((kb, entry_id), ())
        return [(passage, vectors[passage.embedding_id]) for passage, _ in chunks]

    def embedding_state(self, model_id: int) -> EmbeddingState:
        state = self._now
        count = len(state.vectors(model_id))
        generation = state.generations[model_id]
        return EmbeddingState(str(id(self._memory)), generation, count, state.last_embedding)

    def embeddings_after(self, model_id: int, after: int, limit: int) -> list[tuple[int, bytes]]:
        return [(n, v) for n, _, v in self.cached(model_id, after, limit)]

    def embeddings_by_id(self, model_id: int, ids: Collection[int]) -> list[tuple[int, bytes]]:
        return [(n, v) for n, _, v in self._now.vectors(model_id) if n in ids]

    def cached(self, model_id: int, after: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        return [each for each in self._now.vectors(model_id) if each[0] > after][:limit]

    def add_cached(self, model_id: int, vectors: Sequence[tuple[bytes, bytes]]) -> int:
        with self._write() as state:
            before = len(state.embeddings)
            for digest, vector in vectors:
                if (model_id, digest) not in state.embeddings:
                    state.embed(model_id, digest, vector)
            return len(state.embeddings) - before

    def collect_unused(self, *, now: float, unused_s: float, every_s: float = 0.0) -> int:
        if every_s and now - self._now.collected_at < every_s:
            return 0
        with self._write() as state:
            state.collected_at = int(now)
            numbers = {number for number, _ in state.embeddings.values()} - state.used()
            since = {number: state.unused_since.get(number, now) for number in numbers}
            state.unused_since = since
            if state.rows(None, Status.PROCESSING):
                return 0
            old = {number for number in numbers if since[number] <= now - unused_s}
            for key, (number, _) in list(state.embeddings.items()):
                if number in old:
                    del state.embeddings[key]
                    del state.unused_since[number]
                    state.generations[key[0]] += 1
            return len(old)

    # Searching

    def embedding_ids(self, model_id: int, filters: Filters) -> list[int]:
        found = self._passages(filters)
        return sorted({p.embedding_id for p, model in found if model == model_id})

    def layout(self, model_id: int, kb: str, entry_id: str) -> list[Passage]:
        return [p for p, model in self._now.chunks.get((kb, entry_id), ()) if model == model_id]

    def passages(self, ids: Collection[int], filters: Filters = EVERYTHING) -> list[Passage]:
        return [p for p, _ in self._passages(filters) if p.embedding_id in ids]

    def _passages(self, filters: Filters) -> list[tuple[Passage, int]]:
        state = self._now
        keys = [(found.record.kb, found.record.entry.id) for found in state.chosen(filters)]
        return [each for key in keys for each in state.chunks.get(key, ())]

    def with_words(
        self, query: WordQuery, filters: Filters = EVERYTHING, *, limit: int, offset: int = 0
    ) -> list[WordHit]:
        state = self._now
        scores = word_scores({key: each.record.entry for key, each in state.entries.items()}, query)
        chosen = [(each.record.kb, each.record.entry.id) for each in state.chosen(filters)]
        found = [WordHit(*key, scores[key]) for key in chosen if key in scores]
        found.sort(key=lambda hit: (-hit.score, hit.kb, hit.entry_id))
        return found[offset : offset + limit]

    def highlights(self, kb: str, entry_id: str, query: WordQuery) -> list[tuple[int, int]]:
        found = self._now.entries.get((kb, entry_id))
        if found is None or not word_scores({(): found.record.entry}, query):
            return []
        return places(found.record.entry.body, query)

    # The feed and its health

    def events(self, since: int, limit: int) -> list[Event]:
        return [event for event in self._now.events if event.seq > since][:limit]

    def feed_bounds(self) -> FeedBounds:
        state = self._now
        first = min((event.seq for event in state.events), default=state.seq + 1)
        return FeedBounds(first, state.seq)

    def prune_events(self, keep: int) -> int:
        with self._write() as state:
            before = len(state.events)
            state.events = [e for e in state.events if e.seq > state.seq - keep]
            return before - len(state.events)

    def problems(self) -> Mapping[str, int | str]:
        return {}

    def space(self) -> Space:
        return Space(size=0, empty=0)
