"""After a write: who embeds it, and what the caller is told."""

from __future__ import annotations

import pytest

from actors.lifecycle import Status
from actors.messages import WorkerState
from pyrite.embedding.fallback import Handling, WriteOutcome, decide
from pyrite.storage.queue_records import WorkerRow


def worker(state: WorkerState, reason: str | None = None) -> WorkerRow:
    return WorkerRow("w", 1, "here", None, 0.0, 0.0, state, reason, "model")


SERVES = [WorkerState.STARTING, WorkerState.IDLE, WorkerState.LOADING, WorkerState.ENCODING]


@pytest.mark.parametrize("state", SERVES)
def test_a_worker_that_serves_is_left_to_it(state: WorkerState) -> None:
    decision = decide(embed=True, paused=False, worker=worker(state))
    assert (decision.handling, decision.warning) == (Handling.WORKER, None)


@pytest.mark.parametrize("found", [None, worker(WorkerState.STOPPING)], ids=["none", "stopping"])
def test_without_one_it_is_embedded_here(found: WorkerRow | None) -> None:
    decision = decide(embed=True, paused=False, worker=found)
    assert (decision.handling, decision.warning) == (Handling.EMBED, None)


def test_a_worker_without_its_model_keeps_it_and_the_caller_hears_why() -> None:
    decision = decide(
        embed=True, paused=False, worker=worker(WorkerState.DEGRADED, "no file model.bin")
    )
    assert decision.handling is Handling.WORKER
    assert decision.warning is not None
    assert "no file model.bin" in decision.warning
    told = decide(embed=True, paused=False, worker=worker(WorkerState.DEGRADED)).warning
    assert told is not None
    assert told.endswith("cannot use its model")


def test_a_paused_worker_keeps_it_and_the_caller_hears_of_it() -> None:
    decision = decide(embed=True, paused=False, worker=worker(WorkerState.PAUSED))
    assert decision.handling is Handling.WORKER
    assert "paused" in (decision.warning or "")


@pytest.mark.parametrize("found", [None, worker(WorkerState.IDLE), worker(WorkerState.DEGRADED)])
def test_a_pause_goes_before_any_worker(found: WorkerRow | None) -> None:
    decision = decide(embed=True, paused=True, worker=found)
    assert decision.handling is Handling.PAUSED
    assert "pyrite config set paused false" in (decision.warning or "")


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("found", [None, worker(WorkerState.DEGRADED)])
def test_who_only_wants_it_queued_gets_that(found: WorkerRow | None, paused: bool) -> None:
    decision = decide(embed=False, paused=paused, worker=found)
    assert (decision.handling, decision.warning) == (Handling.QUEUE, None)


@pytest.mark.parametrize(
    ("statuses", "furthest"),
    [
        ([], Status.DONE),
        ([Status.DONE, Status.PENDING], Status.PENDING),
        ([Status.PROCESSING, Status.DONE], Status.PROCESSING),
        ([Status.PENDING, Status.FAILED], Status.FAILED),
    ],
)
def test_several_stand_where_the_last_of_them_does(
    statuses: list[Status], furthest: Status
) -> None:
    known = {("kb", f"{number}"): status for number, status in enumerate(statuses)}
    assert WriteOutcome(Handling.EMBED, known).embedding is furthest
