"""``pyrite kb``: which folders are knowledge bases."""

from __future__ import annotations

from pathlib import Path

import click

from pyrite.cli.completion import kb_names
from pyrite.cli.context import App, json_option, pass_app
from pyrite.cli.output import note, print_json, say, table


@click.group()
def kb() -> None:
    """Register folders of Markdown as knowledge bases."""


@kb.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option()
@pass_app
def add(app: App, name: str, folder: Path, *, as_json: bool) -> None:
    """Register FOLDER as the knowledge base NAME. Its files are not touched.

    \b
    Example:
      pyrite kb add notes ~/notes
    """
    added = app.kbs.add_kb(name, folder)
    if as_json:
        print_json({"name": added.name, "path": added.path})
        return
    say(f"{added.name} is {added.path}")
    note("Next: `pyrite index sync` reads its files, `pyrite index embed` makes them searchable.")


@kb.command("list")
@json_option()
@pass_app
def list_kbs(app: App, *, as_json: bool) -> None:
    """List knowledge bases with the state of their entries.

    \b
    Example:
      pyrite kb list
    """
    rows = [(kb, app.storage.counts(kb.name)) for kb in app.kbs.kbs()]
    if as_json:
        print_json(
            {
                "kbs": [
                    {
                        "name": kb.name,
                        "path": kb.path,
                        "entries": counts.total,
                        "embedded": counts.done,
                        "pending": counts.unfinished,
                        "failed": counts.failed,
                    }
                    for kb, counts in rows
                ]
            }
        )
        return
    if not rows:
        note("There is no knowledge base yet. `pyrite kb add NAME FOLDER` registers one.")
        return
    table(
        ("name", "entries", "embedded", "pending", "failed", "folder"),
        [
            (kb.name, f"{c.total}", f"{c.done}", f"{c.unfinished}", f"{c.failed}", kb.path)
            for kb, c in rows
        ],
    )


@kb.command()
@click.argument("name", shell_complete=kb_names)
@json_option()
@pass_app
def remove(app: App, name: str, *, as_json: bool) -> None:
    """Forget the knowledge base NAME. Its files stay as they are.

    \b
    Example:
      pyrite kb remove notes
    """
    folder = app.kbs.kb(name).path
    app.kbs.remove_kb(name)
    if as_json:
        print_json({"name": name, "path": folder})
    else:
        say(f"{name} is forgotten; its files are still in {folder}")
