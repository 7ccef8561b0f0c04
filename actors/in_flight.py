"""The claims that this pipeline holds: from the poller's claim until the reporter's ending.

The poller enters claims, the reporter removes them. What is left when the pipeline stops is
what has to be given back, wherever on the way it was.
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.messages import Claim


class InFlight:
    """The set of claims between the queue and their ending."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}

    def __len__(self) -> int:
        return len(self._claims)

    def __contains__(self, claim: Claim) -> bool:
        return claim.token in self._claims

    def enter(self, claims: Iterable[Claim]) -> None:
        """Remember claims that were just made."""
        self._claims.update((claim.token, claim) for claim in claims)

    def leave(self, claims: Iterable[Claim]) -> None:
        """Forget claims that have ended; one that has left already is no error."""
        for claim in claims:
            self._claims.pop(claim.token, None)

    def claims(self) -> tuple[Claim, ...]:
        """All of them, oldest first."""
        return tuple(self._claims.values())
