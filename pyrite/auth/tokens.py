"""Access tokens of the server.

What the bearer shows is ``pyrite_ID_SECRET``. The id is public and names the token; of the
secret only a hash is kept, so that whoever reads the database can show none.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from enum import StrEnum

from pyrite.errors import NotFoundError, TokenError
from pyrite.storage.protocol import Storage
from pyrite.storage.records import TokenRow

_PREFIX = "pyrite"
_ID_BYTES = 6
_SECRET_BYTES = 32
_LONGEST_NAME = 100


class Tier(StrEnum):
    """What a token allows; each tier includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def includes(self, other: Tier) -> bool:
        """Whether all that the other allows is allowed by this one, too."""
        order = list(Tier)
        return order.index(self) >= order.index(other)


class TokenService:
    """Makes tokens, and tells whose the one is that somebody shows."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.time) -> None:
        self._storage = storage
        self._clock = clock

    def create(self, name: str, tier: Tier, *, expires_in_s: float | None = None) -> str:
        """Make a token; returns what its bearer is to show, which nobody can be told again.

        Raises:
            TokenError: the name or the time cannot be used.
            ConflictError: another token has the name.
        """
        _check_name(name)
        if expires_in_s is not None and expires_in_s <= 0:
            raise TokenError("a token expires after some time; leave that out for one that stays")
        token_id = secrets.token_hex(_ID_BYTES)
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        now = self._clock()
        expires_at = None if expires_in_s is None else now + expires_in_s
        self._storage.add_token(TokenRow(token_id, name, tier, _digest_of(secret), now, expires_at))
        return f"{_PREFIX}_{token_id}_{secret}"

    def tokens(self) -> list[TokenRow]:
        """All of them by name, expired ones too."""
        return self._storage.tokens()

    def revoke(self, name: str) -> None:
        """Forget a token; it is refused from now on.

        Raises:
            NotFoundError: there is none of that name.
        """
        if not self._storage.revoke_token(name):
            raise NotFoundError(
                f"there is no token {name!r}; `pyrite token list` shows those there are"
            )

    def any(self) -> bool:
        """Whether there is any token, expired ones too: an expired one opens nothing to all."""
        return bool(self._storage.tokens())

    def verify(self, presented: str) -> TokenRow | None:
        """The token that was shown; None if it is unknown, wrong or expired.

        How long this takes tells nothing of a secret.
        """
        prefix, _, rest = presented.partition("_")
        token_id, _, secret = rest.partition("_")
        known = {token.token_id: token for token in self._storage.tokens()}
        token = known.get(token_id)
        # A digest that no secret has is compared where the id is unknown.
        expected = bytes(hashlib.sha256().digest_size) if token is None else token.digest
        is_right = hmac.compare_digest(_digest_of(secret), expected)
        if token is None or prefix != _PREFIX or not is_right:
            return None
        expired = token.expires_at is not None and token.expires_at <= self._clock()
        return None if expired else token


def _digest_of(secret: str) -> bytes:
    # A slow hash is for what people think up; 256 random bits cannot be guessed at any speed.
    return hashlib.sha256(secret.encode(errors="backslashreplace")).digest()


def _check_name(name: str) -> None:
    if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise TokenError(
            f"{name!r} cannot name a token: use up to {_LONGEST_NAME} printable characters"
        )
