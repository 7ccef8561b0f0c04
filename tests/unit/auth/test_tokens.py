"""Tokens: made once, kept as hashes, and refused as soon as they are revoked or expired."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

import pytest

from pyrite.auth import tokens
from pyrite.auth.tokens import Tier, TokenService
from pyrite.errors import ConflictError, NotFoundError, TokenError
from pyrite.storage.sqlite.store import SqliteStorage
from tests.fakes.database import temporary_storage


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Kit:
    clock: Clock = field(default_factory=Clock)
    storage: SqliteStorage = field(default_factory=temporary_storage)

    def __post_init__(self) -> None:
        self.service = TokenService(self.storage, self.clock)


@pytest.fixture
def kit() -> Kit:
    return Kit()


def test_each_tier_includes_those_before_it() -> None:
    table = [[one.includes(other) for other in Tier] for one in Tier]

    assert [str(tier) for tier in Tier] == ["read", "write", "admin"]
    assert table == [[True, False, False], [True, True, False], [True, True, True]]


def test_whoever_shows_a_token_is_known(kit: Kit) -> None:
    shown = {name: kit.service.create(name, Tier.WRITE) for name in ("a", "b")}

    for name, token in shown.items():
        row = kit.service.verify(token)
        assert row is not None
        assert (row.name, row.tier, row.created_at, row.expires_at) == (name, "write", 1e3, None)
    assert [row.name for row in kit.service.tokens()] == ["a", "b"]


def test_only_a_hash_of_the_secret_is_kept(kit: Kit) -> None:
    prefix, token_id, secret = kit.service.create("a", Tier.READ).split("_", 2)

    (row,) = kit.storage.tokens()
    assert (prefix, token_id) == ("pyrite", row.token_id)
    assert row.digest == hashlib.sha256(secret.encode()).digest()
    assert secret not in repr(row)
    assert len(secret) >= 43


def test_no_two_tokens_are_alike(kit: Kit) -> None:
    made = {kit.service.create(str(number), Tier.READ) for number in range(50)}

    assert len({token.split("_", 2)[1] for token in made}) == 50
    assert len({token.split("_", 2)[2] for token in made}) == 50


@pytest.mark.parametrize(
    "alter",
    [
        lambda token, other: "",
        lambda token, other: "_",
        lambda token, other: "pyrite__",
        lambda token, other: token[:-1],
        lambda token, other: token + "x",
        lambda token, other: token.upper(),
        lambda token, other: token.removeprefix("pyrite_"),
        lambda token, other: token.replace("pyrite_", "other_"),
        lambda token, other: " " + token,
        lambda token, other: "pyrite_" + token.split("_", 2)[1] + "_",
        lambda token, other: "_".join((*token.split("_", 2)[:2], other.split("_", 2)[2])),
        lambda token, other: "pyrite_unknown_" + token.split("_", 2)[2],
        lambda token, other: token[:-1] + "ü",
        lambda token, other: token[:-1] + "\udcff",
        lambda token, other: "\x00" * 10_000,
    ],
)
def test_what_is_not_a_token_is_refused(kit: Kit, alter: object) -> None:
    token, other = kit.service.create("a", Tier.READ), kit.service.create("b", Tier.READ)

    altered = alter(token, other)  # type: ignore[operator]

    assert altered != token
    assert kit.service.verify(altered) is None


def test_unknown_ids_are_compared_as_well(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    truly = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return truly(one, other)

    monkeypatch.setattr(tokens.hmac, "compare_digest", compare)
    assert kit.service.verify("pyrite_unknown_secret") is None
    assert kit.service.verify(kit.service.create("a", Tier.READ))
    assert compared == [(32, 32)] * 2


def test_a_token_expires(kit: Kit) -> None:
    token = kit.service.create("a", Tier.READ, expires_in_s=60.0)
    kit.clock.now += 59.9
    assert kit.service.verify(token)
    kit.clock.now += 0.1

    assert kit.service.verify(token) is None
    assert [row.expires_at for row in kit.service.tokens()] == [1060.0]


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_token_is_born_dead(kit: Kit, seconds: float) -> None:
    with pytest.raises(TokenError):
        kit.service.create("a", Tier.READ, expires_in_s=seconds)

    assert kit.service.tokens() == []


def test_a_revoked_token_is_refused(kit: Kit) -> None:
    token, other = kit.service.create("a", Tier.READ), kit.service.create("b", Tier.READ)
    kit.service.revoke("a")

    assert kit.service.verify(token) is None
    assert kit.service.verify(other)
    with pytest.raises(NotFoundError, match="there is no token 'a'"):
        kit.service.revoke("a")


def test_a_name_that_comes_back_is_another_token(kit: Kit) -> None:
    token = kit.service.create("a", Tier.READ)
    with pytest.raises(ConflictError):
        kit.service.create("a", Tier.ADMIN)
    kit.service.revoke("a")
    again = kit.service.create("a", Tier.READ)

    assert kit.service.verify(token) is None
    assert kit.service.verify(again)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[31m", "x" * 101])
def test_a_token_needs_a_name_that_can_be_shown(kit: Kit, name: str) -> None:
    with pytest.raises(TokenError, match="cannot name a token"):
        kit.service.create(name, Tier.READ)


def test_an_expired_token_still_counts_as_one(kit: Kit) -> None:
    """Or what it locked would be open to all once it has expired."""
    assert not kit.service.any()
    kit.service.create("a", Tier.READ, expires_in_s=1.0)
    assert kit.service.any()
    kit.clock.now += 100
    assert kit.service.any()
    kit.service.revoke("a")
    assert not kit.service.any()
