"""``pyrite search``: by meaning."""

from __future__ import annotations

from dataclasses import asdict

import click

from pyrite.cli.context import App, json_option, kb_option, pass_app
from pyrite.cli.output import duration, entries, note, print_json, say


@click.command()
@click.argument("query")
@click.option(
    "--limit",
    type=click.IntRange(min=1, max=1000),
    default=10,
    show_default=True,
    help="Entries to find, at most.",
)
@kb_option("Only in this knowledge base.")
@json_option()
@pass_app
def search(app: App, query: str, *, limit: int, kb: str | None, as_json: bool) -> None:
    """Find the entries nearest in meaning to QUERY.

    \b
    Examples:
      pyrite search "how long do we keep backups?"
      pyrite search "release process" --kb notes --limit 3 --json
    """
    from pyrite.services.search import SearchService, check_query  # noqa: PLC0415

    check_query(query, limit)
    if kb is not None:
        app.kbs.kb(kb)
    if not as_json and app.storage.counts(kb).done:
        note("loading the model ...")
    result = SearchService(app.storage, app.encoder).search(query, kb=kb, limit=limit)
    if as_json:
        print_json(asdict(result))
        return
    for hit in result.hits:
        say(f"{hit.score:5.3f}  {hit.title}")
        say(f"       {hit.kb}/{hit.id}" + (" (changed since)" if hit.freshness == "stale" else ""))
        say(f"       {hit.snippet}")
        say()
    if not result.hits:
        note("Nothing is embedded yet that could be found.")
    pending, failed = result.freshness.pending, result.freshness.failed
    if pending:
        age = result.freshness.oldest_pending_age_s
        since = "" if age is None else f", the oldest for {duration(age)}"
        note(f"Not searched: {entries(pending)} still to be embedded{since}.")
    if failed:
        note(f"Not searched: {entries(failed)} failed; see `pyrite index embed --failed`.")
