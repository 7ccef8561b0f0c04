"""Waiting for a write ends with what became of it, and never later than agreed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, repeat

import pytest

from actors.lifecycle import Status
from pyrite.errors import NotFoundError
from pyrite.search.freshness import Outcome, Waited, wait


@dataclass
class Queue:
    """A storage of which only one write is known; each look may find it further."""

    statuses: Iterator[Status | None]
    looks: int = 0

    def revision_status(self, revision: int, model_id: int | None) -> Status | None:
        self.looks += 1
        return next(self.statuses)


@dataclass
class Clock:
    """Time passes only by pausing."""

    now_s: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds


def waited(*statuses: Status | None, timeout_s: float = 1.0) -> tuple[Waited, Queue, Clock]:
    queue = Queue(chain(statuses, repeat(statuses[-1])))
    clock = Clock()
    result = wait(queue, lambda: 1, 7, timeout_s, now=clock, pause=clock.pause)  # type: ignore[arg-type]
    return result, queue, clock


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (Status.DONE, Outcome.EMBEDDED),
        (Status.FAILED, Outcome.FAILED),
        (None, Outcome.SUPERSEDED),
    ],
)
def test_what_has_ended_is_not_waited_for(status: Status | None, outcome: Outcome) -> None:
    for timeout_s in (1.0, 0.0):
        result, queue, clock = waited(status, timeout_s=timeout_s)
        assert result == Waited(7, outcome, 0.0)
        assert (queue.looks, clock.pauses) == (1, [])


@pytest.mark.parametrize("last", [Status.DONE, Status.FAILED, None])
def test_it_is_looked_at_until_it_ends(last: Status | None) -> None:
    result, queue, clock = waited(Status.PENDING, Status.PROCESSING, Status.PENDING, last)
    assert result.outcome is not Outcome.TIMED_OUT
    assert queue.looks == 4
    assert result.seconds == pytest.approx(sum(clock.pauses))
    assert len(clock.pauses) == 3


@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING])
def test_nobody_waits_longer_than_agreed(status: Status) -> None:
    result, _, clock = waited(status, timeout_s=0.035)
    assert result.outcome is Outcome.TIMED_OUT
    assert result.seconds == pytest.approx(0.035)
    assert sum(clock.pauses) == pytest.approx(0.035)
    result, queue, clock = waited(status, timeout_s=0.0)
    assert (result.outcome, queue.looks, clock.pauses) == (Outcome.TIMED_OUT, 1, [])


def test_what_ends_at_the_last_moment_has_ended() -> None:
    result, _, _ = waited(Status.PENDING, Status.DONE, timeout_s=0.001)
    assert result.outcome is Outcome.EMBEDDED


@pytest.mark.parametrize("revision", [2**63, 10**30, -(2**70)])
def test_no_write_has_a_number_that_no_database_holds(revision: int) -> None:
    with pytest.raises(NotFoundError, match=f"there is no revision {revision}"):
        wait(Queue(repeat(Status.DONE)), lambda: 1, revision, 1.0)  # type: ignore[arg-type]
