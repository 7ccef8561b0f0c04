"""The queue's part of the storage protocol: claims and their ends, workers, the right to embed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from actors.lifecycle import RetryPolicy, Status
from actors.messages import Claim, Encoded
from actors.ports import Ending, Settled
from pyrite.storage.queue_records import (
    DueEntry,
    Failure,
    Leader,
    QueueCounts,
    QueueState,
    WorkerRow,
)

#: Processes, and the threads of one, read the clock one after the other, and it is corrected
#: now and then: a time that is too late by so many seconds is not worth a write.
CLOCK_ERROR_S = 1.0


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Who claims what, and for how long."""

    worker_id: str
    now: float
    lease_s: float
    policy: RetryPolicy
    limit: int = 10
    #: Only of this knowledge base.
    kb: str | None = None
    #: Only this entry of it, due or not.
    entry_id: str | None = None
    #: Only what somebody waits for. Otherwise this goes first, but one claim in ``limit`` is
    #: kept for what has waited longest in bulk.
    urgent: bool = False

    @property
    def latest_due(self) -> float:
        """When an entry falls due at the latest; only a clock set back leaves a later time."""
        return self.now + self.policy.longest_s

    @property
    def latest_lease(self) -> float:
        """When a lease expires at the latest; only a clock set back leaves a later time."""
        return self.now + self.lease_s


@dataclass(frozen=True, slots=True)
class ClaimedRows:
    """What a claim brought."""

    due: tuple[DueEntry, ...] = ()
    #: Seconds until the next entry falls due or another's lease expires; None where none will.
    next_due_s: float | None = None
    #: Entries in the claim's scope that are pending or processing.
    unfinished: int = 0
    #: Claims of others that were ended for it, because their lease had expired.
    rescued: int = 0


class Queue(Protocol):
    """What is to be embedded, the workers that do it, and which process may."""

    def claim(self, request: ClaimRequest) -> ClaimedRows:
        """Rescue others' expired leases, promote what has fallen due, and claim due entries.

        A due time or a lease that is further away than the request allows is shortened to what
        it allows: the clock has been set back since it was written. The worker's own leases are
        not rescued, for whoever asks is alive; it renews them. A claim of one entry rescues no
        other.
        """
        ...

    def settle(
        self, model_id: int, encoded: Sequence[Encoded], endings: Sequence[Ending], *, now: float
    ) -> Settled:
        """Store embeddings, and end those claims that are still held, with their events."""
        ...

    def renew(self, claims: Sequence[Claim], lease_expires_at: float) -> None:
        """Extend the leases of those claims that are still held."""
        ...

    def release(self, claims: Sequence[Claim]) -> int:
        """Give back those claims that are still held; returns how many."""
        ...

    def rescue(self, worker_ids: Collection[str], policy: RetryPolicy, *, now: float) -> int:
        """End the leases of workers known to be dead; returns how many there were."""
        ...

    def retry_failed(
        self, kb: str | None, entry_ids: Collection[str] | None, *, now: float
    ) -> list[tuple[str, str]]:
        """Queue failed entries again, all or those named; returns which (knowledge base, id)."""
        ...

    def reembed(self, kb: str | None, *, now: float, force: bool, other_than: int | None) -> int:
        """Queue finished entries again, in several transactions; returns how many.

        Args:
            kb: only of this knowledge base.
            now: when they are queued.
            force: encode even texts that have been encoded before.
            other_than: only entries that were embedded with another model than this one.
        """
        ...

    def counts(self, kb: str | None = None, *, model_id: int | None = None) -> QueueCounts:
        """How many entries stand where; takes microseconds.

        Given a model, what was embedded with another one is pending: the queue itself learns that
        the model has changed from the next worker that starts.
        """
        ...

    def queue_state(self, kbs: Collection[str] = (), *, model_id: int | None = None) -> QueueState:
        """The same, and more, in one look: of these knowledge bases or, without any, of all."""
        ...

    def failures(self, kb: str | None = None, limit: int | None = None) -> list[Failure]:
        """Entries that have failed, newest first."""
        ...

    def revision_status(self, revision: int, model_id: int | None = None) -> Status | None:
        """How far that write is; None if the entry was written anew or deleted since.

        What was embedded with another model than the one given is still pending.

        Raises:
            NotFoundError: there has been no such write.
        """
        ...

    # Workers

    def beat(self, worker: WorkerRow) -> None:
        """Write a worker's heartbeat."""
        ...

    def retire(self, worker_ids: Collection[str]) -> None:
        """Forget workers."""
        ...

    def workers(self) -> list[WorkerRow]:
        """All workers, latest heartbeat first."""
        ...

    # The right to embed

    def lead(self, candidate: Leader, *, dead: Collection[str] = ()) -> Leader:
        """Take the right to embed, or renew it; returns who has it now.

        It is free to take where nobody has it, where it has lapsed by ``candidate.since``, or
        where it is that of one of the ``dead`` workers. Who has it keeps its own ``since``.
        Another's that would last longer than the candidate's is shortened to that: the clock has
        been set back.
        """
        ...

    def resign(self, worker_id: str) -> None:
        """Give the right to embed back; done by who does not have it, this does nothing."""
        ...

    def leader(self) -> Leader | None:
        """Who took the right to embed last and has not given it back, lapsed or not."""
        ...
