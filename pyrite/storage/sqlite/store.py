"""The SQLite engine: :class:`pyrite.storage.protocol.Storage`, and which transactions it takes.

Most of what it offers is one statement, or a few, in one transaction: a function of
:mod:`pyrite.storage.sqlite.tables` with the connection given to it. The rest is spelled out. What
is slow to find is looked for before the write lock is taken, and looked at again under it; what
is long is done in slices, so that others can write in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from actors.lifecycle import Status
from actors.messages import Encoded
from actors.ports import Ending, Settled
from pyrite.storage.protocol import ClaimedRows, ClaimRequest, Watcher
from pyrite.storage.queue_records import Leader
from pyrite.storage.records import Model, Space
from pyrite.storage.sqlite import health
from pyrite.storage.sqlite.backup import Progress, back_up, no_progress
from pyrite.storage.sqlite.connection import Connections
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.space import compact
from pyrite.storage.sqlite.space import space as space_of
from pyrite.storage.sqlite.tables import embeddings as embedding_sql
from pyrite.storage.sqlite.tables import entries as entry_sql
from pyrite.storage.sqlite.tables import feed as feed_sql
from pyrite.storage.sqlite.tables import links as link_sql
from pyrite.storage.sqlite.tables import passages as passage_sql
from pyrite.storage.sqlite.tables import queue as queue_sql
from pyrite.storage.sqlite.tables import queue_status as status_sql
from pyrite.storage.sqlite.tables import service as service_sql
from pyrite.storage.sqlite.tables import views as view_sql
from pyrite.storage.sqlite.tables import vocabulary as vocabulary_sql
from pyrite.storage.sqlite.tables import words as word_sql
from pyrite.storage.sqlite.writing import SqliteWriting

P = ParamSpec("P")
R = TypeVar("R")

read, write = Connections.read, Connections.write

#: Embeddings deleted in one transaction: a fraction of a second's work.
_COLLECTED = 1_000

#: Entries that are forgotten in one transaction, a tenth of a second's work, and how long the
#: write lock is left to others then, in seconds.
_FORGOTTEN = 100
_OTHERS_TURN_S = 0.02

#: Pages of the index of words that are written in one transaction of merging. Those that are only
#: read, because all that they tell of is gone, are not counted: dropping the words of 12,000
#: entries takes a second, and deleting these took ten.
_MERGED = 200

#: Events deleted in one transaction: some ten milliseconds' work.
_PRUNED = 10_000


def _in(
    transaction: Callable[[Connections], AbstractContextManager[sqlite3.Connection]],
    do: Callable[Concatenate[sqlite3.Connection, P], R],
) -> Callable[Concatenate[SqliteStorage, P], R]:
    """The method that calls a function in a transaction of its own."""

    @wraps(do)
    def method(self: SqliteStorage, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with transaction(self._db) as conn:
            return do(conn, *args, **kwargs)

    return method


class SqliteStorage:
    """A database file; see :class:`pyrite.storage.protocol.Storage` for what each method does."""

    def __init__(self, path: Path) -> None:
        self._db = Connections(path)

    @property
    def path(self) -> Path:
        """The database file."""
        return self._db.path

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written, for want of the right or because of the disk."""
        return self._db.is_read_only

    def close(self) -> None:
        self._db.close()

    def backup(self, target: Path, progress: Progress = no_progress) -> int:
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

    def hurry(self) -> None:
        self._db.hurry()

    def changed(self) -> bool:
        return self._db.changed()

    def watcher(self) -> Watcher:
        return self._db.watcher()

    def time_limit(self, seconds: float) -> AbstractContextManager[None]:
        return self._db.time_limit.within(seconds)

    @contextmanager
    def writing(self) -> Iterator[SqliteWriting]:
        with self._db.write() as conn:
            yield SqliteWriting(conn)

    # Knowledge bases and entries

    add_kb = _in(write, entry_sql.add_kb)
    kbs = _in(read, entry_sql.kbs)
    set_availability = _in(write, entry_sql.set_availability)
    entry = _in(read, entry_sql.entry)
    entries = _in(read, entry_sql.entries)
    ids = _in(read, entry_sql.ids)
    files = _in(read, entry_sql.files)
    links = _in(read, link_sql.links)
    links_after = _in(read, link_sql.links_after)
    names = _in(read, link_sql.names)

    def remove_kb(self, name: str, *, now: float) -> bool:
        """Forget a knowledge base and, where it was the larger part of all, its words as well.

        Its entries go in slices, between which others can write; broken off, it is there with
        those that are left. What is gone stays in the index of words until that is merged, in
        slices as well. That takes the longer the more is left, which is why a smaller part is
        left for later writes to merge.
        """
        with self._db.read() as conn:
            removed, all_of_them = (status_sql.counts(conn, kb).total for kb in (name, None))
        last = _FORGOTTEN
        while last == _FORGOTTEN:
            with self._db.write() as conn:
                last = entry_sql.forget_some(conn, name, _FORGOTTEN)
            # Who waits for the write lock looks for it now and then, and would not find it free.
            time.sleep(_OTHERS_TURN_S if last else 0)
        with self._db.write() as conn:
            found = entry_sql.remove_kb(conn, name, now=now)
        more = anew = found and removed * 2 >= all_of_them
        while more:
            with self._db.write() as conn:
                more = word_sql.merge(conn, _MERGED, anew=anew)
            anew = False
        return found

    # The queue

    def claim(self, request: ClaimRequest) -> ClaimedRows:
        """Claim what is due, if anything is, and read it."""
        with self._db.read() as conn:
            if not queue_sql.any_due(conn, request):
                return _claimed_rows(conn, request, [], 0)
        # Read before the commit: a claim that could not be read would be held by nobody.
        with self._db.write() as conn:
            rescued = queue_sql.rescue_expired(conn, request)
            claimed = queue_sql.claim(conn, request)
            return _claimed_rows(conn, request, claimed, rescued)

    def settle(
        self, model_id: int, encoded: Sequence[Encoded], endings: Sequence[Ending], *, now: float
    ) -> Settled:
        """Store embeddings and end claims, with their events: all of it in one transaction."""
        finished = [e.claim for e in endings if e.transition.status is Status.DONE]
        failed = [e for e in endings if e.transition.status is not Status.DONE]
        with self._db.write() as conn:
            embedding_sql.store(conn, model_id, encoded)
            queued_at = queue_sql.finish(conn, finished, model_id, now=now)
            done = [claim for claim in finished if claim.token in queued_at]
            embedding_sql.link(conn, model_id, done)
            events = feed_sql.append_completed(conn, done, queued_at, now)
            lost = [claim for claim in finished if claim.token not in queued_at]
            for ending in failed:
                claim, to = ending.claim, ending.transition
                if not queue_sql.fail(conn, ending, now=now):
                    lost.append(claim)
                elif to.status is Status.FAILED:
                    entry = (claim.kb, claim.entry_id, claim.revision)
                    events.append(queue_sql.failed_event(conn, entry, to, now=now))
        return Settled(tuple(events), tuple(lost))

    renew = _in(write, queue_sql.renew)
    release = _in(write, queue_sql.release)
    rescue = _in(write, queue_sql.rescue_workers)
    retry_failed = _in(write, queue_sql.retry_failed)

    def reembed(self, kb: str | None, *, now: float, force: bool, other_than: int | None) -> int:
        """Queue finished entries again, in slices."""
        queued, rowids = 0, [0]
        while rowids:
            with self._db.write() as conn:
                rowids = queue_sql.reembed(
                    conn, kb, now=now, force=force, other_than=other_than, after_row=rowids[-1]
                )
            queued += len(rowids)
        return queued

    counts = _in(read, status_sql.counts)
    queue_state = _in(read, status_sql.queue_state)
    failures = _in(read, status_sql.failures)
    revision_status = _in(read, status_sql.of_revision)

    # Workers, the right to embed, tokens and jobs

    beat = _in(write, service_sql.beat)
    retire = _in(write, service_sql.retire)
    workers = _in(read, service_sql.workers)

    def lead(self, candidate: Leader, *, dead: Collection[str] = ()) -> Leader:
        """Take the right to embed, or renew it; who does not get it writes nothing."""
        with self._db.read() as conn:
            held = service_sql.leader(conn)
        if held is not None and service_sql.leader_after(held, candidate, dead) == held:
            return held
        with self._db.write() as conn:
            return service_sql.lead(conn, candidate, dead)

    resign = _in(write, service_sql.resign)
    leader = _in(read, service_sql.leader)
    add_token = _in(write, service_sql.add_token)
    tokens = _in(read, service_sql.tokens)
    revoke_token = _in(write, service_sql.revoke_token)
    put_job = _in(write, service_sql.put_job)
    jobs = _in(read, service_sql.jobs)

    # Embeddings

    def model(self, fingerprint: str, name: str) -> Model:
        """The model with that fingerprint, entered if it or its name is new."""
        with self._db.read() as conn:
            known = embedding_sql.model(conn, fingerprint)
        if known is not None and known.name == name:
            return known
        with self._db.write() as conn:
            return embedding_sql.add_model(conn, fingerprint, name)

    models = _in(read, embedding_sql.models)
    known = _in(read, embedding_sql.known)
    embeddings = _in(read, passage_sql.of_entry)
    embedding_state = _in(read, embedding_sql.state)
    embeddings_after = _in(read, embedding_sql.after)
    embeddings_by_id = _in(read, embedding_sql.by_id)
    cached = _in(read, embedding_sql.cached)
    add_cached = _in(write, embedding_sql.add_cached)

    def collect_unused(self, *, now: float, unused_s: float, every_s: float = 0.0) -> int:
        """Delete embeddings that have long been unused, in slices."""
        with self._db.read() as conn:
            # An explicit wish is met even where the clock has been set back since.
            if every_s and abs(now - embedding_sql.collected_at(conn)) < every_s:
                return 0
            found = embedding_sql.unused(conn)
        with self._db.write() as conn:
            embedding_sql.mark_unused(conn, found, now=now)
        collected, last = 0, _COLLECTED
        while last == _COLLECTED:
            with self._db.write() as conn:
                last = embedding_sql.collect(conn, before=now - unused_s, limit=_COLLECTED)
            collected += last
        return collected

    # Searching

    embedding_ids = _in(read, passage_sql.embedding_ids)
    passages = _in(read, passage_sql.serving)
    with_words = _in(read, word_sql.search)
    similar_terms = _in(read, vocabulary_sql.similar_terms)
    views = _in(read, view_sql.views)

    # The feed and its health

    events = _in(read, feed_sql.events)
    feed_bounds = _in(read, feed_sql.bounds)

    def prune_events(self, keep: int) -> int:
        """Delete all but the newest events, in slices: a large import leaves a million."""
        bounds = self.feed_bounds()
        through, pruned = bounds.last - keep, 0
        for first in range(bounds.first, through + 1, _PRUNED):
            with self._db.write() as conn:
                pruned += feed_sql.prune(conn, min(first + _PRUNED - 1, through))
        return pruned

    def problems(self) -> Mapping[str, int | str]:
        """What is broken; only looking at the full-text index needs the write lock."""
        with self._db.read() as conn:
            found = health.problems(conn)
        if self.is_read_only:
            return found
        with self._db.write() as conn:
            disagreement = health.words_problem(conn)
        if disagreement is not None:
            found["words that are not those of the entries"] = disagreement
        return found

    space = _in(read, space_of)


def _claimed_rows(
    conn: sqlite3.Connection, request: ClaimRequest, claimed: Sequence[int], rescued: int
) -> ClaimedRows:
    next_due = status_sql.next_due(conn, request.worker_id)
    return ClaimedRows(
        due=tuple(queue_sql.read_claimed(conn, claimed, request.worker_id)),
        next_due_s=None if next_due is None else next_due - request.now,
        unfinished=status_sql.counts(conn, request.kb).unfinished,
        rescued=rescued,
    )
