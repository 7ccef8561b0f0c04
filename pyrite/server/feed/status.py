"""Status messages: where embedding stands, whenever that changes, at most once a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import trio

from actors.fanout import Fanout
from actors.ports import RunInThread
from actors.retry import StorageRetry
from pyrite.server.feed.messages import Message, status

#: Between two snapshots, in seconds.
EVERY_S = 1.0

Snapshot = Mapping[str, object]


async def announce_status(
    fanout: Fanout[Message],
    run_sync: RunInThread,
    snapshot: Callable[[], Snapshot],
    retry: StorageRetry,
) -> None:
    """Announce the snapshot after commits, while anybody is subscribed, if it has changed.

    It is taken once more after the last commit, so that what was said last is true.
    """
    said: Snapshot | None = None
    seen, due = fanout.commits, trio.current_time()
    while True:
        await fanout.wait_committed(seen)
        await trio.sleep_until(due)
        await fanout.wait_subscribed()
        seen, due = fanout.commits, trio.current_time() + EVERY_S
        found = await retry(partial(run_sync, snapshot))
        if _lasting(found) != said:
            said = _lasting(found)
            fanout.announce(status(found))


def _lasting(snapshot: Snapshot) -> Snapshot:
    """What of a snapshot does not change merely because time passes."""
    worker = snapshot.get("worker")
    kept = {k: v for k, v in snapshot.items() if k != "oldest_pending_age_s"}
    if isinstance(worker, Mapping):
        kept["worker"] = {k: v for k, v in worker.items() if k != "heartbeat_at"}
    return kept
