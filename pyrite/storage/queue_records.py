"""Records of the queue and of who works on it: frozen values.

Times are seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DueEntry:
    """A claimed entry with its text, before anyone has split it."""

    kb: str
    entry_id: str
    title: str
    summary: str
    body: str
    revision: int
    token: str
    attempt: int
    queued_at: float
    priority: int
    #: Embeddings numbered up to this do not count as encoded.
    renew_through: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An entry that could not be embedded."""

    kb: str
    entry_id: str
    revision: int
    error: str
    attempts: int
    failed_at: float


@dataclass(frozen=True, slots=True)
class LastError:
    """The newest error in the queue, whether its entry has failed for good or will be retried."""

    kb: str
    entry_id: str
    error: str
    at: float


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many entries stand where."""

    pending: int = 0
    processing: int = 0
    done: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All entries."""
        return self.pending + self.processing + self.done + self.failed

    @property
    def unfinished(self) -> int:
        """Entries that a worker still has to end."""
        return self.pending + self.processing


@dataclass(frozen=True, slots=True)
class QueueState:
    """How the queue stands, of all knowledge bases or of some."""

    counts: QueueCounts
    #: How long the texts are of entries that are pending or processing.
    unfinished_characters: int
    #: When the entry that has waited longest was queued; None where none is queued.
    oldest_pending: float | None
    #: The newest error that no success has followed.
    last_error: LastError | None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker process, as its last heartbeat described it."""

    worker_id: str
    pid: int
    host: str
    #: Tells this process from a later one with the same pid; None where that is unknown.
    process_started: str | None
    started_at: float
    heartbeat_at: float
    state: str
    reason: str | None
    model: str
    #: What it has encoded a second over the last minute.
    tokens_per_s: float = 0.0
    characters_per_s: float = 0.0
    #: The one knowledge base whose entries it embeds; None is all of them.
    kb: str | None = None


@dataclass(frozen=True, slots=True)
class Leader:
    """The process that has the right to embed."""

    worker_id: str
    pid: int
    host: str
    #: Tells this process from a later one with the same pid; None where that is unknown.
    process_started: str | None
    since: float
    #: When the right lapses unless it is renewed.
    expires_at: float
