"""What the pipeline needs from outside, as protocols.

The queue's and the encoder's methods block, and are called in worker threads: the encoder's as
many at a time as it says, the queue's by poller and reporter at once, and never always from one
thread. Whatever reads or writes the database raises :class:`StorageUnavailableError` while that is
unavailable; then the call has changed nothing, as far as is known, and can be made again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, TypeVarTuple

from actors.lifecycle import Transition
from actors.messages import Claim, Encoded, Event, Statistics, Vector

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class EncoderUnavailableError(Exception):
    """The model itself cannot be loaded or reached; no entry is at fault. The message says why."""


class StorageUnavailableError(Exception):
    """The database is busy, full or away for a while; nobody is at fault. The message says why."""


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


class CommitWatcher(Protocol):
    """Notices commits, whichever process makes them; used by one call at a time."""

    def changed(self) -> bool:
        """Whether anything was committed since the last call; may wait behind a lock."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


class Watch(Protocol):
    """Looks for commits until cancelled."""

    async def __call__(
        self, watcher: CommitWatcher, told: Callable[[], None], interval_s: float, /
    ) -> None:
        """Call ``told`` on the Trio thread after commits, looking every so many seconds.

        Raises:
            StorageUnavailableError: a look failed; this can be called again.
        """
        ...


class EventBounds(Protocol):
    """Which events there are."""

    @property
    def last(self) -> int:
        """Number of the newest there has ever been; 0 before the first."""
        ...


class EventLog(Protocol):
    """The numbered events of a database, as the fan-out reads them; all of it blocks."""

    def events(self, since: int, limit: int) -> Sequence[Event]:
        """Events numbered above ``since``, in order, ``limit`` at most."""
        ...

    def feed_bounds(self) -> EventBounds:
        """Which events there are."""
        ...

    def watcher(self) -> CommitWatcher:
        """One more that looks for commits, for its user to close."""
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


class RunInThread(Protocol):
    """Runs a blocking function off the event loop, to its end whatever is cancelled meanwhile."""

    async def __call__(self, function: Callable[[*Ts], T], /, *args: *Ts) -> T:
        """The function's result."""
        ...
