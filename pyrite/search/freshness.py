"""Freshness of search results: what is not embedded yet, and waiting for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pyrite.errors import NotFoundError

if TYPE_CHECKING:
    from pyrite.storage.protocol import Storage
    from pyrite.storage.records import Passage, StoredEntry

#: No database has larger numbers.
_MOST_REVISION = 2**63 - 1


class Freshness(StrEnum):
    """Whether an entry can be found by the meaning of its present text."""

    FRESH = "fresh"
    #: Embedded from an older text.
    STALE = "stale"
    #: Not embedded yet.
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Pending:
    """How many entries a search by meaning may not know by their present text.

    It may know an older one, or none; or the present one, where that is only to be encoded afresh.
    """

    #: Entries in the knowledge bases searched that wait to be embedded, and that could not be.
    pending: int
    failed: int
    oldest_pending_age_s: float | None


class Outcome(StrEnum):
    """The outcome of waiting for a write."""

    EMBEDDED = "embedded"
    #: It could not be embedded.
    FAILED = "failed"
    #: The entry was written anew or deleted meanwhile.
    SUPERSEDED = "superseded"
    #: It is still queued.
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class Waited:
    """The write that was waited for."""

    revision: int
    outcome: Outcome
    seconds: float


def freshness_of(stored: StoredEntry, layout: Sequence[Passage]) -> Freshness:
    """Whether an entry's passages are of its present text."""
    if not layout:
        return Freshness.MISSING
    return Freshness.FRESH if layout[0].revision == stored.revision else Freshness.STALE


def pending(
    storage: Storage, model_id: int, kbs: Collection[str], clock: Callable[[], float]
) -> Pending:
    """What is not embedded with a model, in some knowledge bases or, without names, in all."""
    state = storage.queue_state(kbs, model_id=model_id)
    since = state.oldest_pending
    age = None if since is None else max(0.0, clock() - since)
    return Pending(state.counts.unfinished, state.counts.failed, age)


def check_revision(revision: int) -> None:
    """Refuse a number that no write can have.

    Raises:
        NotFoundError: there has been no such write.
    """
    if abs(revision) > _MOST_REVISION:
        raise NotFoundError(f"there is no revision {revision}")
