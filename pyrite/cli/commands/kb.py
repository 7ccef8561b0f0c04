"""``pyrite kb``: which folders are knowledge bases."""

from __future__ import annotations

from pathlib import Path

import click

from pyrite.cli.commands.completion import kb_names
from pyrite.cli.context import App, json_option, pass_app
from pyrite.cli.output import announced, entries, note, print_json, say, table


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
    overlapping = app.kbs.overlapping(added)
    if as_json:
        from pyrite.api.kbs import KBFolder  # noqa: PLC0415

        names = [other.name for other in overlapping]
        print_json(KBFolder(name=added.name, path=added.path, overlaps=names))
        return
    say(f"{added.name} is {added.path}")
    for other in overlapping:
        inner, outer = sorted((added, other), key=lambda kb: len(kb.path), reverse=True)
        note(
            f"Warning: the folder of {inner.name} lies in that of {outer.name}, {outer.path}: a "
            f"search of both finds its entries twice. `pyrite kb remove {added.name}` undoes this."
        )
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
    known = app.kbs.kbs()
    if as_json:
        from pyrite.api import kbs  # noqa: PLC0415

        print_json(
            kbs.KBs(kbs=[kbs.kb(each, app.kbs, app.embedding, local=True) for each in known])
        )
        return
    rows = [(each, app.embedding.counts(each.name), app.kbs.unavailable(each)) for each in known]
    if not rows:
        note("There is no knowledge base yet. `pyrite kb add NAME FOLDER` registers one.")
        return
    table(
        ("name", "entries", "embedded", "pending", "failed", "folder"),
        [
            (kb.name, f"{c.total}", f"{c.done}", f"{c.unfinished}", f"{c.failed}", kb.path)
            for kb, c, _ in rows
        ],
    )
    for each, _, unavailable in rows:
        if unavailable is not None:
            note(
                f"{each.name} is unavailable: {unavailable}. `pyrite index sync --kb {each.name}` "
                "looks again, and says what to do."
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
    known = entries(app.storage.counts(name).total)
    with announced(f"forgetting {known} of {name} ...", quiet=as_json):
        app.kbs.remove_kb(name)
    if as_json:
        from pyrite.api.kbs import KBFolder  # noqa: PLC0415

        print_json(KBFolder(name=name, path=folder))
    elif Path(folder).is_dir():
        say(f"{name} is forgotten; its files are still in {folder}")
    else:
        say(f"{name} is forgotten; its folder {folder} is not there")
    if app.storage.space().worth_compacting and not as_json:
        note("Much of the database is empty now: `pyrite compact` gives the disk back.")
