"""The worker's running numbers, and the snapshot of them that status shows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from actors.lifecycle import Status
from actors.messages import Report, StateChange, Statistics, WorkerState
from actors.ports import NO_OBSERVER, Ending, Observer, Settled
from actors.retry import StorageRetry

RATE_WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one recent batch took."""

    #: When it was reported.
    at: float
    encode_s: float
    tokens: int
    characters: int


class Tally:
    """Counts what the reporter sees, and tells an observer what it took."""

    def __init__(
        self,
        clock: Callable[[], float],
        observer: Observer = NO_OBSERVER,
        retry: StorageRetry | None = None,
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._retry = retry or StorageRetry()
        self._counts = Statistics()
        self._recent: deque[_Batch] = deque()

    def state(self, change: StateChange) -> bool:
        """The worker entered a state; whether that is news."""
        news = change != StateChange(self._counts.state, self._counts.reason)
        self._counts = replace(self._counts, state=change.state, reason=change.reason)
        return news

    def report(self, report: Report) -> None:
        """A batch was encoded."""
        tokens = sum(encoded.piece.chunk.tokens for encoded in report.encoded)
        characters = sum(len(encoded.piece.chunk.text) for encoded in report.encoded)
        if report.encoded:
            self._recent.append(_Batch(self._clock(), report.encode_s, tokens, characters))
        if report.encoded or report.refused:
            texts = len(report.encoded) + len(report.refused)
            self._observer.encoded(texts, report.took_s)
        counts = self._counts
        self._counts = replace(
            counts,
            chunks=counts.chunks + len(report.encoded),
            tokens=counts.tokens + tokens,
            characters=counts.characters + characters,
            batches=counts.batches + bool(report.encoded or report.refused),
            encode_s=counts.encode_s + report.encode_s,
        )

    def settled(self, endings: tuple[Ending, ...], settled: Settled, commit_s: float) -> None:
        """A transaction ended claims."""
        self._observer.committed(commit_s)
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
        if self._retry.reason is not None:
            counts = replace(counts, state=WorkerState.DEGRADED, reason=self._retry.reason)
        tokens, characters = self._rates()
        return replace(counts, tokens_per_s=tokens, characters_per_s=characters)

    def _rates(self) -> tuple[float, float]:
        """Tokens and characters a second over the last minute of encoding, pauses not counted."""
        while self._recent and self._recent[0].at < self._clock() - RATE_WINDOW_S:
            self._recent.popleft()
        span = sum(batch.encode_s for batch in self._recent)
        if span <= 0:
            return 0.0, 0.0
        tokens = sum(batch.tokens for batch in self._recent)
        return tokens / span, sum(batch.characters for batch in self._recent) / span
