"""``pyrite links``: what an entry links to, what links to it, and links that lead nowhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from pyrite.cli.commands.completion import entry_ids
from pyrite.cli.context import App, json_option, kb_option, pass_app
from pyrite.cli.output import count, note, print_json, table

if TYPE_CHECKING:
    from pyrite.search.links import FoundLink, LinkService


@click.command()
@click.argument("entry_id", metavar="[ID]", required=False, shell_complete=entry_ids)
@click.option("--dangling", is_flag=True, help="List the links that lead nowhere, of all entries.")
@kb_option("Knowledge base; may be left out where there is only one, and with --dangling.")
@json_option()
@pass_app
def links(app: App, entry_id: str | None, *, dangling: bool, kb: str | None, as_json: bool) -> None:
    """Show what an entry links to, and what links to it, each with its line.

    Links are [[wikilinks]], ![[embeds]], and Markdown links to other files of the knowledge
    base. One that several entries could be meant by is ambiguous; one that none answers to is
    dangling, until there is such an entry.

    \b
    Examples:
      pyrite links guide/setup
      pyrite links --dangling --kb notes
    """
    if dangling == (entry_id is not None):
        raise click.UsageError("Give either the ID of an entry or --dangling.")
    service = app.links
    if entry_id is None:
        _dangling(app, service, kb, as_json=as_json)
        return
    found = service.of(app.kb_named(kb).name, entry_id)
    if as_json:
        from pyrite.api import found as api  # noqa: PLC0415

        print_json(api.links(found))
        return
    if not (found.links or found.backlinks):
        note(f"{found.id} has no links, and none lead to it.")
        return
    rows = [("to", _ends(each), str(each.line), _text(each)) for each in found.links]
    rows += [
        ("from", each.entry_id, str(each.line), f"{_text(each)}{_unless_sure(each)}")
        for each in found.backlinks
    ]
    table(("", "entry", "line", "as written"), rows)


def _dangling(app: App, service: LinkService, kb: str | None, *, as_json: bool) -> None:
    names = [each.name for each in app.kbs.kbs()] if kb is None else [kb]
    found = service.dangling(names)
    if as_json:
        from pyrite.api.found import dangling_links  # noqa: PLC0415

        print_json(dangling_links(found))
        return
    if found:
        table(
            ("knowledge base", "entry", "line", "as written"),
            [(each.kb, each.entry_id, str(each.line), _text(each)) for each in found],
        )
    note(f"{count(len(found), 'dangling link')}.")


def _ends(found: FoundLink) -> str:
    """The entries that a link leads to, in words."""
    ids = found.leads_to.ids
    if not ids:
        return "(dangling)"
    return ids[0] if len(ids) == 1 else f"(ambiguous: {', '.join(ids)})"


def _unless_sure(found: FoundLink) -> str:
    return "" if len(found.leads_to.ids) == 1 else " (ambiguous)"


def _text(found: FoundLink) -> str:
    """A link as it stands in the text, or nearly so."""
    link = found.link
    if link.kind.value == "markdown":
        fragment = f"#{_escaped(link.fragment)}" if link.fragment else ""
        return f"({_escaped(link.target)}{fragment})"
    target = f"{link.target}#{link.fragment}" if link.fragment else link.target
    shown = f"|{link.shown}" if link.shown else ""
    return f"{'!' if link.kind.value == 'embed' else ''}[[{target}{shown}]]"


def _escaped(part: str) -> str:
    """What a path is in Markdown, with the escapes that it cannot do without."""
    return re.sub(r"[\s<>#?%]", lambda found: quote(found[0]), part)
