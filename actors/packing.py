"""Which chunks go into one batch: pure, so that it can be tested and tuned by itself.

A batch costs its padded size: the number of texts times the longest of them. The window
holds what has been claimed and not yet sent. A batch is built around the most urgent piece,
from the pieces nearest to it in length, so that nothing starves and little is padding.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass

from actors.messages import Batch, Claim, Piece


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large a batch may become."""

    #: Texts in one call of the encoder.
    texts: int = 8
    #: Texts times tokens of the longest text; one text alone may be larger.
    tokens: int = 2048


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A piece in the window."""

    tokens: int
    arrival: int
    urgency: tuple[int, int]
    piece: Piece


class Window:
    """The pieces that wait to be sent, and the claims that need no encoding."""

    def __init__(self, limits: BatchLimits, capacity: int) -> None:
        self._limits = limits
        self._capacity = capacity
        self._arrivals = 0
        self._by_length: list[_Waiting] = []
        self._ready: list[Claim] = []

    def __len__(self) -> int:
        return len(self._by_length) + len(self._ready)

    def has_room(self) -> bool:
        """Whether more claims should be taken in before the next batch is sent."""
        return len(self) < self._capacity

    def add(self, claims: Iterable[Claim]) -> None:
        """Take in claims, chunk by chunk."""
        for claim in claims:
            if not claim.missing:
                self._ready.append(claim)
            for chunk in claim.missing:
                self._arrivals += 1
                waiting = _Waiting(
                    chunk.tokens,
                    self._arrivals,
                    (claim.priority, self._arrivals),
                    Piece(claim, chunk),
                )
                insort(self._by_length, waiting, key=_length)

    def take(self) -> Batch:
        """Remove the next batch; it is empty only if the window is."""
        ready, self._ready = tuple(self._ready), []
        if not self._by_length:
            return Batch(ready=ready)
        urgent = min(self._by_length, key=lambda waiting: waiting.urgency)
        first = last = bisect_left(self._by_length, _length(urgent), key=_length)
        while (grown := self._grow(first, last, urgent.tokens)) is not None:
            first, last = grown
        chosen = self._by_length[first : last + 1]
        del self._by_length[first : last + 1]
        return Batch(tuple(waiting.piece for waiting in chosen), ready)

    def _grow(self, first: int, last: int, wanted: int) -> tuple[int, int] | None:
        """The range widened by the neighbour nearest in length, or None if none fits."""
        count = last - first + 2
        if count > self._limits.texts:
            return None
        options = []
        if first > 0:
            shorter = self._by_length[first - 1].tokens
            options.append((wanted - shorter, (first - 1, last)))
        if last + 1 < len(self._by_length):
            longer = self._by_length[last + 1].tokens
            options.append((longer - wanted, (first, last + 1)))
        for _, (low, high) in sorted(options):
            if count * self._by_length[high].tokens <= self._limits.tokens:
                return low, high
        return None


def _length(waiting: _Waiting) -> tuple[int, int]:
    return waiting.tokens, waiting.arrival
