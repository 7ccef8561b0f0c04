"""The worker's running numbers, and the snapshot of them that status shows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from actors.lifecycle import Status
from actors.messages import Report, StateChange, Statistics, WorkerState
from actors.ports import Ending, Settled

RATE_WINDOW_S = 60.0


class Tally:
    """Counts what the reporter sees."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts = Statistics()
        #: When each recent batch was reported, how long it took to encode, and its tokens.
        self._recent: deque[tuple[float, float, int]] = deque()

    def state(self, change: StateChange) -> bool:
        """The worker entered a state; whether that is news."""
        news = change != StateChange(self._counts.state, self._counts.reason)
        self._counts = replace(self._counts, state=change.state, reason=change.reason)
        return news

    def report(self, report: Report) -> None:
        """A batch was encoded."""
        tokens = sum(encoded.piece.chunk.tokens for encoded in report.encoded)
        if report.encoded:
            self._recent.append((self._clock(), report.encode_s, tokens))
        counts = self._counts
        self._counts = replace(
            counts,
            chunks=counts.chunks + len(report.encoded),
            tokens=counts.tokens + tokens,
            batches=counts.batches + bool(report.encoded or report.refused),
            encode_s=counts.encode_s + report.encode_s,
        )

    def settled(self, endings: tuple[Ending, ...], settled: Settled, commit_s: float) -> None:
        """A transaction ended claims."""
        lost = {claim.token for claim in settled.lost}
        ended = [e.transition.status for e in endings if e.claim.token not in lost]
        counts = self._counts
        self._counts = replace(
            counts,
            done=counts.done + ended.count(Status.DONE),
            failed=counts.failed + ended.count(Status.FAILED),
            retried=counts.retried + ended.count(Status.PENDING),
            lost=counts.lost + len(lost),
            commit_s=counts.commit_s + commit_s,
        )

    def released(self, count: int) -> None:
        """Claims were given back."""
        self._counts = replace(self._counts, released=self._counts.released + count)

    def snapshot(self, in_flight: int) -> Statistics:
        """The numbers now, given how many claims are in flight."""
        counts = self._counts
        if not in_flight and counts.state in {WorkerState.STARTING, WorkerState.ENCODING}:
            counts = replace(counts, state=WorkerState.IDLE)
        return replace(counts, tokens_per_s=self._tokens_per_s())

    def _tokens_per_s(self) -> float:
        """Tokens a second over the last minute of encoding, pauses not counted."""
        while self._recent and self._recent[0][0] < self._clock() - RATE_WINDOW_S:
            self._recent.popleft()
        span = sum(encode_s for _, encode_s, _ in self._recent)
        return sum(tokens for _, _, tokens in self._recent) / span if span > 0 else 0.0
