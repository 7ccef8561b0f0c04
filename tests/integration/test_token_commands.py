"""``pyrite token``, as a person and as a program uses it."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from pyrite.auth.tokens import Tier, TokenService
from pyrite.storage.records import TokenRow
from pyrite.storage.sqlite.store import SqliteStorage
from tests.integration.shell import Shell

DAY_S = 86_400


def verify(shell: Shell, token: str) -> TokenRow | None:
    with closing(SqliteStorage(shell.home / "pyrite.db")) as storage:
        return TokenService(storage).verify(token)


def test_a_token_is_made_and_shown_once(shell: Shell) -> None:
    ran = shell.ok("token", "create", "my phone", "--tier", "read")

    token = ran.out.removesuffix("\n")
    assert token.startswith("pyrite_")
    assert "the only time that it is shown" in ran.err
    row = verify(shell, token)
    assert row is not None
    assert (row.name, row.tier, row.expires_at) == ("my phone", "read", None)
    secret = token.split("_", 2)[2]
    for listed in (shell.ok("token", "list"), shell.ok("token", "list", "--json")):
        assert "my phone" in listed.out
        assert secret not in listed.out


def test_programs_get_it_as_json(shell: Shell) -> None:
    before = time.time()
    shell.ok("token", "create", "other", "--tier", "write")
    made = shell.ok("token", "create", "ci", "--tier", "admin", "--expires", "0.5", "--json").json

    row = verify(shell, made.pop("token"))
    assert row is not None
    assert before <= made["created_at"] <= time.time()
    assert made == {
        "name": "ci",
        "id": row.token_id,
        "tier": "admin",
        "created_at": row.created_at,
        "expires_at": row.created_at + DAY_S / 2,
        "expired": False,
    }
    listed = shell.ok("token", "list", "--json").json
    assert listed["tokens"][0] == made
    assert [each["name"] for each in listed["tokens"]] == ["ci", "other"]


def test_tokens_are_listed_with_their_ends(shell: Shell) -> None:
    empty = shell.ok("token", "list")
    assert (empty.out, "pyrite token create" in empty.err) == ("", True)
    assert shell.ok("token", "list", "--json").json == {"tokens": []}
    shell.ok("token", "create", "a", "--tier", "read")
    with closing(SqliteStorage(shell.home / "pyrite.db")) as storage:
        past = TokenService(storage, lambda: time.time() - 2 * DAY_S)
        past.create("b", Tier.WRITE, expires_in_s=DAY_S)

    lines = [line.split("\t") for line in shell.ok("token", "list").out.splitlines()]
    assert [line[:2] for line in lines] == [["a", "read"], ["b", "write"]]
    assert lines[0][3] == "never"
    assert lines[1][3].endswith(" (expired)")
    assert [t["expired"] for t in shell.ok("token", "list", "--json").json["tokens"]] == [
        False,
        True,
    ]


def test_a_revoked_token_is_refused(shell: Shell) -> None:
    token = shell.ok("token", "create", "a", "--tier", "admin").out.strip()
    shell.ok("token", "create", "b", "--tier", "read")
    ran = shell.ok("token", "revoke", "a")
    assert (ran.out, ran.err) == ("a is revoked\n", "")

    assert verify(shell, token) is None
    assert "there is no token 'a'" in shell.refused("token", "revoke", "a")
    shell.ok("token", "create", "a", "--tier", "read")
    assert shell.ok("token", "revoke", "a", "--json").json == {"name": "a"}


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_of_the_last_one_it_is_said_what_follows(shell: Shell, more: list[str]) -> None:
    shell.ok("token", "create", "a", "--tier", "read")

    assert "the last token" in shell.ok("token", "revoke", "a", *more).err


def test_a_name_is_given_once(shell: Shell) -> None:
    shell.ok("token", "create", "a", "--tier", "read")

    said = shell.refused("token", "create", "a", "--tier", "admin")
    assert "`pyrite token revoke a`" in said
    assert "cannot name a token" in shell.refused("token", "create", " ", "--tier", "read")


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "a"),
        ("create", "a", "--tier", "root"),
        ("create", "a", "--tier", "read", "--expires", "0"),
        ("create", "a", "--tier", "read", "--expires", "soon"),
        ("create", "--tier", "read"),
        ("revoke",),
    ],
)
def test_wrong_usage_makes_nothing(shell: Shell, arguments: tuple[str, ...]) -> None:
    shell.refused("token", *arguments, code=2)

    assert shell.ok("token", "list", "--json").json == {"tokens": []}
