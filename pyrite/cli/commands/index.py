"""``pyrite index``: keeping the index in step with the folders, and embedding what is queued."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pyrite.cli.commands import folders
from pyrite.cli.commands.cache import cache
from pyrite.cli.context import App, json_option, kb_option
from pyrite.cli.output import (
    count,
    duration,
    entries,
    moment,
    note,
    note_skipped,
    print_json,
    say,
    table,
)
from pyrite.errors import NotFoundError

if TYPE_CHECKING:
    from pyrite.embedding.service import EmbedStatus
    from pyrite.storage.queue_records import Failure
    from pyrite.storage.records import KnowledgeBase
    from pyrite.vault.sync import SyncResult

#: Failures named at the end of a run; `--failed` lists them all.
_NAMED = 10


_LEFT_BEHIND = ", left behind by a worker that is gone; `pyrite index embed` takes them up"


@click.group()
def index() -> None:
    """Read folders into the index, and embed what is queued."""


index.add_command(cache)
index.add_command(folders.watch)


@index.command()
@kb_option("Only this knowledge base.")
@click.option("--full", is_flag=True, help="Read every file, even those whose date has not moved.")
@click.option(
    "--accept-deletions",
    is_flag=True,
    help="Files that are gone were deleted, even all of them; with --kb.",
)
@json_option()
@click.pass_context
def sync(
    ctx: click.Context, *, kb: str | None, full: bool, accept_deletions: bool, as_json: bool
) -> None:
    """Bring the index in step with the folders: new, changed, renamed and deleted files.

    A file that cannot be read is named with its line and reason, and skipped; what the index
    knew of it stays. Then the exit code is 1.

    If all files of a knowledge base are gone at once, or nearly all of many, a disk may not be
    mounted: nothing is deleted, writes are refused, and the exit code is 1, until the files are
    back or --accept-deletions says that they were deleted.

    \b
    Examples:
      pyrite index sync
      pyrite index sync --kb notes --json
      pyrite index sync --kb notes --accept-deletions
    """
    app: App = ctx.obj
    if accept_deletions and kb is None:
        raise click.UsageError("--accept-deletions goes with --kb: say whose files were deleted.")
    kbs = app.kbs.kbs() if kb is None else [app.kbs.kb(kb)]
    if not kbs:
        note("There is no knowledge base yet. `pyrite kb add NAME FOLDER` registers one.")
    results: list[SyncResult] = []
    missing: list[NotFoundError] = []
    for each in kbs:
        try:
            results.append(_sync(app, each, full=full, accept=accept_deletions, quiet=as_json))
        except NotFoundError as error:
            if kb is not None:
                raise
            missing.append(error)
    if as_json:
        from pyrite.api.index import FolderSyncs, folder_sync  # noqa: PLC0415

        print_json(
            FolderSyncs(
                kbs=[folder_sync(each) for each in results],
                errors=list(map(str, missing)),
                queued=app.embedding.counts(kb).unfinished,
            )
        )
    else:
        _say_queued(app, kb)
    for absent in missing:
        note(f"pyrite: {absent}")
    if missing or any(result.problems for result in results):
        ctx.exit(1)


def _sync(app: App, kb: KnowledgeBase, *, full: bool, accept: bool, quiet: bool) -> SyncResult:
    from pyrite.cli.progress import counting  # noqa: PLC0415

    with counting(f"reading {kb.name}", quiet=quiet) as progress:
        result = app.sync.sync(kb, full=full, accept_deletions=accept, progress=progress)
    if not quiet:
        say(f"{kb.name}: {_sync_words(result)}")
        note_skipped(result.problems)
    return result


def _say_queued(app: App, kb: str | None) -> None:
    """Say how many entries cannot be found by their meaning yet, and who will see to it."""
    queued = app.embedding.counts(kb).unfinished
    if queued and (worker := app.embedding.live_worker()):
        note(f"{entries(queued)} to embed; process {worker.pid} on {worker.host} does that")
    elif queued:
        note(f"{entries(queued)} to embed: `pyrite index embed`")


def _sync_words(result: SyncResult) -> str:
    parts = [
        f"{number:,} {word}"
        for number, word in (
            (len(result.created), "new"),
            (len(result.updated), "changed"),
            (len(result.renamed), "renamed"),
            (len(result.deleted), "deleted"),
            (result.unchanged, "unchanged"),
            (len(result.problems), "skipped"),
        )
        if number
    ]
    return ", ".join(parts) or "nothing there"


@index.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--background",
    is_flag=True,
    help="Drain the queue of every knowledge base.",
)
@click.option(
    "--here",
    is_flag=True,
    help="Embed in this process, even if another one, such as a server, does so already.",
)
@click.option("--force", is_flag=True, help="Encode everything again, whether it changed or not.")
@click.option("--status", is_flag=True, help="Show where embedding stands, and end.")
@click.option("--failed", is_flag=True, help="List the entries that could not be embedded.")
@click.option("--retry-failed", is_flag=True, help="Queue failed entries again: all, or each ID.")
@kb_option("Only this knowledge base.")
@json_option()
@click.pass_context
def embed(
    ctx: click.Context,
    *,
    ids: tuple[str, ...],
    background: bool,
    here: bool,
    force: bool,
    status: bool,
    failed: bool,
    retry_failed: bool,
    kb: str | None,
    as_json: bool,
) -> None:
    """Make entries searchable: embed what is queued, and wait until it is done.

    If another process embeds already, such as a server, this follows its progress, and takes
    over should that one end; Ctrl-C then ends only the following.

    Failures are tried again, after a pause, up to the setting `max_attempts`. The exit code is
    1 if entries have failed for good. Ctrl-C finishes the batch in progress and stops; a second
    Ctrl-C leaves at once. Nothing is lost either way.

    \b
    Examples:
      pyrite index embed                     embed what is queued
      pyrite index embed --background        drain the whole queue
      pyrite index embed --status --json     where it stands
      pyrite index embed --retry-failed      another try for what has failed
    """
    app: App = ctx.obj
    if sum((background, force, status, failed, retry_failed)) > 1:
        raise click.UsageError(
            "--background, --force, --status, --failed and --retry-failed exclude one another."
        )
    if ids and not retry_failed:
        raise click.UsageError("IDs go with --retry-failed.")
    if background and kb is not None:
        raise click.UsageError("--background drains the whole queue; leave it out to use --kb.")
    if here and (status or failed or retry_failed):
        raise click.UsageError("--here is about embedding; leave it out to ask or to retry.")
    if kb is not None:
        app.kbs.kb(kb)
    if status:
        _show_status(app.embedding.status(kb), as_json=as_json)
    elif failed:
        _show_failures(app.embedding.failures(kb), as_json=as_json)
    elif retry_failed:
        retried = app.embedding.retry_failed(kb, ids or None)
        if as_json:
            from pyrite.api.index import Retried, names  # noqa: PLC0415

            print_json(Retried(retried=names(retried)))
        else:
            say(f"{entries(len(retried))} queued again; `pyrite index embed` embeds them now")
    else:
        if force:
            app.embedding.reembed(kb)
        ctx.exit(_embed(app, kb, here=here, as_json=as_json))


def _embed(app: App, kb: str | None, *, here: bool, as_json: bool) -> int:
    """Drain the queue in view of the person; the exit code."""
    from pyrite.cli.drain import drain  # noqa: PLC0415

    result = drain(app, kb, quiet=as_json, here=here)
    failures = app.embedding.failures(kb)
    left = app.embedding.counts(kb).unfinished
    if as_json:
        from pyrite.api import index as api  # noqa: PLC0415

        print_json(
            api.EmbedRun(
                embedded=result.embedded,
                failed=api.failures(failures, str).failures,
                unfinished=left,
                seconds=round(result.seconds, 3),
                stopped_by=result.stopped_by,
                followed=result.followed,
            )
        )
    elif result.stopped_by is not None and result.goes_on:
        say(
            f"stopped following by {result.stopped_by}: process {result.followed} goes on with "
            f"{entries(left)}"
        )
    elif result.stopped_by is not None:
        say(
            f"stopped by {result.stopped_by}: {entries(result.embedded)} embedded, "
            f"{left:,} still queued; `pyrite index embed` goes on from here"
        )
    elif result.embedded:
        say(f"embedded {entries(result.embedded)} in {duration(result.seconds)}")
    elif not failures:
        say(f"nothing to do: {entries(app.embedding.counts(kb).done)} embedded, none queued")
    if failures and not as_json:
        note(f"{entries(len(failures))} could not be embedded:")
        for failure in failures[:_NAMED]:
            note(f"{failure.kb}/{failure.entry_id}: {failure.error}", margin="  ")
        if len(failures) > _NAMED:
            note(f"and {len(failures) - _NAMED:,} more: `pyrite index embed --failed`", margin="  ")
        note("`pyrite index embed --retry-failed` queues them again.")
    if result.exit_code:
        # A model that was still loading would hold up the interpreter's own end.
        app.close()
        result.leave()
    return 1 if failures else 0


def _show_status(status: EmbedStatus, *, as_json: bool) -> None:
    counts, worker, error = status.counts, status.worker, status.last_error
    if as_json:
        from pyrite.api.index import embed_status  # noqa: PLC0415

        print_json(embed_status(status))
        return
    age = status.oldest_pending_age_s
    waiting = "" if age is None else f", the oldest for {duration(age)}"
    say(f"coverage    {status.coverage:.2%} of {entries(counts.total)}")
    say(f"pending     {counts.pending:,}{waiting}")
    left_behind = "" if worker or not counts.processing else _LEFT_BEHIND
    say(f"{counts.processing:,}{left_behind}", margin="processing  ")
    say(f"done        {counts.done:,}")
    say(f"failed      {counts.failed:,}")
    last = "none" if error is None else f"{error.kb}/{error.entry_id}: {error.error}"
    say(last, margin="last error  ")
    say(f"model       {status.model}")
    if worker is None:
        say("worker      none is running")
    else:
        since = f"process {worker.pid} on {worker.host} since {moment(worker.started_at)}"
        reason = f" ({worker.reason})" if worker.reason else ""
        scope = "" if worker.kb is None else f", for {worker.kb} alone"
        say(f"{worker.state}{reason}: {since}{scope}", margin="worker      ")
        if worker.tokens_per_s:
            left = status.time_left_s
            about = "" if left is None else f", about {duration(left)} left"
            say(f"rate        {worker.tokens_per_s:,.0f} tokens/s{about}")
    if counts.failed:
        note("`pyrite index embed --failed` lists the failures.")


def _show_failures(failures: list[Failure], *, as_json: bool) -> None:
    if as_json:
        from pyrite.api import index as api  # noqa: PLC0415

        print_json(api.failures(failures, str))
        return
    if not failures:
        note("Nothing has failed.")
        return
    table(
        ("knowledge base", "id", "attempts", "failed at", "reason"),
        [(f.kb, f.entry_id, str(f.attempts), moment(f.failed_at), f.error) for f in failures],
    )
    note(
        f"{count(len(failures), 'failure')}; `pyrite index embed --retry-failed` queues them again"
    )
