"""What the actors say to one another: frozen values, passed on and never changed.

One claim travels the whole way, inside every wrapper::

    poller --(Claim, ...)--> batcher --Batch--> embedder --Report--> reporter

What it brings about is an :class:`Event` in the database, which the fan-out gives to subscribers.

Times are seconds since the epoch unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: One embedding: float32, shape (dimension,), unit length. The actors only carry it.
Vector: TypeAlias = "npt.NDArray[np.float32]"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an entry's text that is encoded as one."""

    #: Hash of the text; equal texts have equal embeddings.
    digest: bytes
    #: The text itself, as the model is to read it.
    text: str
    #: How many tokens the model will read, as near as is cheaply known; at least 1.
    tokens: int


@dataclass(frozen=True, slots=True)
class Span:
    """Where one chunk of an entry stands, in order of the text."""

    #: The chunk's hash: which embedding serves this place.
    digest: bytes
    #: Range in characters of the entry's body that the chunk covers.
    start: int
    end: int
    #: Titles of the headings that it stands under, outermost first.
    headings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """One entry at one revision, held by one worker until its lease expires."""

    kb: str
    entry_id: str
    #: The write that is being embedded.
    revision: int
    #: Random; whoever presents it still holds the claim.
    token: str
    #: Which attempt this is, counted from 1.
    attempt: int
    queued_at: float
    #: 0 is interactive; larger numbers wait behind smaller ones.
    priority: int = 0
    #: Every chunk of the entry, in order.
    layout: tuple[Span, ...] = ()
    #: Only the chunks that have to be encoded, each text once.
    missing: tuple[Chunk, ...] = ()
    #: Embeddings numbered up to this are encoded afresh, and take the place of the old ones.
    renew_through: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """One chunk on its way to the encoder, with the claim that asked for it."""

    claim: Claim
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class Batch:
    """What the encoder gets in one call, and the claims that need no call at all."""

    #: Pieces of equal text are encoded as one.
    pieces: tuple[Piece, ...] = ()
    #: Claims with nothing missing: every chunk had been encoded before.
    ready: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Encoded:
    """A chunk and its embedding."""

    piece: Piece
    vector: Vector


@dataclass(frozen=True, slots=True)
class Refused:
    """A chunk that the encoder could not encode, alone in its call."""

    piece: Piece
    error: str
    #: Whether another attempt could end differently.
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one batch."""

    encoded: tuple[Encoded, ...] = ()
    refused: tuple[Refused, ...] = ()
    ready: tuple[Claim, ...] = ()
    #: Time in which the encoder worked since the report before, on this batch or beside it.
    encode_s: float = 0.0
    #: How long this batch has been in the encoder.
    took_s: float = 0.0


class WorkerState(StrEnum):
    """What the worker is doing, as its status shows it."""

    STARTING = "starting"
    IDLE = "idle"
    LOADING = "loading"
    ENCODING = "encoding"
    #: The model or the database is unavailable; it is tried again, and no entry is charged.
    DEGRADED = "degraded"
    #: Told to claim nothing more, and done with what it had.
    PAUSED = "paused"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class StateChange:
    """The embedder's word that it entered a state, and why."""

    state: WorkerState
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the feed: something that the database says has happened."""

    #: Number of the row; later events have larger ones.
    seq: int
    type: str
    kb: str
    entry_id: str
    revision: int
    at: float
    #: What the type adds, in JSON's own types.
    detail: Mapping[str, str | int | float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gap:
    """The events from ``first`` to ``last``, which have been pruned and are not to be had."""

    first: int
    last: int
    type: ClassVar[str] = "gap"
    #: Whatever was missed may have been about any revision.
    revision: ClassVar[int] = 0

    @property
    def seq(self) -> int:
        """The number after which the feed goes on."""
        return self.last


@dataclass(frozen=True, slots=True)
class Statistics:
    """The worker's numbers since it started."""

    state: WorkerState = WorkerState.STARTING
    reason: str | None = None
    #: Entries that became searchable, failed for good, and will be tried again.
    done: int = 0
    failed: int = 0
    retried: int = 0
    #: Results that came too late: the entry had changed, or the lease had gone to another.
    lost: int = 0
    released: int = 0
    chunks: int = 0
    tokens: int = 0
    batches: int = 0
    encode_s: float = 0.0
    commit_s: float = 0.0
    #: Characters of the texts encoded so far.
    characters: int = 0
    #: Tokens and characters encoded a second over the last minute; 0 before the first batch.
    tokens_per_s: float = 0.0
    characters_per_s: float = 0.0

    def plus(self, later: Statistics) -> Statistics:
        """The counts of both, with the state and the rates of the later one."""
        counts = (
            *("done", "failed", "retried", "lost", "released"),
            *("chunks", "tokens", "batches", "encode_s", "commit_s", "characters"),
        )
        return replace(
            later, **{name: getattr(self, name) + getattr(later, name) for name in counts}
        )
