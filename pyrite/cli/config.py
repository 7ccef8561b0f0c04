"""``pyrite config``: the settings in force."""

from __future__ import annotations

import os

import click

from pyrite.cli.context import App, json_option, pass_app
from pyrite.cli.output import note, print_json, table


@click.group()
def config() -> None:
    """Show the settings."""


@config.command("list")
@json_option()
@pass_app
def list_settings(app: App, *, as_json: bool) -> None:
    """List every setting with its value and where that comes from.

    \b
    Example:
      PYRITE_THREADS=1 pyrite config list
    """
    from pyrite.config import PREFIX, origins  # noqa: PLC0415

    rows = origins(app.settings, os.environ)
    if as_json:
        print_json(
            {row.name: {"value": row.value, "source": row.source, "help": row.help} for row in rows}
        )
        return
    table(
        ("setting", "value", "from", "what it is"),
        [(row.name, str(row.value), row.source, row.help) for row in rows],
    )
    note(f"Set one with `name = value` in {app.settings.config_path}, or as {PREFIX}NAME=value.")
