"""A cache of the tokens, so that authenticating a request costs microseconds.

The rows are read again after any commit, whichever process made it. A commit is looked for a
few times a second, and only as requests come.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar, TypeVarTuple, cast

import trio

from actors.ports import StorageUnavailableError
from pyrite.auth.tokens import Tier, TokenService
from pyrite.storage.protocol import Storage, Watcher
from pyrite.storage.records import TokenRow

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: How often commits are looked for, in seconds; a revoked token works no longer than this.
LOOK_S = 0.25

#: What can stand in a token; the longest there is has far less.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,500}=*")


class RunSync(Protocol):
    """Runs a blocking function off the event loop."""

    async def __call__(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """The function's result."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated caller of a request."""

    #: What it may do; None is what is open to anybody.
    tier: Tier | None = None
    #: The token's name and id; None where none was shown.
    name: str | None = None
    token_id: str | None = None

    def may(self, tier: Tier) -> bool:
        """Whether it may do what needs that tier."""
        return self.tier is not None and self.tier.includes(tier)


#: Somebody on this computer while there are no tokens: may do everything.
TRUSTED = Caller(Tier.ADMIN)
#: Somebody who showed no token.
NOBODY = Caller()


class Credentials:
    """The tokens of a database, as of a moment ago."""

    def __init__(self, storage: Storage, clock: Callable[[], float], run_sync: RunSync) -> None:
        self._storage = storage
        self._clock = clock
        self._run_sync = run_sync
        self._rows = _Rows(())
        self._verify = TokenService(cast("Storage", self._rows), clock).verify
        self._watcher: Watcher | None = None
        self._next_look = -math.inf
        self._stale = True
        self._reading = trio.Lock()

    async def refresh(self) -> None:
        """Take in what was committed up to :data:`LOOK_S` ago."""
        if self._watcher is not None and trio.current_time() >= self._next_look:
            async with self._reading:
                await self._look(self._watcher)
        if self._stale:
            async with self._reading:
                if self._stale:
                    await self._read()

    async def _look(self, watcher: Watcher) -> None:
        """Look for commits, in a thread: a look may wait behind a lock for half a minute."""
        if trio.current_time() < self._next_look:
            return  # another request has looked meanwhile
        try:
            changed = await self._run_sync(watcher.changed)
        except StorageUnavailableError:
            # Whether the tokens are still the same is not known; reading may go on regardless.
            changed = True
        self._stale = changed or self._stale
        self._next_look = trio.current_time() + LOOK_S

    async def _read(self) -> None:
        # It watches from before the first look: nothing is committed unseen between the two.
        if self._watcher is None:
            self._watcher = await self._run_sync(self._storage.watcher)
        self._stale = False
        try:
            self._rows.found = tuple(await self._run_sync(self._storage.tokens))
        except BaseException:
            self._stale = True
            raise

    def any(self) -> bool:
        """Whether there is a token at all, expired ones included."""
        return bool(self._rows.found)

    def verify(self, presented: str) -> Caller | None:
        """Whose token this is, or None where it is nobody's, or has expired."""
        row = self._verify(presented)
        return None if row is None else Caller(Tier(row.tier), row.name, row.token_id)

    def holds(self, caller: Caller) -> bool:
        """Whether the caller's token has been neither revoked nor has expired."""
        if caller.token_id is None:
            return not self.any()
        now = self._clock()
        return any(
            row.token_id == caller.token_id and (row.expires_at is None or row.expires_at > now)
            for row in self._rows.found
        )

    def name_of(self, presented: str) -> str | None:
        """Which token was meant, for the log, be the secret right or wrong; None if none is."""
        return next((r.name for r in self._rows.found if f"_{r.token_id}_" in presented), None)

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
            self._stale = True


class _Rows:
    """As much of a storage as telling tokens apart takes: their rows, in memory."""

    def __init__(self, found: Iterable[TokenRow]) -> None:
        self.found = tuple(found)

    def tokens(self) -> list[TokenRow]:
        """All of them."""
        return list(self.found)


def bearer(headers: Headers) -> str | None:
    """The token that is shown, or None where none is.

    Raises:
        ValueError: something is shown that is no Bearer token, or two are.
    """
    shown = headers.getlist("Authorization")
    if not shown:
        return None
    scheme, _, token = shown[0].partition(" ")
    token = token.strip()
    if len(shown) > 1 or scheme.lower() != "bearer" or not _TOKEN.fullmatch(token):
        raise ValueError("the Authorization header must be `Bearer` and one token")
    return token
