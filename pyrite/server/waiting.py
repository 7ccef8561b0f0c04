"""Waiting for a write until it can be found by meaning."""

from __future__ import annotations

from collections.abc import Callable

import trio

from actors.lifecycle import Status
from pyrite.auth.credentials import RunSync
from pyrite.search.freshness import Waited, check_revision, outcome_of
from pyrite.server.feed.follow import Feed

#: How often who waits for a write asks whether anything has been committed, in seconds. That
#: costs a comparison; only after a commit is the database asked.
_LOOK_S = 0.01

#: The database is asked at least so often, in seconds.
_ASK_S = 1.0


async def wait_for_revision(
    feed: Feed,
    run_sync: RunSync,
    status_of: Callable[[int], Status | None],
    revision: int,
    timeout_s: float,
) -> Waited:
    """Wait until a write can be found by meaning; occupies no thread.

    Raises:
        NotFoundError: there has been no such write.
    """
    check_revision(revision)
    started = trio.current_time()
    while True:
        seen, asked = feed.last, trio.current_time()
        status = await run_sync(status_of, revision)
        waited = trio.current_time() - started
        outcome = outcome_of(status, waited, timeout_s)
        if outcome is not None:
            return Waited(revision, outcome, waited)
        until = min(started + timeout_s, asked + _ASK_S)
        while feed.last == seen and trio.current_time() < until:  # noqa: ASYNC110 - a number
            await trio.sleep(min(_LOOK_S, max(0.0, until - trio.current_time())))
