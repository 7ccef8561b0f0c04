"""``pyrite search | related``: by meaning and by words, and what is near an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pyrite.cli.commands.completion import entry_ids
from pyrite.cli.context import App, json_option, pass_app
from pyrite.cli.filters import filter_options, filters_of
from pyrite.cli.output import announced, duration, entries, note, print_json, say
from pyrite.cli.screen import Bold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrite.search.excerpts import Excerpt
    from pyrite.search.freshness import Pending, Waited
    from pyrite.search.related import RelatedHit
    from pyrite.search.service import Hit, Scores

#: Before what is said of a hit, under its title.
_MARGIN = " " * 5

_MODES = ("hybrid", "semantic", "keyword")

_FRESHNESS = {
    "fresh": "",
    "stale": "  (changed since it was embedded)",
    "missing": "  (not embedded yet)",
}


#: Before an argument that is no option; it cannot stand in one.
_MARK = "\0"


class _QueryCommand(click.Command):
    """A command whose arguments are words, of which one may begin with a hyphen."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        last = args.index("--") if "--" in args else len(args)
        before = args[:last]
        # "-hidden" would be "-h", with something after it.
        marked = [_MARK + arg if arg.startswith("-h") and arg != "-h" else arg for arg in before]
        rest = super().parse_args(ctx, [*marked, *args[last:]])
        words = tuple(word.removeprefix(_MARK) for word in ctx.params.get("query") or ())
        for word in words:
            # An option that there is not is a mistake; after "--" it is a word.
            if word.startswith("--") and word in before:
                raise click.NoSuchOption(word.partition("=")[0], ctx=ctx)
        ctx.params["query"] = words
        return rest


@click.command(
    cls=_QueryCommand,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("query", nargs=-1, required=True)
@click.option(
    "--mode",
    type=click.Choice(_MODES),
    default="hybrid",
    show_default=True,
    help="By meaning, by words, or both.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1, max=1000),
    default=10,
    show_default=True,
    help="Entries to find, at most.",
)
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Skip so many first.")
@click.option(
    "--wait-for",
    type=click.IntRange(min=1),
    metavar="REVISION",
    help="Wait until this write can be found by meaning.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="How long to wait for it, in seconds.",
)
@filter_options
@json_option()
@pass_app
def search(app: App, /, query: tuple[str, ...], *, as_json: bool, **given: Any) -> None:
    """Find entries by meaning and by words.

    A "phrase" has to stand in an entry as it is, and -word must not; OR, parentheses, back*,
    tag:ops, type:note, path:ops/, title:word, since:2026-11-01 and field:value narrow it further.
    After -- no argument is an option.

    \b
    Examples:
      pyrite search how long do we keep backups
      pyrite search "release process" --kb notes --limit 3 --json
      pyrite search '"error 137"' --mode keyword
      pyrite search backup -tape tag:ops
      pyrite search standup --tag team --since 2026-11-01 --field author=Kim
    """
    from pyrite.search.query import Mode, SearchRequest  # noqa: PLC0415

    request = SearchRequest(
        query=" ".join(query),
        mode=Mode(given["mode"]),
        filters=filters_of(given),
        limit=given["limit"],
        offset=given["offset"],
        wait_for=given["wait_for"],
        timeout_s=given["timeout"],
    )
    request.check()
    app.kbs.check_filters(request.filters)
    waits = request.wait_for is not None and request.mode is not Mode.KEYWORD
    what = f"waiting for revision {request.wait_for}" if waits else "loading the model"
    with announced(f"{what} ...", quiet=as_json):
        result = app.search.search(request)
    if as_json:
        from pyrite.api.found import search_result  # noqa: PLC0415

        print_json(search_result(result))
        return
    if result.waited is not None:
        _waited(result.waited)
    for place, hit in enumerate(result.hits, request.offset + 1):
        _show(place, hit, _why(hit.scores))
    if not result.hits:
        note("Nothing was found.")
    elif result.more:
        note(f"There is more: --offset {request.offset + len(result.hits)}")
    if result.corrected is not None:
        note(f"Note: no entry has these words; searched for: {result.corrected}")
    if result.partial:
        note("Note: the time ran out before all was looked at; fewer filters or rarer words help.")
    for hint in result.hints:
        note(f"Note: {hint}.")
    if result.warning is not None:
        note(f"Note: {result.warning}")
    if request.mode is not Mode.KEYWORD:
        _not_searched(result.freshness)


@click.command()
@click.argument("entry_id", metavar="ID", shell_complete=entry_ids)
@click.option(
    "--limit",
    type=click.IntRange(min=1, max=1000),
    default=10,
    show_default=True,
    help="Entries to find, at most.",
)
@click.option("--of", metavar="NAME", help="The knowledge base that ID is in.")
@filter_options
@json_option()
@pass_app
def related(
    app: App, /, entry_id: str, *, limit: int, of: str | None, as_json: bool, **given: Any
) -> None:
    """Find the entries that are about the same as entry ID.

    Two entries are near if some of their passages are. The options on knowledge bases, types
    and so on say which entries may be found; --of says where ID itself is, and may be left out
    where there is only one knowledge base. No model is loaded.

    \b
    Examples:
      pyrite related ops/backups
      pyrite related ops/backups --of notes --kb wiki --limit 5 --json
    """
    from pyrite.search.related import related as find  # noqa: PLC0415

    filters = filters_of(given)
    app.kbs.check_filters(filters)
    stored = app.kbs.get_entry(app.kb_named(of).name, entry_id)
    key = stored.kb, stored.entry.id
    result = find(app.storage, app.search.nearest_entries(), key, filters, limit)
    if as_json:
        from pyrite.api.found import related_result  # noqa: PLC0415

        print_json(related_result(result))
        return
    for place, hit in enumerate(result.hits, 1):
        _show(place, hit, f"meaning {hit.score:.3f}")
    if result.embedded == "missing":
        note(f"{entry_id} is not embedded yet: `pyrite index embed` embeds it.")
    elif not result.hits:
        note("Nothing was found.")
    _not_searched(result.freshness)


def _show(place: int, hit: Hit | RelatedHit, why: str) -> None:
    """Print a hit: its title, where it is, its best passage, and why it was found."""
    say(Bold(hit.title), margin=f"{place:>3}  ")
    where = " > ".join((f"{hit.kb}/{hit.id}", *hit.passage.headings))
    say(where, _FRESHNESS[hit.freshness], margin=_MARGIN)
    if hit.passage.text:
        say(*_highlighted(hit.passage), margin=_MARGIN)
    say(why, margin=_MARGIN)
    say()


def _highlighted(passage: Excerpt) -> Iterator[str]:
    """The excerpt in parts, the query's words emphasised."""
    place = 0
    for start, end in passage.highlights:
        yield passage.text[place:start]
        yield Bold(passage.text[start:end])
        place = end
    yield passage.text[place:]


def _why(scores: Scores) -> str:
    """What brought a hit where it is."""
    parts = []
    if scores.semantic_rank is not None:
        parts.append(f"meaning #{scores.semantic_rank} ({scores.semantic:.3f})")
    if scores.keyword_rank is not None:
        parts.append(f"words #{scores.keyword_rank} ({scores.keyword:.2f})")
    return ", ".join(parts)


def _waited(waited: Waited) -> None:
    what = {
        "failed": "could not be embedded; `pyrite index embed --failed` says why",
        "superseded": "is no longer the present one: its entry was changed or deleted",
        "timed_out": f"is still queued after {duration(waited.seconds)}; `pyrite index embed` "
        "embeds it if no worker does",
    }
    if waited.outcome in what:
        note(f"Note: revision {waited.revision} {what[waited.outcome]}.")


def _not_searched(freshness: Pending) -> None:
    if freshness.pending:
        age = freshness.oldest_pending_age_s
        since = "" if age is None else f", the oldest for {duration(age)}"
        note(
            f"Still to be embedded: {entries(freshness.pending)}{since}; a search by meaning may "
            "not know their present text."
        )
    if freshness.failed:
        note(
            f"Could not be embedded: {entries(freshness.failed)}; "
            "see `pyrite index embed --failed`."
        )
