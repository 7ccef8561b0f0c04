"""The tasks of a server process: the feed, the jobs, MCP sessions and the worker.

Of all processes on a database, one at a time has the right to embed
(:mod:`pyrite.embedding.leadership`), and runs the worker. A part that crashes takes the whole
process with it, and :meth:`ServerProcess.run` raises what went wrong: no API stays up over a dead
pipeline.

A stop ends the parts in this order: WebSockets are told; the jobs and the intake of the worker
are cancelled; requests to the MCP server that are in hand are answered, and its sessions ended;
the encode call in progress is finished and committed, and the rest given back; the right to embed
is resigned; and last of all the feed ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar, TypeVarTuple

import trio

from actors.fanout import KEPT, Fanout
from actors.messages import Statistics
from actors.retry import StorageRetry
from pyrite.api.base import plain
from pyrite.api.index import embed_status
from pyrite.api.problems import ProblemError
from pyrite.auth.tokens import Tier
from pyrite.config.live import LiveSettings
from pyrite.embedding.leadership import Leadership
from pyrite.embedding.worker import EmbeddingWorker
from pyrite.search.freshness import Waited
from pyrite.search.waiting import wait_embedded
from pyrite.server.feed.messages import rendered
from pyrite.server.feed.status import announce_status
from pyrite.server.jobs import Jobs
from pyrite.server.mcp_endpoint import MCPEndpoint
from pyrite.server.metrics import Metrics
from pyrite.services.services import Services
from pyrite.services.threads import Threads
from pyrite.vault.watch import FolderWatch

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_log = logging.getLogger("pyrite.server")

#: The part of the grace period that the worker may use; what it leaves undone is given back in
#: the rest.
_WORKERS_GRACE = 0.8


class ServerProcess:
    """The tasks of one process over its services; used from the Trio thread."""

    def __init__(
        self,
        services: Services,
        *,
        embeds: bool = True,
        highest: Tier = Tier.ADMIN,
        alone: bool = True,
    ) -> None:
        """Make a process that does nothing yet.

        Args:
            services: those of the process; whoever made them closes them, after the run.
            embeds: whether it runs the worker whenever it has the right to embed.
            highest: the tier above which nobody gets any tools over MCP.
            alone: whether no other process serves at the same address. A client's next request
                may come to another, which knows none of the MCP sessions of this one.
        """
        self.services = services
        self.settings = services.settings
        self.environ = services.environ
        self.clock = services.clock
        self.storage = services.storage
        # Made here, and not by two threads at once.
        self.kbs = services.kbs
        self.embedding = services.embedding
        self.sync = services.sync
        self.search = services.search
        self.tokens = services.tokens
        services.on_write(self.wrote)
        self._threads = Threads()
        self.run_search = self._threads.run_search
        #: What all that runs by itself does while the database is unavailable.
        self.retry = StorageRetry(_log.warning)
        self.feed = Fanout(
            *(self.storage, self.run_sync, rendered),
            replay=KEPT,
            watch_s=self.settings.poll_interval_s,
            retry=self.retry,
        )
        self.jobs = Jobs(
            *(self.storage, self.kbs, self.sync, self.run_sync),
            clock=self.clock,
            wrote=services.wrote,
            retry=self.retry,
        )
        self.mcp = MCPEndpoint(
            *(services, self._threads, self.wait), embeds=embeds, highest=highest, sessions=alone
        )
        self.metrics = Metrics()
        #: Set when a stop begins.
        self.closing = trio.Event()
        #: Set when nothing is in hand any more that connections are kept open for.
        self.answered = trio.Event()
        self.leadership = Leadership(self.storage, self.settings.leadership_s, self.clock)
        self._embeds = embeds
        self._live = LiveSettings(self.settings, self.environ, _log.warning)
        self._acquiring: trio.CancelScope | None = None
        #: A stop before the feed could be read, in an outage, ends the wait for it.
        self._beginning = trio.CancelScope()
        self._doing_jobs = trio.CancelScope()
        self._worker: EmbeddingWorker | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    async def run_sync(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """The result of a function that blocks, called in a thread."""
        return await self._threads.run_sync(function, *args)

    async def wait(self, revision: int, timeout_s: float) -> Waited:
        """Wait until a write can be found by meaning; occupies no thread.

        Raises:
            NotFoundError: there has been no such write.
        """
        look = partial(self.run_sync, self.search.revision_status, revision)
        return await wait_embedded(self.feed, look, revision, timeout_s)

    def wrote(self) -> None:
        """Something was committed in this process; can be called from any thread."""
        token = self._token
        if token is not None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self.feed.tell, idempotent=True)

    @property
    def leads(self) -> bool:
        """Whether this process has the right to embed."""
        return self.leadership.leads

    def worker_state(self) -> Statistics | None:
        """The numbers of the worker in this process, if it leads."""
        return None if self._worker is None else self._worker.statistics()

    def stop(self) -> None:
        """Begin a graceful stop; :meth:`run` returns when it is done."""
        self._beginning.cancel()
        self.closing.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run every part until stopped; a cancellation stops as gracefully.

        Raises:
            BaseExceptionGroup: a part has crashed; :func:`actors.pipeline.cause` says by what.
        """
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as beside:
            with self._beginning:
                await beside.start(self.feed.run)
            beside.start_soon(
                announce_status,
                *(self.feed, self.run_sync, lambda: plain(embed_status(self.embedding.status()))),
                self.retry,
            )
            await beside.start(self._run_jobs)
            async with trio.open_nursery() as ending:
                ending.start_soon(self._serve_mcp)
                if self._embeds:
                    ending.start_soon(self._lead)
                task_status.started()
                await self.closing.wait()
                # A lock that another process keeps is not waited for until the grace is over.
                self.storage.hurry()
                self._doing_jobs.cancel()
                if self._acquiring is not None:
                    self._acquiring.cancel()
                if self._worker is not None:
                    self._worker.stop()
            beside.cancel_scope.cancel()

    async def _run_jobs(self, task_status: trio.TaskStatus[None]) -> None:
        with self._doing_jobs:
            await self.jobs.run(task_status=task_status)

    async def _serve_mcp(self) -> None:
        await self.mcp.run(self.closing)
        self.answered.set()

    async def _lead(self) -> None:
        """Embed whenever this process has the right to, until the service stops."""
        while not self.closing.is_set():
            # One for each wait, since a scope can be entered once, and the right be lost often.
            with trio.CancelScope() as self._acquiring:
                await self.leadership.acquire()
            if self.leads:
                worker = await self._new_worker()
                await self.leadership.hold(partial(self._embed, worker), worker.stop)

    async def _new_worker(self) -> EmbeddingWorker:
        # The file may have changed since this process began, a pause among what it says.
        live = await self.run_sync(self._live.read)
        grace_s = self.settings.grace_s * _WORKERS_GRACE
        return EmbeddingWorker(
            *(self.storage, self.services.encoder, replace(live, grace_s=grace_s), self.clock),
            environ=self.environ,
            report=_log.warning,
            me=self.leadership.me,
            observer=self.metrics,
            fanout=self.feed,
            retry=self.retry,
        )

    async def _embed(self, worker: EmbeddingWorker) -> None:
        """Serve the queue and follow the folders until the worker is stopped."""
        if self.closing.is_set():
            return
        _log.info("this process embeds")
        self._worker = worker
        try:
            async with trio.open_nursery() as beside:
                # Beside the worker, for it may take an outage until they have begun.
                beside.start_soon(self._keep_in_step)
                await worker.run()
                beside.cancel_scope.cancel()
        finally:
            self._worker = None
        _log.info("this process embeds no longer")

    async def _keep_in_step(self) -> None:
        """Follow the folders, from what was written while nobody looked."""
        async with trio.open_nursery() as nursery:
            # Followed first, so that nothing falls in between.
            if self.settings.watch_folders:
                await nursery.start(self._folders().run)
            # Refused where a stop has come first.
            with suppress(ProblemError):
                await self.retry(self.jobs.start_sync)

    def _folders(self) -> FolderWatch:
        return FolderWatch(
            *(self.storage, self.sync),
            synced=lambda _: self.feed.tell(),
            retry=self.retry,
            max_bytes=self.settings.max_file_bytes,
        )
