"""How fresh an answer is: what is not embedded yet, and what came of waiting."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pyrite.embedding.service import present_counts
from pyrite.errors import NotFoundError

if TYPE_CHECKING:
    from pyrite.storage.protocol import Storage
    from pyrite.storage.records import Model, Passage, StoredEntry

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
    """Whose present text a search by meaning may not know.

    It may know an older one, or none; or the present one, where that is only to be encoded afresh.
    """

    #: Entries in the knowledge bases searched that wait to be embedded, and that could not be.
    pending: int
    failed: int
    oldest_pending_age_s: float | None


class Outcome(StrEnum):
    """What came of waiting for a write."""

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
    storage: Storage, model: Model | None, kbs: Collection[str], clock: Callable[[], float]
) -> Pending:
    """What is not embedded with a model, in some knowledge bases or, without names, in all."""
    others = [each.model_id for each in storage.models() if each != model]
    waiting = failed = 0
    oldest: list[float] = []
    scopes: Collection[str | None] = set(kbs) or (None,)
    for kb in scopes:
        counts = present_counts(storage, others, kb)
        waiting += counts.unfinished
        failed += counts.failed
        since = storage.oldest_pending(kb) if counts.pending else None
        oldest += [] if since is None else [since]
    age = max(0.0, clock() - min(oldest)) if oldest else None
    return Pending(waiting, failed, age)


def check_revision(revision: int) -> None:
    """Refuse a number that no write can have.

    Raises:
        NotFoundError: there has been no such write.
    """
    if abs(revision) > _MOST_REVISION:
        raise NotFoundError(f"there is no revision {revision}")
