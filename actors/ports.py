"""What the pipeline needs from outside, as protocols.

The queue's and the encoder's methods block, and are called in worker threads: the encoder's as
many at a time as it says, the queue's by poller and reporter at once, and never always from one
thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from actors.lifecycle import Transition
from actors.messages import Claim, Encoded, Event, Statistics, Vector

T = TypeVar("T")


class EncoderUnavailableError(Exception):
    """The model itself cannot be loaded or reached; no entry is at fault. The message says why."""


class RefusedTextError(Exception):
    """The encoder will never encode this text; the message says why."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one look at the queue brought."""

    claims: tuple[Claim, ...] = ()
    #: Seconds until the next entry falls due or another's lease expires; None where none will.
    next_due_s: float | None = None
    #: Entries that are pending or processing, whoever holds them; read after the claim.
    unfinished: int = 0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a claim ends: the transition that its row is to make."""

    claim: Claim
    transition: Transition


@dataclass(frozen=True, slots=True)
class Settled:
    """What the database says it changed."""

    events: tuple[Event, ...] = ()
    #: The claims whose row was no longer theirs to end.
    lost: tuple[Claim, ...] = ()


class Queue(Protocol):
    """The durable queue, seen by one worker."""

    def claim(self, limit: int, urgent: bool = False) -> Claimed:
        """Claim up to ``limit`` due entries, after rescuing others' whose lease has expired.

        ``urgent`` leaves out all but those that somebody waits for. Otherwise these go first,
        but a part is kept for the others, so that they move on however many edits come.
        """
        ...

    def settle(self, encoded: Sequence[Encoded], endings: Sequence[Ending]) -> Settled:
        """Store embeddings and end claims, with their feed events, in one transaction."""
        ...

    def renew(self, claims: Sequence[Claim]) -> None:
        """Extend the leases of those claims that are still held."""
        ...

    def release(self, claims: Sequence[Claim]) -> int:
        """Give claims back without charging an attempt; returns how many were still held."""
        ...

    def heartbeat(self, statistics: Statistics) -> None:
        """Tell other processes that this worker lives, and what it is doing."""
        ...


class Observer(Protocol):
    """Is told what was measured, as it happens; called on the Trio thread and on others."""

    def encoded(self, texts: int, seconds: float) -> None:
        """A batch of so many texts has been in the encoder for so long."""
        ...

    def committed(self, seconds: float) -> None:
        """A transaction that ended claims took so long, the way to its thread included."""
        ...

    def rescued(self, claims: int) -> None:
        """So many claims of others were ended whose lease had expired, or who had died."""
        ...


class NoObserver:
    """An observer that looks away."""

    def encoded(self, texts: int, seconds: float) -> None:
        """Does nothing."""

    def committed(self, seconds: float) -> None:
        """Does nothing."""

    def rescued(self, claims: int) -> None:
        """Does nothing."""


#: Where nobody looks.
NO_OBSERVER = NoObserver()


class Encoder(Protocol):
    """A model that turns texts into embeddings."""

    @property
    def ready(self) -> bool:
        """Whether it could encode at once; never blocks."""
        ...

    @property
    def concurrency(self) -> int:
        """How many calls at a time it does well with, as far as is known before it is loaded."""
        ...

    def load(self) -> None:
        """Make ready to encode; does nothing when it is ready.

        Raises:
            EncoderUnavailableError: it cannot be loaded.
        """
        ...

    def unload(self) -> None:
        """Give back the memory; the next call loads again. Does nothing when nothing is loaded."""
        ...

    def encode(self, texts: Sequence[str]) -> Sequence[Vector]:
        """One unit-length float32 vector for each text, in order.

        Raises:
            EncoderUnavailableError: the model has become unreachable.
            RefusedTextError: one of the texts can never be encoded.
            Exception: anything else is taken as this call's failure, and may be tried again.
        """
        ...


class RunSync(Protocol):
    """Runs a blocking function off the event loop; :func:`trio.to_thread.run_sync` is one."""

    async def __call__(
        self, sync_fn: Callable[..., T], *args: object, abandon_on_cancel: bool = False
    ) -> T:
        """The function's result."""
        ...
