"""SQL over the queue.

What a row becomes is decided by :mod:`actors.lifecycle`; here it is written, under a guard: a
statement that ends a claim names the revision and the claim token, and changes nothing when
either has moved on.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from actors.lifecycle import (
    LeaseExpired,
    Released,
    RetryPolicy,
    Status,
    Transition,
    after,
)
from actors.messages import Claim, Event
from actors.ports import Ending
from pyrite.storage.protocol import ClaimRequest
from pyrite.storage.queue_protocol import CLOCK_ERROR_S
from pyrite.storage.queue_records import DueEntry
from pyrite.storage.records import BULK, INTERACTIVE, SUSPECT
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.tables import feed
from pyrite.storage.sqlite.tables.queue_status import READY

_HELD = "kb_name = ? AND entry_id = ? AND revision = ? AND claim_token = ?"

#: Rows queued again in one transaction: a fraction of a second's work.
_SLICE = 5_000

#: Claims as one JSON array, so that one statement looks at all of them.
_GIVEN = """(SELECT value ->> 0 AS kb, value ->> 1 AS entry, value ->> 2 AS revision,
                    value ->> 3 AS token FROM json_each(?)) AS given"""
_HELD_AS_GIVEN = """kb_name = given.kb AND entry_id = given.entry
                    AND embed_queue.revision = given.revision AND claim_token = given.token"""

_LAST_EMBEDDING = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'embeddings'"

_UNCLAIM = "claim_token = NULL, claimed_by = NULL, lease_expires_at = NULL"


def any_due(conn: sqlite3.Connection, request: ClaimRequest) -> bool:
    """Whether a claim could bring or change anything; needs no write lock."""
    if request.entry_id is not None:
        return True  # that entry is claimed even while it waits for a retry
    ready = f"{READY} AND priority = {INTERACTIVE}" if request.urgent else READY
    conditions = (
        ready,
        "status = 'pending' AND available_at <= :now",
        f"status = 'pending' AND available_at > :latest_due + {CLOCK_ERROR_S}",
        "status = 'processing' AND lease_expires_at <= :now AND claimed_by <> :worker",
        f"status = 'processing' AND lease_expires_at > :latest_lease + {CLOCK_ERROR_S}",
    )
    found = (f"EXISTS (SELECT 1 FROM embed_queue WHERE {each})" for each in conditions)
    row = conn.execute(
        f"SELECT {' OR '.join(found)}",
        {
            "now": request.now,
            "worker": request.worker_id,
            "latest_due": request.latest_due,
            "latest_lease": request.latest_lease,
        },
    ).fetchone()
    return bool(row[0])


def _in_scope(kb: str | None) -> str:
    """The condition that confines a claim to a knowledge base."""
    return "" if kb is None else "AND kb_name = :kb"


def _shorten(conn: sqlite3.Connection, column: str, latest: float) -> None:
    """Believe no time that is further away than the settings allow: the clock was set back."""
    status = "processing" if column == "lease_expires_at" else "pending"
    conn.execute(
        f"""UPDATE embed_queue SET {column} = :latest
            WHERE status = '{status}' AND {column} > :latest + {CLOCK_ERROR_S}""",
        {"latest": latest},
    )


def claim(conn: sqlite3.Connection, request: ClaimRequest) -> list[int]:
    """Promote and claim, what has expired being rescued; returns the rowids of the claims.

    The claim is the one transition that is spelled in SQL, being the same for every row.
    """
    _shorten(conn, "available_at", request.latest_due)
    _shorten(conn, "lease_expires_at", request.latest_lease)
    conn.execute(
        "UPDATE embed_queue SET available_at = NULL WHERE status = 'pending' AND available_at <= ?",
        (request.now,),
    )
    if request.entry_id is not None:
        one = "kb_name = :kb AND entry_id = :entry AND status = 'pending'"
        return _take(conn, request, f"SELECT rowid FROM embed_queue WHERE {one}")
    held, suspects = conn.execute(
        f"""SELECT count(*), count(*) FILTER (WHERE priority = {SUSPECT}) FROM embed_queue
            WHERE status = 'processing' AND claimed_by = ?""",
        (request.worker_id,),
    ).fetchone()
    if suspects:
        return []
    ready = f"""SELECT rowid FROM embed_queue INDEXED BY queue_ready
                WHERE {READY} {_in_scope(request.kb)}"""
    if request.urgent:
        first = f"{ready} AND priority = {INTERACTIVE} ORDER BY queued_at LIMIT :limit"
        return _take(conn, request, first)
    rowids = _take(conn, request, _most_urgent(ready))
    if not rowids and not held:
        alone = f"{ready} AND priority = {SUSPECT} ORDER BY queued_at LIMIT min(1, :limit)"
        rowids = _take(conn, request, alone)
    return rowids


def _most_urgent(ready: str) -> str:
    """The rows to claim of those that are ready: urgent ones, and at least one of the others.

    Without that one, a stream of edits that keeps the encoder busy would stop the bulk.
    """
    bulk = f"{ready} AND priority = {BULK} ORDER BY queued_at LIMIT iif(:limit > 1, 1, 0)"
    return f"""
        WITH bulk AS MATERIALIZED ({bulk})
        SELECT rowid FROM bulk UNION ALL SELECT rowid FROM (
            {ready} AND priority < {SUSPECT} AND rowid NOT IN (SELECT rowid FROM bulk)
            ORDER BY priority, queued_at LIMIT :limit - (SELECT count(*) FROM bulk))
    """


def _take(conn: sqlite3.Connection, request: ClaimRequest, candidates: str) -> list[int]:
    """Claim the rows that a query finds; returns their rowids."""
    rows = conn.execute(
        f"""UPDATE embed_queue SET status = 'processing', attempts = attempts + 1,
                   available_at = NULL, claim_token = lower(hex(randomblob(16))),
                   claimed_by = :worker, lease_expires_at = :expires
            WHERE rowid IN ({candidates}) RETURNING rowid""",
        {
            "worker": request.worker_id,
            "expires": request.now + request.lease_s,
            "kb": request.kb,
            "entry": request.entry_id,
            "limit": request.limit,
        },
    )
    return [row[0] for row in rows]


def read_claimed(
    conn: sqlite3.Connection, rowids: Collection[int], worker_id: str
) -> list[DueEntry]:
    """The texts of claims, most urgent first; one that has been lost since is left out."""
    rows = conn.execute(
        """SELECT q.kb_name, q.entry_id, e.title, e.summary, e.body, q.revision,
                  q.claim_token, q.attempts, q.queued_at, q.priority, q.renew_through
           FROM embed_queue q JOIN entries e USING (kb_name, entry_id)
           WHERE q.rowid IN (SELECT value FROM json_each(?)) AND q.claimed_by = ?
           ORDER BY q.priority, q.queued_at, q.rowid""",
        (json.dumps(list(rowids)), worker_id),
    )
    return [DueEntry(*row) for row in rows]


def finish(
    conn: sqlite3.Connection, claims: Sequence[Claim], model_id: int, *, now: float
) -> dict[str, float]:
    """Make claims done; when each that was still held had been queued, by its token.

    Two claims of one entry may come together, of which one at most is still held.
    """
    given = json.dumps([_held(claim) for claim in claims])
    rows = conn.execute(
        f"SELECT claim_token, queued_at FROM embed_queue JOIN {_GIVEN} WHERE {_HELD_AS_GIVEN}",
        (given,),
    ).fetchall()
    conn.execute(
        f"""UPDATE embed_queue SET status = '{Status.DONE}', available_at = NULL, error = NULL,
                   error_at = NULL, finished_at = ?, model_id = ?, renew_through = 0, {_UNCLAIM}
            FROM {_GIVEN} WHERE {_HELD_AS_GIVEN}""",
        (now, model_id, given),
    )
    return dict(rows)


def fail(conn: sqlite3.Connection, ending: Ending, *, now: float) -> bool:
    """Make a failed claim's transition, for good or until a retry; False if it was lost."""
    claim, to = ending.claim, ending.transition
    changed = conn.execute(
        f"""UPDATE embed_queue SET status = ?, attempts = ?, available_at = ?,
                   error = ?, error_at = ?, finished_at = ?, {_UNCLAIM}
            WHERE {_HELD}""",
        (
            *(to.status, to.attempts, to.available_at),
            *(to.error, None if to.error is None else now),
            now if to.status is Status.FAILED else None,
            *_held(claim),
        ),
    ).rowcount
    return changed > 0


def _held(claim: Claim) -> tuple[str, str, int, str]:
    return claim.kb, claim.entry_id, claim.revision, claim.token


def failed_event(
    conn: sqlite3.Connection, entry: tuple[str, str, int], to: Transition, *, now: float
) -> Event:
    """The event that tells of (knowledge base, entry, revision)'s failure for good."""
    detail = {"error": to.error, "attempts": to.attempts}
    return feed.append(conn, feed.EMBED_FAILED, *entry, now, detail)


def renew(conn: sqlite3.Connection, claims: Sequence[Claim], lease_expires_at: float) -> None:
    """Extend leases."""
    conn.executemany(
        f"UPDATE embed_queue SET lease_expires_at = ? WHERE {_HELD}",
        ((lease_expires_at, *_held(claim)) for claim in claims),
    )


def release(conn: sqlite3.Connection, claims: Sequence[Claim]) -> int:
    """Give claims back without charging the attempt."""
    released = 0
    for claim in claims:
        to = after(Status.PROCESSING, claim.attempt, Released(), now=0.0, policy=RetryPolicy())
        released += conn.execute(
            f"""UPDATE embed_queue SET status = ?, attempts = ?, available_at = NULL, {_UNCLAIM}
                WHERE {_HELD}""",
            (to.status, to.attempts, *_held(claim)),
        ).rowcount
    return released


def rescue_expired(conn: sqlite3.Connection, request: ClaimRequest) -> int:
    """End the expired leases of all but the worker that asks.

    Whoever asks is alive and renews its own. If it was suspended for longer than the lease, or
    late, the entry is not at fault, and would have failed after as many naps as attempts. Nor
    does who claims one entry touch others: their worker may be about to renew them.
    """
    expired = "lease_expires_at <= ? AND claimed_by <> ?"
    values: tuple[object, ...] = (request.now, request.worker_id)
    if request.entry_id is not None:
        expired += " AND kb_name = ? AND entry_id = ?"
        values += (request.kb, request.entry_id)
    return _rescue(conn, expired, values, request.policy, request.now)


def rescue_workers(
    conn: sqlite3.Connection, worker_ids: Collection[str], policy: RetryPolicy, *, now: float
) -> int:
    """End the leases of workers known to be dead."""
    marks = ", ".join("?" * len(worker_ids))
    return _rescue(conn, f"claimed_by IN ({marks})", tuple(worker_ids), policy, now)


def _rescue(
    conn: sqlite3.Connection,
    condition: str,
    values: tuple[object, ...],
    policy: RetryPolicy,
    now: float,
) -> int:
    rows = conn.execute(
        f"""SELECT rowid, kb_name, entry_id, revision, attempts FROM embed_queue
            WHERE status = 'processing' AND {condition}""",
        values,
    ).fetchall()
    for rowid, kb, entry_id, revision, attempts in rows:
        to = after(Status.PROCESSING, attempts, LeaseExpired(), now=now, policy=policy)
        failed = to.status is Status.FAILED
        conn.execute(
            f"""UPDATE embed_queue SET status = ?, attempts = ?, available_at = NULL,
                       error = ?, error_at = ?, finished_at = ?, {_UNCLAIM},
                       priority = iif(?, {SUSPECT}, priority)
                WHERE rowid = ?""",
            (
                *(to.status, to.attempts, to.error, now, now if failed else None),
                *(to.suspect, rowid),
            ),
        )
        if failed:
            failed_event(conn, (kb, entry_id, revision), to, now=now)
    return len(rows)


def retry_failed(
    conn: sqlite3.Connection,
    kb: str | None,
    entry_ids: Collection[str] | None,
    *,
    now: float,
) -> list[tuple[str, str]]:
    """Queue failed entries again."""
    rows = conn.execute(
        "SELECT rowid, kb_name, entry_id FROM embed_queue WHERE status = 'failed'"
    ).fetchall()
    retried = [
        (rowid, name, entry_id)
        for rowid, name, entry_id in rows
        if kb in {None, name} and (entry_ids is None or entry_id in entry_ids)
    ]
    _requeue(conn, [rowid for rowid, _, _ in retried], now=now, force=False)
    return [(name, entry_id) for _, name, entry_id in retried]


def reembed(
    conn: sqlite3.Connection,
    kb: str | None,
    *,
    now: float,
    force: bool,
    other_than: int | None,
    after_row: int,
) -> list[int]:
    """Queue a slice of the finished rows again; returns their rowids, none at the end."""
    rows = conn.execute(
        """SELECT rowid FROM embed_queue
           WHERE rowid > :after
             AND status IN ('done', 'failed', 'pending') AND (:kb IS NULL OR kb_name = :kb)
             AND (:other IS NULL OR (status = 'done' AND model_id IS NOT :other))
           ORDER BY rowid LIMIT :slice""",
        {"after": after_row, "kb": kb, "other": other_than, "slice": _SLICE},
    )
    rowids = [row[0] for row in rows]
    _requeue(conn, rowids, now=now, force=force)
    return rowids


def _requeue(conn: sqlite3.Connection, rowids: Collection[int], *, now: float, force: bool) -> None:
    # A row that waits already keeps its place: an edit is not put behind the bulk. And what was
    # to be encoded afresh still is.
    conn.executemany(
        f"""UPDATE embed_queue SET status = 'pending',
                   queued_at = iif(status = 'pending', queued_at, ?),
                   priority = iif(status = 'pending', priority, {BULK}),
                   available_at = NULL, attempts = 0, error = NULL, error_at = NULL,
                   finished_at = NULL,
                   renew_through = max(renew_through, iif(?, ({_LAST_EMBEDDING}), 0)), {_UNCLAIM}
            WHERE rowid = ?""",
        ((now, force, rowid) for rowid in rowids),
    )
