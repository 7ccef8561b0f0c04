"""Tools that bring the index in step with the folders, and embed again what has failed."""

from __future__ import annotations

from functools import partial
from typing import Any

import trio
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError

from pyrite.api.index import FolderSyncs, Retried, folder_sync, names
from pyrite.api.parameters import RetryOrder, SyncOrder
from pyrite.auth.tokens import Tier
from pyrite.errors import NotFoundError
from pyrite.mcp import advice
from pyrite.mcp.catalog import tool
from pyrite.mcp.desk import Desk
from pyrite.storage.records import Key, KnowledgeBase
from pyrite.vault.sync import Progress, SyncResult

#: Entries that one call embeds; a caller waits, and a larger number is a worker's business.
MOST_EMBEDDED = 100

#: Ids and problems of one sync, of each kind, that are told.
_TOLD = 50


class Indexing:
    """The index and the queue."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @tool("Sync folders", Tier.WRITE, idempotent=True)
    async def index_sync(self, given: SyncOrder, context: Context[Any, Any]) -> FolderSyncs:
        """Read new, changed, renamed and deleted files into the index; no file is changed.

        Needed only for files that were changed by something other than these tools.
        """
        desk = self._desk
        only = await desk.run_sync(lambda: desk.only(given.kb))
        known = [
            each for each in await desk.run_sync(desk.kbs.kbs) if not only or each.name in only
        ]
        results: list[SyncResult] = []
        errors: list[str] = []
        for each in known:
            report = _reporter(context, f"reading {each.name}")
            try:
                results.append(await desk.run_sync(partial(_sync, desk, each, given.full, report)))
            except _UnreadableError as error:
                errors.append(error.text)
        changed = [(r.kb, i) for r in results for i in (*r.came, *r.updated)]
        queued, warning = await embedded(desk, changed)
        syncs = [folder_sync(result, _TOLD) for result in results]
        return FolderSyncs(kbs=syncs, errors=errors, queued=queued, warning=warning)

    @tool("Retry failures", Tier.WRITE, idempotent=True)
    async def embed_retry(self, given: RetryOrder) -> Retried:
        """Try to embed failed entries again: all of them, or those named."""
        desk = self._desk

        def run() -> list[Key]:
            only = next(iter(desk.only(given.kb)), None)
            try:
                return desk.embedding.retry_failed(only, given.ids)
            except NotFoundError as error:
                raise ToolError(advice.not_failed(error)) from error

        retried = await desk.run_sync(run)
        queued, warning = await embedded(desk, retried)
        return Retried(retried=names(retried), queued=queued, warning=warning)


class _UnreadableError(Exception):
    """A folder is not there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def _sync(desk: Desk, kb: KnowledgeBase, full: bool, report: Progress) -> SyncResult:
    """Sync in a thread; between two batches, each a transaction, it can be cancelled."""

    def progress(done: int, total: int) -> None:
        trio.from_thread.check_cancelled()
        report(done, total)

    try:
        return desk.sync.sync(kb, full=full, progress=progress)
    except NotFoundError as error:
        raise _UnreadableError(advice.after(error, local=desk.local)) from error


def _reporter(context: Context[Any, Any], message: str) -> Progress:
    """Tells the client, from a thread, how far it is."""

    async def tell(done: int, total: int) -> None:
        await context.report_progress(done, total, message)

    return lambda done, total: trio.from_thread.run(tell, done, total)


async def embedded(desk: Desk, keys: list[Key]) -> tuple[int, str | None]:
    """See to entries that one call has queued; how many still wait in all, and a warning."""
    outcome = await desk.after(keys[:MOST_EMBEDDED])
    counts = await desk.run_sync(desk.storage.counts)
    warning = None if outcome.warning is None else desk.told(outcome.warning)
    if (
        warning is None
        and counts.unfinished
        and await desk.run_sync(desk.embedding.live_worker) is None
    ):
        warning = (
            f"{counts.unfinished} entries wait and no worker is running: the person can start "
            "`pyrite serve` or run `pyrite index embed`; until then words find them"
        )
    return counts.unfinished, warning
