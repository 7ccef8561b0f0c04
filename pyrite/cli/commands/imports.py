"""``pyrite import | export``: whole collections, in and out."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyrite.cli.context import App, json_option, kb_option
from pyrite.cli.filters import filter_options, filters_of
from pyrite.cli.output import entries, note, note_skipped, print_json, say
from pyrite.errors import PyriteError

if TYPE_CHECKING:
    from pyrite.knowledge.import_sources import Format, Source
    from pyrite.knowledge.importing import ImportResult

#: What stands for standard input and output.
_STANDARD = "-"


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--format",
    "given_format",
    type=click.Choice(["obsidian", "markdown", "jsonl"]),
    help="What SOURCE is; left out, it is guessed and said.",
)
@click.option("--into", default="", metavar="FOLDER", help="Put the entries into this folder.")
@click.option("--dry-run", is_flag=True, help="Write nothing; say what would be done.")
@click.option(
    "--on-conflict",
    type=click.Choice(["skip", "replace", "fail"]),
    default="skip",
    show_default=True,
    help="What to do where an entry is there already and differs; fail writes nothing at all.",
)
@click.option("--no-embed", is_flag=True, help="Leave the entries queued.")
@kb_option("Knowledge base; may be left out where there is only one.")
@json_option()
@click.pass_context
def import_entries(
    ctx: click.Context, /, source: Path, *, kb: str | None, as_json: bool, **given: Any
) -> None:
    """Take in a collection: an Obsidian vault, a folder of Markdown, or lines of JSON.

    SOURCE is a folder, a .jsonl file, or `-` for lines of JSON from standard input. Files keep
    their names, folders and bytes; of a vault, #tags in the text are added to the front matter.
    What is there already in the same words is passed over, so an import that was stopped goes
    on when it is run again. What cannot be read is listed, and the exit code is 1.

    \b
    Examples:
      pyrite import ~/vault --kb notes --dry-run
      pyrite import docs --kb notes --into manual --on-conflict replace
      pyrite import entries.jsonl --kb notes
    """
    from pyrite.knowledge.importing import Importer, OnConflict  # noqa: PLC0415

    app: App = ctx.obj
    name = app.kb_named(kb).name
    on_conflict = OnConflict(given["on_conflict"])
    importer = Importer(app.storage, app.kbs, app.sync, name, on_conflict)
    dry = given["dry_run"]
    with ExitStack() as stack:
        form, opened = _source(app, name, source, given, stack)
        if not as_json:
            note(f"{source} is read as {_WORDS[form.value]}.")
        try:
            _run(importer.run, opened, dry=dry, quiet=as_json)
        except KeyboardInterrupt:
            written = entries(importer.durable)
            note(f"stopped: {written} imported; the same command goes on from here")
            raise
    result = importer.result
    if as_json:
        from pyrite.api.commands import Imported  # noqa: PLC0415
        from pyrite.api.index import problems  # noqa: PLC0415

        print_json(
            Imported(
                kb=name,
                format=form.value,
                dry_run=dry,
                created=result.created,
                replaced=result.replaced,
                unchanged=result.unchanged,
                skipped=result.skipped,
                ignored=dict(result.ignored),
                problems=problems(result.problems),
            )
        )
    else:
        say(f"{name}: {_words(result, dry=dry)}")
        note_skipped(result.problems)
    code = 0
    if result.written and not dry:
        code = _embed(app, name, result.written, embed=not given["no_embed"], quiet=as_json)
    ctx.exit(code or (1 if result.problems else 0))


_WORDS = {
    "obsidian": "an Obsidian vault",
    "markdown": "a folder of Markdown",
    "jsonl": "lines of JSON",
}


def _source(
    app: App, kb: str, path: Path, given: dict[str, Any], stack: ExitStack
) -> tuple[Format, Source]:
    """What to read, and as what."""
    from pyrite.knowledge import import_sources as sources  # noqa: PLC0415
    from pyrite.knowledge.importing import check_apart  # noqa: PLC0415
    from pyrite.markdown.ids import check_id  # noqa: PLC0415

    most, into = app.settings.max_file_bytes, given["into"].strip("/")
    if into:
        into = check_id(into)
    standard = str(path) == _STANDARD
    guessed = given["given_format"] or (
        sources.Format.JSONL if standard else sources.format_of(path)
    )
    form = sources.Format(guessed)
    if form is sources.Format.JSONL:
        if standard:
            # A collection may be read twice; standard input cannot.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pyrite-"))
            copy = Path(folder, "lines")
            with copy.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            return form, sources.JsonLines(copy, most, into, "standard input")
        if not path.is_file():
            raise click.UsageError(f"{path} is no file.")
        return form, sources.JsonLines(path, most, into)
    if standard or not path.is_dir():
        raise click.UsageError(f"{path} is no folder.")
    check_apart(path, app.kbs.folder(kb))
    return form, sources.Folder(path, most, into, vault=form is sources.Format.OBSIDIAN)


def _run(run: Any, source: Source, *, dry: bool, quiet: bool) -> None:
    from pyrite.cli.progress import counting  # noqa: PLC0415

    with counting("importing", quiet=quiet) as progress:
        run(source, dry_run=dry, progress=progress)


def _embed(app: App, kb: str, written: int, *, embed: bool, quiet: bool) -> int:
    """See to what has been queued; the exit code."""
    from pyrite.cli.drain import drain  # noqa: PLC0415

    if embed and app.embedding.live_worker() is not None:
        if not quiet:
            note(f"{entries(written)} queued for the worker that is running.")
        return 0
    if not embed:
        if not quiet:
            note(f"{entries(written)} queued; `pyrite index embed --kb {kb}` embeds them.")
        return 0
    try:
        drained = drain(app, kb, quiet=quiet)
    except PyriteError as error:
        # They are imported, whatever is the matter with the model.
        note(f"Warning: {entries(written)} queued and not embedded: {error}")
        return 0
    left = app.embedding.counts(kb).unfinished
    if not quiet:
        queued = f"; {left:,} still queued" if left else ""
        note(f"{entries(drained.embedded)} embedded{queued}.")
    return drained.exit_code


def _words(result: ImportResult, *, dry: bool) -> str:
    parts = [
        f"{number:,} {word}"
        for number, word in (
            (len(result.created), "would be created" if dry else "created"),
            (len(result.replaced), "would be replaced" if dry else "replaced"),
            (result.unchanged, "there already"),
            (len(result.skipped), "there already and different, left as they are"),
            (len(result.problems), "could not be read"),
            *(
                (number, f"{what.removesuffix('s') if number == 1 else what} passed over")
                for what, number in result.ignored.items()
            ),
        )
        if number
    ]
    return ", ".join(parts) or "nothing there"


@click.command()
@click.argument("target", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--format",
    "given_format",
    type=click.Choice(["markdown", "jsonl"]),
    help="What to write; left out, lines of JSON for `-` and .jsonl, and else files.",
)
@filter_options
@json_option()
@click.pass_context
def export(
    ctx: click.Context, /, target: Path, *, given_format: str | None, as_json: bool, **given: Any
) -> None:
    """Copy entries out: as their files, with their folders, or as lines of JSON.

    TARGET is a folder, a new .jsonl file, or `-` for standard output. The entries are those
    that are indexed; the options confine them as in `pyrite list`. `pyrite import` reads what
    this writes.

    \b
    Examples:
      pyrite export ~/copy --kb notes
      pyrite export - --kb notes --tag ops > ops.jsonl
    """
    from pyrite.cli.progress import counting  # noqa: PLC0415
    from pyrite.knowledge.exporting import Exporter  # noqa: PLC0415

    app: App = ctx.obj
    filters = filters_of(given)
    if len(filters.kbs) > 1:
        raise click.UsageError("Export one knowledge base at a time.")
    kb = app.kb_named(filters.kbs[0] if filters.kbs else None).name
    standard = str(target) == _STANDARD
    lines = standard or target.suffix.lower() in {".jsonl", ".ndjson"}
    form = given_format or ("jsonl" if lines else "markdown")
    if standard and (form != "jsonl" or as_json):
        raise click.UsageError("Standard output takes lines of JSON, and nothing else beside.")
    exporter = Exporter(app.storage, app.kbs, app.settings, kb, filters)
    with counting("exporting", quiet=as_json or standard) as progress:
        if standard:
            for line in exporter.lines(progress):
                sys.stdout.buffer.write(line.encode())
            return
        write = exporter.to_file if form == "jsonl" else exporter.to_folder
        result = write(target, progress)
    if as_json:
        from pyrite.api.commands import Exported  # noqa: PLC0415
        from pyrite.api.index import problems  # noqa: PLC0415

        print_json(
            Exported(
                kb=kb,
                format=form,
                exported=result.exported,
                unchanged=result.unchanged,
                problems=problems(result.problems),
            )
        )
    else:
        there = f", {result.unchanged:,} there already" if result.unchanged else ""
        say(f"{kb}: {entries(result.exported)} exported to {target}{there}")
        note_skipped(result.problems)
    ctx.exit(1 if result.problems else 0)
