"""Work that is more than one question or one statement: which transactions it takes.

What is slow to find is looked for before the write lock is taken, and looked at again under it;
what is long is done in slices, so that others can write in between.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from actors.lifecycle import Status
from actors.messages import Claim, Encoded, Event
from actors.ports import Ending, Settled
from pyrite.storage.protocol import ClaimedRows, ClaimRequest
from pyrite.storage.records import Leader, Model
from pyrite.storage.sqlite import health
from pyrite.storage.sqlite.connection import Connections
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.tables import (
    embeddings,
    entries,
    feed,
    leadership,
    queue,
    queue_status,
    words,
)

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


def claim(db: Connections, request: ClaimRequest) -> ClaimedRows:
    """Claim what is due, if anything is, and read it."""
    with db.read() as conn:
        due = queue.any_due(conn, request)
    claimed: list[int] = []
    rescued = 0
    if due:
        with db.write() as conn:
            rescued = queue.rescue_expired(conn, request)
            claimed = queue.claim(conn, request)
    with db.read() as conn:
        next_due = queue_status.next_due(conn, request.worker_id)
        return ClaimedRows(
            due=tuple(queue.read_claimed(conn, claimed, request.worker_id)),
            next_due_s=None if next_due is None else next_due - request.now,
            unfinished=queue_status.counts(conn, request.kb).unfinished,
            rescued=rescued,
        )


def settle(
    conn: sqlite3.Connection,
    model_id: int,
    encoded: Sequence[Encoded],
    endings: Sequence[Ending],
    *,
    now: float,
) -> Settled:
    """Store embeddings and end claims, with their events: all of it in one transaction."""
    finished = [e.claim for e in endings if e.transition.status is Status.DONE]
    failed = [e for e in endings if e.transition.status is not Status.DONE]
    events: list[Event] = []
    embeddings.store(conn, model_id, encoded)
    queued_at = queue.finish(conn, finished, model_id, now=now)
    done = [claim for claim in finished if claim.token in queued_at]
    embeddings.link(conn, model_id, done)
    events += feed.append_completed(conn, done, queued_at, now)
    lost: list[Claim] = [claim for claim in finished if claim.token not in queued_at]
    for ending in failed:
        claim, to = ending.claim, ending.transition
        if not queue.fail(conn, ending, now=now):
            lost.append(claim)
        elif to.status is Status.FAILED:
            entry = (claim.kb, claim.entry_id, claim.revision)
            events.append(queue.failed_event(conn, entry, to, now=now))
    return Settled(tuple(events), tuple(lost))


def reembed(
    db: Connections, kb: str | None, *, now: float, force: bool, other_than: int | None
) -> int:
    """Queue finished entries again, in slices."""
    queued, rowids = 0, [0]
    while rowids:
        with db.write() as conn:
            rowids = queue.reembed(
                conn, kb, now=now, force=force, other_than=other_than, after_row=rowids[-1]
            )
        queued += len(rowids)
    return queued


def lead(db: Connections, candidate: Leader, dead: Collection[str]) -> Leader:
    """Take the right to embed, or renew it; who does not get it writes nothing."""
    with db.read() as conn:
        held = leadership.leader(conn)
    if held is not None and leadership.after(held, candidate, dead) == held:
        return held
    with db.write() as conn:
        return leadership.lead(conn, candidate, dead)


def model(db: Connections, fingerprint: str, name: str) -> Model:
    """The model with that fingerprint, entered if it or its name is new."""
    with db.read() as conn:
        known = embeddings.model(conn, fingerprint)
    if known is not None and known.name == name:
        return known
    with db.write() as conn:
        return embeddings.add_model(conn, fingerprint, name)


def remove_kb(db: Connections, name: str, *, now: float) -> bool:
    """Forget a knowledge base and, where it was the larger part of all, its words as well.

    Its entries go in slices, between which others can write; broken off, it is there with those
    that are left. What is gone stays in the index of words until that is merged, in slices as
    well. That takes the longer the more is left, which is why a smaller part is left for later
    writes to merge.
    """
    with db.read() as conn:
        removed, all_of_them = (queue_status.counts(conn, kb).total for kb in (name, None))
    last = _FORGOTTEN
    while last == _FORGOTTEN:
        with db.write() as conn:
            last = entries.forget_some(conn, name, _FORGOTTEN)
        # Who waits for the write lock looks for it now and then, and would not find it free.
        time.sleep(_OTHERS_TURN_S if last else 0)
    with db.write() as conn:
        found = entries.remove_kb(conn, name, now=now)
    more = anew = found and removed * 2 >= all_of_them
    while more:
        with db.write() as conn:
            more = words.merge(conn, _MERGED, anew=anew)
        anew = False
    return found


def collect_unused(db: Connections, *, now: float, unused_s: float, every_s: float) -> int:
    """Delete embeddings that have long been unused, in slices."""
    with db.read() as conn:
        # An explicit wish is met even where the clock has been set back since.
        if every_s and now - embeddings.collected_at(conn) < every_s:
            return 0
        found = embeddings.unused(conn)
    with db.write() as conn:
        embeddings.mark_unused(conn, found, now=now)
    collected, last = 0, _COLLECTED
    while last == _COLLECTED:
        with db.write() as conn:
            last = embeddings.collect(conn, before=now - unused_s, limit=_COLLECTED)
        collected += last
    return collected


def prune_events(db: Connections, keep: int) -> int:
    """Delete all but the newest events, in slices: a large import leaves a million."""
    with db.read() as conn:
        bounds = feed.bounds(conn)
    through, pruned = bounds.last - keep, 0
    for first in range(bounds.first, through + 1, _PRUNED):
        with db.write() as conn:
            pruned += feed.prune(conn, min(first + _PRUNED - 1, through))
    return pruned


def problems(db: Connections) -> dict[str, int | str]:
    """What is broken; only looking at the full-text index needs the write lock."""
    with db.read() as conn:
        found = health.problems(conn)
    with db.write() as conn:
        disagreement = health.words_problem(conn)
    if disagreement is not None:
        found["words that are not those of the entries"] = disagreement
    return found
