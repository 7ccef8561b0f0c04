"""``pyrite backup``: a copy of the database."""

from __future__ import annotations

from pathlib import Path

import click

from pyrite.cli.context import App, json_option, pass_app
from pyrite.cli.output import print_json, say

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
    from pyrite.errors import BackupError  # noqa: PLC0415

    database = app.settings.database_path
    if not database.exists():
        # Opening it would make an empty one, and what was copied would look like a backup.
        raise BackupError(f"there is no database {database}; PYRITE_HOME names another home")
    with counting("copied, in MB", quiet=as_json) as show:
        size = app.storage.backup(file, lambda done, of: show(done // _MEGABYTE, of // _MEGABYTE))
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        say(f"copied {database} to {file}: {size / _MEGABYTE:,.1f} MB")
