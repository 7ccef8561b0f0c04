"""``pyrite backup | compact``: a copy of the database, and the room that it takes."""

from __future__ import annotations

from pathlib import Path

import click

from pyrite.cli.context import App, json_option, pass_app
from pyrite.cli.output import announced, print_json, say

_MEGABYTE = 10**6


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option()
@pass_app
def backup(app: App, *, file: Path, as_json: bool) -> None:
    """Copy the database to FILE, where nothing is yet, while everything else goes on.

    The folders of Markdown are not in it. `pyrite handbook` has a page on restoring it,
    `operations/backup`.

    \b
    Example:
      pyrite backup /backups/pyrite-2026-11-22.db
    """
    from pyrite.cli.progress import counting  # noqa: PLC0415

    database = app.settings.database_path
    _require(database)
    with counting("copied, in MB", quiet=as_json) as show:
        size = app.storage.backup(file, lambda done, of: show(done // _MEGABYTE, of // _MEGABYTE))
    if as_json:
        from pyrite.api import commands  # noqa: PLC0415

        print_json(commands.BackupFile(file=str(file), bytes=size))
    else:
        say(f"copied {database} to {file}: {size / _MEGABYTE:,.1f} MB")


@click.command()
@json_option()
@pass_app
def compact(app: App, *, as_json: bool) -> None:
    """Give the disk back what the database no longer needs, after much was removed.

    The database is made anew in its place. Others can search meanwhile, but whoever writes waits,
    and gives up after half a minute: stop the server first if the database is large. It takes as
    much free space as the database has, for a while.

    \b
    Example:
      pyrite compact
    """
    database = app.settings.database_path
    _require(database)
    before = app.storage.space().size
    with announced("compacting the database; Ctrl-C leaves it as it is ...", quiet=as_json):
        after = app.storage.compact().size
    if as_json:
        from pyrite.api import commands  # noqa: PLC0415

        print_json(commands.Compacted(database=str(database), bytes_before=before, bytes=after))
    else:
        say(f"{database} had {before / _MEGABYTE:,.1f} MB and has {after / _MEGABYTE:,.1f} MB")


def _require(database: Path) -> None:
    from pyrite.errors import BackupError  # noqa: PLC0415

    if not database.exists():
        # Opening it would make an empty one, and what was copied would look like a backup.
        raise BackupError(f"there is no database {database}; PYRITE_HOME names another home")
