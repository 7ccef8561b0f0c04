"""The life of a queue row, as pure functions: no clock, no SQL, no Trio.

A row is in one of four states. Everything that can happen to it is an *occurrence*, and
:func:`after` is the whole table of what follows::

    from        by                               to                             attempts
    ----------  -------------------------------  -----------------------------  --------
    any         Written (a new revision)         pending, due now               0
    pending     Claimed                          processing                     +1
    processing  Embedded                         done                           kept
    processing  Embedded, revision moved on      pending, due now               0
    processing  Failed, attempts < max           pending, due after a backoff   kept
    processing  Failed, final or attempts = max  failed, with the error         kept
    processing  Released (a graceful stop)       pending, due now               -1
    processing  LeaseExpired                     pending, or failed at max      kept
                                                 (pending as a suspect)
    failed      Retried                          pending, due now               0

A worker that dies takes all its claims with it, though at most one of them was the cause. So
each of them is a suspect: from then on it is claimed alone, by a worker that holds nothing
else, and one that kills its worker again costs nobody but itself an attempt.

Deletion removes the row and so needs no line. An occurrence that the state does not allow
raises :class:`IllegalTransitionError` and changes nothing.

Whoever calls this does the I/O, and guards it: the statement that ends a claim carries the
revision and the claim token, so that a transition computed from a claim that is no longer
held changes no row.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

LEASE_EXPIRED = (
    "the worker that held this entry stopped or hung before it finished (its lease expired)"
)


class Status(StrEnum):
    """Where an entry stands in the queue."""

    PENDING = "pending"
    PROCESSING = "processing"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how long after a failure, an entry is tried again."""

    max_attempts: int = 3
    #: Delay in seconds after the first failure; it doubles with each further one.
    base_s: float = 2.0
    #: No delay is longer than this many seconds.
    cap_s: float = 300.0
    #: Up to this share of the delay is added at random, so that failures spread out.
    jitter: float = 0.25

    @property
    def longest_s(self) -> float:
        """No backoff is longer than this many seconds."""
        return self.cap_s * (1 + self.jitter)

    def backoff(self, attempts: int, chance: float) -> float:
        """Seconds to wait after ``attempts`` failures; ``chance`` is uniform in [0, 1)."""
        # The exponent is bounded before the power is taken: 2.0**1024 overflows.
        delay = min(self.cap_s, self.base_s * 2.0 ** min(attempts - 1, 64))
        return delay * (1 + self.jitter * chance)


@dataclass(frozen=True, slots=True)
class Written:
    """The entry was created or changed: the row carries a new revision."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A worker took it."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Its embeddings are ready to be stored."""

    #: False when the entry has been written again since the claim.
    current: bool = True


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be embedded."""

    error: str
    #: True when another attempt cannot end differently.
    final: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """The worker gave it back unstarted."""


@dataclass(frozen=True, slots=True)
class LeaseExpired:
    """Its worker died or hung."""


@dataclass(frozen=True, slots=True)
class Retried:
    """A person asked for another try."""


Occurrence: TypeAlias = Written | Claimed | Embedded | Failed | Released | LeaseExpired | Retried


@dataclass(frozen=True, slots=True)
class Transition:
    """What the row becomes."""

    status: Status
    attempts: int
    #: When it may be claimed, for a pending row that has to wait; None is at once.
    available_at: float | None = None
    error: str | None = None
    #: Whether it is to be claimed alone, because a worker died while holding it.
    suspect: bool = False


class IllegalTransitionError(Exception):
    """This cannot happen to a row in that state."""


_FROM: dict[type[Occurrence], frozenset[Status]] = {
    Written: frozenset(Status),
    Claimed: frozenset({Status.PENDING}),
    Embedded: frozenset({Status.PROCESSING}),
    Failed: frozenset({Status.PROCESSING}),
    Released: frozenset({Status.PROCESSING}),
    LeaseExpired: frozenset({Status.PROCESSING}),
    Retried: frozenset({Status.FAILED}),
}


def after(
    status: Status,
    attempts: int,
    occurrence: Occurrence,
    *,
    now: float,
    policy: RetryPolicy,
    chance: float = 0.0,
) -> Transition:
    """What a row in ``status`` after ``attempts`` becomes when ``occurrence`` befalls it.

    Args:
        status: the row's present state.
        attempts: its present count of attempts, a running one included.
        occurrence: what happened.
        now: the present time, in seconds since the epoch.
        policy: when failures are tried again.
        chance: a uniform random number in [0, 1), for the jitter.

    Raises:
        IllegalTransitionError: the state does not allow the occurrence.
    """
    if status not in _FROM[type(occurrence)]:
        raise IllegalTransitionError(f"{type(occurrence).__name__} cannot befall a {status} row")
    match occurrence:
        case Written() | Retried() | Embedded(current=False):
            return Transition(Status.PENDING, 0)
        case Claimed():
            return Transition(Status.PROCESSING, attempts + 1)
        case Embedded():
            return Transition(Status.DONE, attempts)
        case Released():
            return Transition(Status.PENDING, attempts - 1)
        case Failed(error=error, final=final):
            if final or attempts >= policy.max_attempts:
                return Transition(Status.FAILED, attempts, error=error)
            due = now + policy.backoff(attempts, chance)
            return Transition(Status.PENDING, attempts, available_at=due, error=error)
        case LeaseExpired():
            if attempts >= policy.max_attempts:
                return Transition(Status.FAILED, attempts, error=LEASE_EXPIRED)
            return Transition(Status.PENDING, attempts, error=LEASE_EXPIRED, suspect=True)
