"""Which chunks go into one batch: pure, so that it can be tested and tuned by itself.

A batch costs its padded size: the number of texts times the longest of them. The window
holds what has been claimed and not yet sent. A batch is built around the piece that is most
urgent and has waited longest, from those of its priority that are nearest to it in length, so
that little is padding and an edit is never slowed by company. One batch in several is built
around the piece that has waited longest of all, so that nothing starves. Pieces of a text that
is in the batch go with it: they cost nothing more.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from actors.messages import Batch, Claim, Piece


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large a batch may become."""

    #: Texts in one call of the encoder.
    texts: int = 8
    #: Texts times tokens of the longest text; one text alone may be larger.
    tokens: int = 2048


#: One batch in so many is for what has waited longest, however urgent something else is.
FAIR_SHARE = 10


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A piece in the window."""

    tokens: int
    arrival: int
    piece: Piece


class Window:
    """The pieces that wait to be sent, and the claims that need no encoding."""

    def __init__(self, limits: BatchLimits, capacity: int) -> None:
        self._limits = limits
        self._capacity = capacity
        self._arrivals = 0
        self._taken = 0
        #: By priority, and then by length.
        self._waiting: dict[int, list[_Waiting]] = {}
        self._ready: list[Claim] = []
        #: Whether nothing more will come.
        self.complete = False

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values())) + len(self._ready)

    def tune(self, limits: BatchLimits, capacity: int) -> None:
        """Change the limits of batches still to be taken, and the window's size."""
        self._limits, self._capacity = limits, capacity

    def has_room(self) -> bool:
        """Whether more than what is urgent should be taken in before the next batch is sent."""
        return len(self) < self._capacity

    def add(self, claims: Iterable[Claim]) -> None:
        """Take in claims, chunk by chunk."""
        for claim in claims:
            if not claim.missing:
                self._ready.append(claim)
            for chunk in claim.missing:
                self._arrivals += 1
                waiting = _Waiting(chunk.tokens, self._arrivals, Piece(claim, chunk))
                insort(self._waiting.setdefault(claim.priority, []), waiting, key=_length)

    def take(self) -> Batch:
        """Remove the next batch; it is empty only if the window is."""
        ready, self._ready = tuple(self._ready), []
        if not self._waiting:
            return Batch(ready=ready)
        self._taken += 1
        oldest = {p: min(each, key=_arrival) for p, each in self._waiting.items()}
        fair = self._taken % FAIR_SHARE == 0
        priority = min(oldest, key=lambda p: (_arrival(oldest[p]) if fair else 0, p))
        by_length, wanted = self._waiting[priority], oldest[priority]
        first = last = bisect_left(by_length, _length(wanted), key=_length)
        while (grown := self._grow(by_length, first, last, wanted.tokens)) is not None:
            first, last = grown
        digests = {waiting.piece.chunk.digest for waiting in by_length[first : last + 1]}
        return Batch(tuple(self._remove(digests)), ready)

    def _remove(self, digests: Collection[bytes]) -> Iterator[Piece]:
        """Take out every piece of such a text: it is encoded once, whoever asked for it."""
        for priority, waiting in list(self._waiting.items()):
            yield from (one.piece for one in waiting if one.piece.chunk.digest in digests)
            left = [one for one in waiting if one.piece.chunk.digest not in digests]
            self._waiting[priority] = left
            if not left:
                del self._waiting[priority]

    def _grow(
        self, by_length: list[_Waiting], first: int, last: int, wanted: int
    ) -> tuple[int, int] | None:
        """The range widened by the neighbour nearest in length, or None if none fits."""
        count = last - first + 2
        if count > self._limits.texts:
            return None
        options = []
        if first > 0:
            shorter = by_length[first - 1].tokens
            options.append((wanted - shorter, (first - 1, last)))
        if last + 1 < len(by_length):
            longer = by_length[last + 1].tokens
            options.append((longer - wanted, (first, last + 1)))
        for _, (low, high) in sorted(options):
            if count * by_length[high].tokens <= self._limits.tokens:
                return low, high
        return None


def _length(waiting: _Waiting) -> tuple[int, int]:
    return waiting.tokens, waiting.arrival


def _arrival(waiting: _Waiting) -> int:
    return waiting.arrival
