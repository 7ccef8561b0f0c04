"""Options that confine a command to some entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pyrite.cli.commands.completion import kb_names
from pyrite.cli.content import only_tags
from pyrite.cli.context import Decorator

if TYPE_CHECKING:
    from pyrite.storage.records import Filters

_OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--kb",
        "kbs",
        multiple=True,
        metavar="NAME",
        help="Only of this knowledge base.",
        shell_complete=kb_names,
    ),
    click.option("--type", "types", multiple=True, metavar="TYPE", help="Only of this type."),
    click.option(
        "--tag",
        "tags",
        callback=only_tags,
        multiple=True,
        help="Only with this tag; with all, if several.",
    ),
    click.option("--since", metavar="DAY", help="Only of this day (YYYY-MM-DD) or later."),
    click.option("--until", metavar="DAY", help="Only of this day (YYYY-MM-DD) or earlier."),
    click.option(
        "--field",
        "fields",
        multiple=True,
        metavar="NAME=VALUE",
        help="Only with this value in a front-matter field, or in a list there.",
    ),
)


def filter_options(function: Callable[..., object]) -> Callable[..., object]:
    """Add the options; :func:`filters_of` reads what they were given."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def filters_of(given: dict[str, Any]) -> Filters:
    """Take the filters out of a command's options."""
    from pyrite.storage.records import Filters  # noqa: PLC0415

    fields: dict[str, str] = {}
    for pair in given.pop("fields"):
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise click.UsageError(f"--field takes NAME=VALUE, not {pair!r}.")
        if name in fields:
            raise click.UsageError(f"--field {name} is given twice.")
        fields[name] = value
    return Filters(
        kbs=given.pop("kbs"),
        types=given.pop("types"),
        tags=given.pop("tags"),
        since=given.pop("since"),
        until=given.pop("until"),
        fields=fields,
    )
