"""Who has the right to embed: the decision, and a look. See :mod:`pyrite.embedding.leadership`.

Apart from it so that a status, which has to be instant, does not import an event loop.
"""

from __future__ import annotations

from enum import Enum

from pyrite.embedding.process import is_dead
from pyrite.storage.protocol import Storage
from pyrite.storage.records import Leader


class Standing(Enum):
    """How the right stands to one who wants it."""

    MINE = "mine"
    FREE = "free"
    TAKEN = "taken"


def standing(leader: Leader | None, me: str, now: float, *, dead: bool) -> Standing:
    """How the right stands to the worker ``me``.

    Args:
        leader: who took it last and has not given it back.
        me: a worker's id.
        now: the time since the epoch, in seconds.
        dead: whether the leader's process is known to have ended.
    """
    if leader is None:
        return Standing.FREE
    if leader.worker_id == me:
        return Standing.MINE
    return Standing.FREE if dead or leader.expires_at <= now else Standing.TAKEN


def present_leader(storage: Storage, now: float) -> Leader | None:
    """Who has the right to embed now, if anybody has."""
    leader = storage.leader()
    dead = leader is not None and is_dead(leader)
    taken = standing(leader, "", now, dead=dead) is Standing.TAKEN
    return leader if taken else None
