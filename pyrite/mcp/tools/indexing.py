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
from pyrite.mcp.executor import ToolExecutor
from pyrite.storage.records import Key, KnowledgeBase
from pyrite.vault.sync import Progress, SyncResult

#: Entries that one call embeds; a caller waits, and a larger number is a worker's business.
MOST_EMBEDDED = 100

#: Ids and problems of one sync, of each kind, that are told.
_TOLD = 50


class Indexing:
    """The index and the queue."""

    def __init__(self, executor: ToolExecutor) -> None:
        self._executor = executor

    @tool("Sync folders", Tier.WRITE, idempotent=True)
    async def index_sync(self, given: SyncOrder, context: Context[Any, Any]) -> FolderSyncs:
        """Read new, changed, renamed and deleted files into the index; no file is changed.

        Needed only for files that were changed by something other than these tools.
        """
        executor = self._executor
        only = await executor.run_sync(lambda: executor.only(given.kb))
        known = [
            each
            for each in await executor.run_sync(executor.kbs.kbs)
            if not only or each.name in only
        ]
        results: list[SyncResult] = []
        errors: list[str] = []
        for each in known:
            report = _reporter(context, f"reading {each.name}")
            try:
                results.append(
                    await executor.run_sync(partial(_sync, executor, each, given.full, report))
                )
            except _UnreadableError as error:
                errors.append(error.text)
        changed = [(r.kb, i) for r in results for i in (*r.came, *r.updated)]
        queued, warning = await embedded(executor, changed)
        syncs = [folder_sync(result, _TOLD) for result in results]
        return FolderSyncs(kbs=syncs, errors=errors, queued=queued, warning=warning)

    @tool("Retry failures", Tier.WRITE, idempotent=True)
    async def embed_retry(self, given: RetryOrder) -> Retried:
        """Try to embed failed entries again: all of them, or those named."""
        executor = self._executor

        def run() -> list[Key]:
            only = next(iter(executor.only(given.kb)), None)
            try:
                return executor.embedding.retry_failed(only, given.ids)
            except NotFoundError as error:
                raise ToolError(advice.not_failed(error)) from error

        retried = await executor.run_sync(run)
        queued, warning = await embedded(executor, retried)
        return Retried(retried=names(retried), queued=queued, warning=warning)


class _UnreadableError(Exception):
    """A folder is not there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def _sync(executor: ToolExecutor, kb: KnowledgeBase, full: bool, report: Progress) -> SyncResult:
    """Sync in a thread; between two batches, each a transaction, it can be cancelled."""

    def progress(done: int, total: int) -> None:
        trio.from_thread.check_cancelled()
        report(done, total)

    try:
        return executor.sync.sync(kb, full=full, progress=progress)
    except NotFoundError as error:
        raise _UnreadableError(advice.after(error, local=executor.local)) from error


def _reporter(context: Context[Any, Any], message: str) -> Progress:
    """Tells the client, from a thread, how far it is."""

    async def tell(done: int, total: int) -> None:
        await context.report_progress(done, total, message)

    return lambda done, total: trio.from_thread.run(tell, done, total)


async def embedded(executor: ToolExecutor, keys: list[Key]) -> tuple[int, str | None]:
    """See to entries that one call has queued; how many still wait in all, and a warning."""
    outcome = await executor.after(keys[:MOST_EMBEDDED])
    counts = await executor.run_sync(executor.storage.counts)
    warning = None if outcome.warning is None else executor.redacted(outcome.warning)
    if (
        warning is None
        and counts.unfinished
        and await executor.run_sync(executor.embedding.live_worker) is None
    ):
        warning = (
            f"{counts.unfinished} entries wait and no worker is running: the person can start "
            "`pyrite serve` or run `pyrite index embed`; until then words find them"
        )
    return counts.unfinished, warning
