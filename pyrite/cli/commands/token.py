"""``pyrite token``: who may do what through the server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from pyrite.cli.context import App, json_option, pass_app
from pyrite.cli.output import DAY, moment, note, print_json, say, table

if TYPE_CHECKING:
    from pyrite.storage.records import TokenRow


@click.group()
def token() -> None:
    """Make, list and revoke tokens, by which the server tells who may do what.

    \b
    Example:
      pyrite token create phone --tier read
    """


@token.command()
@click.argument("name")
@click.option(
    "--tier",
    type=click.Choice(["read", "write", "admin"]),
    required=True,
    help="What it allows: reading; writing entries, too; or everything.",
)
@click.option(
    "--expires",
    metavar="DAYS",
    type=click.FloatRange(min=0, min_open=True),
    help="After how many days it expires; never, if this is not given.",
)
@json_option()
@pass_app
def create(app: App, *, name: str, tier: str, expires: float | None, as_json: bool) -> None:
    """Make a token called NAME and print it, this once.

    Only a hash of it is kept: if it is lost, revoke it and make another.

    \b
    Examples:
      pyrite token create phone --tier read --expires 90
      pyrite token create deploy --tier write > token.txt
    """
    from pyrite.auth.tokens import Tier  # noqa: PLC0415

    tokens = app.tokens
    expires_in_s = None if expires is None else expires * DAY
    made = tokens.create(name, Tier(tier), expires_in_s=expires_in_s)
    if as_json:
        (row,) = (each for each in tokens.tokens() if each.name == name)
        from pyrite.api import commands  # noqa: PLC0415

        print_json(commands.token(row, time.time(), made))
        return
    say(made)
    note("This is the only time that it is shown. Send it as `Authorization: Bearer TOKEN`.")


@token.command("list")
@json_option()
@pass_app
def list_tokens(app: App, *, as_json: bool) -> None:
    """List tokens by name. What their bearers show is not kept, and cannot be listed.

    \b
    Example:
      pyrite token list
    """
    rows = app.tokens.tokens()
    if as_json:
        from pyrite.api import commands  # noqa: PLC0415

        now = time.time()
        print_json(commands.Tokens(tokens=[commands.token(row, now) for row in rows]))
        return
    if not rows:
        note("There is no token yet. `pyrite token create NAME --tier TIER` makes one.")
        return
    table(
        ("name", "tier", "created", "expires"),
        [(row.name, row.tier, moment(row.created_at), _expiry(row)) for row in rows],
    )


@token.command()
@click.argument("name")
@json_option()
@pass_app
def revoke(app: App, *, name: str, as_json: bool) -> None:
    """Revoke the token called NAME. A running server refuses it at once.

    Without any token, all is allowed to whoever uses this computer: the last one says so.

    \b
    Example:
      pyrite token revoke phone
    """
    tokens = app.tokens
    tokens.revoke(name)
    if as_json:
        from pyrite.api import commands  # noqa: PLC0415

        print_json(commands.TokenName(name=name))
    else:
        say(f"{name} is revoked")
    if not tokens.any():
        note(
            "That was the last token. Without any, whoever uses this computer can do everything "
            "through the server, and other computers nothing. To keep it closed, make another."
        )


def _expiry(row: TokenRow) -> str:
    if row.expires_at is None:
        return "never"
    return f"{moment(row.expires_at)}{' (expired)' if row.expires_at <= time.time() else ''}"
