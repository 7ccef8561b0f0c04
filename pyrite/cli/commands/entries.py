"""``pyrite create | update | get | delete | list``: entries, by hand or from a program."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from pyrite.cli.commands.completion import entry_ids
from pyrite.cli.content import content_options, fields_of, only_tags, text_of
from pyrite.cli.context import App, json_option, kb_option, pass_app
from pyrite.cli.filters import filter_options, filters_of
from pyrite.cli.output import announced, note, print_json, say, table

if TYPE_CHECKING:
    from pyrite.embedding.fallback import WriteOutcome
    from pyrite.knowledge.service import WriteResult
    from pyrite.markdown.entry import JSON

_KB = "Knowledge base; may be left out where there is only one."

#: What a shell expects of a command that Ctrl-C has ended.
_INTERRUPTED = 130


@click.command()
@click.option("--title", required=True, help="The entry's title.")
@click.option("--id", "entry_id", metavar="ID", help="Its path in the folder, without `.md`.")
@content_options
@kb_option(_KB)
@json_option()
@pass_app
def create(app: App, /, *, kb: str | None, as_json: bool, **given: Any) -> int:
    """Write a new entry: a Markdown file with front matter, indexed and queued at once.

    The id is made from the title unless --id names one; folders in it are created. If no worker
    is running that embeds the entry, this command does, once it is written; --no-embed leaves
    it queued.

    \b
    Examples:
      pyrite create --title "Backups" --tag ops --body "We keep 30 days."
      pyrite create --id log/2026-11-22 --title "Monday" --body - < notes.txt
    """
    from pyrite.vault.entry_files import Draft  # noqa: PLC0415

    draft = Draft(
        title=given["title"],
        id=given["entry_id"],
        summary=given["summary"] or "",
        tags=given["tags"],
        body=text_of(given) or "",
        fields=fields_of(given["fields"]),
        **({"type": given["entry_type"]} if given["entry_type"] else {}),
    )
    result = app.kbs.create_entry(app.kb_named(kb).name, draft)
    return _wrote(app, result, "created", embed=not given["no_embed"], as_json=as_json)


@click.command()
@click.argument("entry_id", metavar="ID", shell_complete=entry_ids)
@click.option("--title", help="The entry's title.")
@content_options
@click.option(
    "--untag", "untags", callback=only_tags, multiple=True, metavar="TAG", help="Take a tag away."
)
@click.option("--unset", multiple=True, metavar="NAME", help="Remove a front-matter field.")
@click.option(
    "--if-revision", type=int, metavar="N", help="Refuse unless the entry is at this revision."
)
@kb_option(_KB)
@json_option()
@pass_app
def update(app: App, /, entry_id: str, *, kb: str | None, as_json: bool, **given: Any) -> int:
    """Change an entry; what is not named stays as it is, byte for byte.

    --tag adds a tag to those there are, and --untag takes one away. If no worker is running that
    embeds the entry, this command does, once it is written; --no-embed leaves it queued.

    \b
    Examples:
      pyrite update backups --summary "How long we keep them"
      pyrite update backups --untag draft --field reviewed=2026-11-22 --if-revision 7
    """
    from pyrite.vault.entry_files import Edit  # noqa: PLC0415

    name = app.kb_named(kb).name
    changes = fields_of(given["fields"])
    for field, option in (("title", "title"), ("type", "entry_type"), ("summary", "summary")):
        if given[option] is not None:
            changes[field] = given[option]
    edit = Edit(changes, given["unset"], text_of(given), given["tags"], given["untags"])
    if edit == Edit():
        raise click.UsageError("Say what to change; `pyrite update --help` lists the options.")
    result = app.kbs.update_entry(name, entry_id, edit, expected_revision=given["if_revision"])
    verb = "updated" if result.changed else "unchanged"
    return _wrote(app, result, verb, embed=not given["no_embed"], as_json=as_json)


@click.command()
@click.argument("entry_id", metavar="ID", shell_complete=entry_ids)
@kb_option(_KB)
@json_option()
@pass_app
def get(app: App, entry_id: str, *, kb: str | None, as_json: bool) -> None:
    """Show an entry.

    \b
    Example:
      pyrite get log/2026-11-22 --json
    """
    stored = app.kbs.get_entry(app.kb_named(kb).name, entry_id)
    if as_json:
        from pyrite.api import entries  # noqa: PLC0415

        print_json(entries.entry(stored, path=stored.path))
        return
    entry = stored.entry
    shown = {
        "title": entry.title,
        "id": entry.id,
        "type": entry.type,
        "summary": entry.summary,
        "tags": ", ".join(entry.tags),
        **{name: _shown(value) for name, value in entry.fields.items()},
        "revision": str(stored.revision),
        "embedding": stored.embedding.value,
    }
    width = max(map(len, shown))
    for name, value in shown.items():
        if value:
            say(value, margin=f"{name:{width}}  ")
    say()
    # As it stands in the file: a program's lines must not be broken.
    say(entry.body.rstrip("\n"), wrap=False)


@click.command()
@click.argument("entry_id", metavar="ID", shell_complete=entry_ids)
@click.option(
    "--if-revision", type=int, metavar="N", help="Refuse unless the entry is at this revision."
)
@kb_option(_KB)
@json_option()
@pass_app
def delete(
    app: App, entry_id: str, *, if_revision: int | None, kb: str | None, as_json: bool
) -> None:
    """Delete an entry and its file.

    What git has committed can be brought back with git.

    \b
    Example:
      pyrite delete log/2026-11-22
    """
    name = app.kb_named(kb).name
    app.kbs.delete_entry(name, entry_id, expected_revision=if_revision)
    if as_json:
        from pyrite.api.entries import Deleted  # noqa: PLC0415

        print_json(Deleted(kb=name, id=entry_id))
    else:
        say(f"deleted {entry_id}")


@click.command("list")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Skip so many first.")
@filter_options
@json_option()
@pass_app
def list_entries(
    app: App, /, *, limit: int | None, offset: int, as_json: bool, **given: Any
) -> None:
    """List entries.

    \b
    Examples:
      pyrite list --tag ops
      pyrite list --kb notes --limit 20 --json
    """
    one_more = None if limit is None else limit + 1
    found = app.kbs.list_entries(filters_of(given), limit=one_more, offset=offset)
    if as_json:
        from pyrite.api import entries  # noqa: PLC0415

        rows = [entries.listed(stored, path=stored.path) for stored in found]
        print_json(entries.page(rows, limit))
        return
    if not found:
        note("No entry is indexed that fits. `pyrite index sync` reads the folders.")
    table(
        ("knowledge base", "id", "title", "type", "tags", "embedding"),
        [
            (
                *(stored.kb, stored.entry.id, stored.entry.title, stored.entry.type),
                *(", ".join(stored.entry.tags), stored.embedding.value),
            )
            for stored in found[:limit]
        ],
    )


def _shown(value: JSON) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _wrote(app: App, result: WriteResult, verb: str, *, embed: bool, as_json: bool) -> int:
    """Say that it is written, see to its embedding, and say how that stands; the exit code."""
    if not as_json:
        # At once: whatever comes of the embedding, this is done.
        say(f"{verb} {result.id} (revision {result.revision})")
        sys.stdout.flush()
    outcome = _embed(app, result, embed=embed, quiet=as_json)
    if as_json:
        from pyrite.api import entries  # noqa: PLC0415

        told = {"path": str(result.path), "warning": outcome.warning}
        print_json(entries.written(result, outcome.embedding, **told))
    if outcome.warning is not None:
        note(f"Warning: {outcome.warning}")
    elif outcome.embedding.value == "pending" and not as_json:
        note(_QUEUED[outcome.handling.value])
    return _INTERRUPTED if outcome.interrupted else 0


_QUEUED = {
    "queue": "It is queued; `pyrite index embed` makes it searchable now.",
    "worker": "It is queued for the worker that is running.",
    "embed": "It is queued: it was changed once more while it was being embedded.",
}


def _embed(app: App, result: WriteResult, *, embed: bool, quiet: bool) -> WriteOutcome:
    from pyrite.embedding.fallback import Fallback  # noqa: PLC0415

    fallback = Fallback(app.storage, lambda: app.encoder, app.embedding, lambda: app.settings)
    with announced("embedding it: loading the model ...", quiet=quiet):
        return fallback.after([(result.kb, result.id)], embed=embed)
