"""``pyrite index watch``: following the folders as they change, without a server."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from pyrite.cli.context import App, json_option, kb_option
from pyrite.cli.output import entries, note, note_skipped, print_json_line, say
from pyrite.errors import FolderMissingError

if TYPE_CHECKING:
    from pyrite.vault.sync import SyncResult

#: Entries of one change that are named; of more, only the number is told.
_NAMED = 5

#: By convention, a command that a signal has ended exits with this more than its number.
_SIGNAL_EXIT = 128


@click.command()
@kb_option("Only this knowledge base.")
@json_option()
@click.pass_context
def watch(ctx: click.Context, *, kb: str | None, as_json: bool) -> None:
    """Follow the folders as they change, and embed what is saved, until Ctrl-C.

    The server does the same; this is for those who run none. Where another process embeds
    already, what is saved is queued for it. With --json, each change is one object a line.

    \b
    Example:
      pyrite index watch
    """
    # Imported only here: other commands need no event loop.
    import trio  # noqa: PLC0415

    from actors.pipeline import cause  # noqa: PLC0415

    app: App = ctx.obj
    if kb is not None:
        app.kbs.kb(kb)
    watching = _Watching(app, kb, as_json=as_json)
    try:
        number = trio.run(watching.run)
    except BaseExceptionGroup as group:
        raise cause(group) from None
    ctx.exit(_SIGNAL_EXIT + number)


@dataclass
class _Watching:
    """One run of the command."""

    app: App
    kb: str | None
    as_json: bool
    #: What has been said of skipped files, by knowledge base: it is not said again.
    skipped: dict[str, frozenset[str]] = field(default_factory=dict)

    async def run(self) -> int:
        """Follow the folders and embed until a signal comes; its number."""
        import trio  # noqa: PLC0415

        from pyrite.services.signals import open_stop_signals  # noqa: PLC0415
        from pyrite.vault.watch import FolderWatch  # noqa: PLC0415

        app = self.app
        folders = FolderWatch(
            *(app.storage, app.sync),
            kb=self.kb,
            synced=self._show,
            max_bytes=app.settings.max_file_bytes,
        )
        ended_by = 0
        with open_stop_signals() as signals:
            async with trio.open_nursery() as nursery:
                # Followed first, so that nothing falls in between.
                await nursery.start(folders.run)
                for kb in app.kbs.kbs() if self.kb is None else [app.kbs.kb(self.kb)]:
                    try:
                        self._show(await trio.to_thread.run_sync(app.sync.sync, kb))
                    except FolderMissingError as error:
                        note(f"pyrite: {error}")
                nursery.start_soon(self._embed)
                note("following the folders; Ctrl-C stops")
                ended_by = await anext(signals)
                # A cancelled worker finishes what it has begun.
                nursery.cancel_scope.cancel()
        return ended_by

    async def _embed(self) -> None:
        """Embed what is saved whenever no other process does."""
        from pyrite.embedding.leadership import Leadership  # noqa: PLC0415
        from pyrite.embedding.worker import EmbeddingWorker  # noqa: PLC0415

        app = self.app
        leadership = Leadership(app.storage, app.settings.leadership_s)
        while True:
            leader = await leadership.try_acquire()
            if not leadership.leads:
                note(f"process {leader.pid} on {leader.host} embeds; it is left what is saved")
            await leadership.acquire()
            worker = EmbeddingWorker(
                *(app.storage, app.encoder, app.settings),
                environ=os.environ,
                report=note,
                me=leadership.me,
            )
            await leadership.hold(worker.run, worker.stop)

    def _show(self, result: SyncResult) -> None:
        if self.as_json:
            from pyrite.api.index import folder_sync  # noqa: PLC0415

            print_json_line(folder_sync(result))
            return
        for verb, ids in (
            ("new", result.created),
            ("changed", result.updated),
            ("renamed", [f"{old} to {new}" for old, new in result.renamed]),
            ("deleted", result.deleted),
        ):
            if ids:
                named = ", ".join(ids) if len(ids) <= _NAMED else entries(len(ids))
                say(f"{verb} {named}", margin=f"{result.kb}: ", flush=True)
        said = self.skipped.get(result.kb, frozenset())
        note_skipped([problem for problem in result.problems if str(problem) not in said])
        self.skipped[result.kb] = frozenset(map(str, result.problems))
