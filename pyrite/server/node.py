"""Everything of the service but HTTP: the services, the feed, the jobs and the worker.

There is one node in each process that serves. Of all these processes, one at a time has the
right to embed (:mod:`pyrite.embedding.leadership`): its node runs the worker. A part that
crashes takes the whole node with it, and :meth:`Node.run` raises what went wrong: no API stays
up over a dead pipeline.

A stop ends the node in this order: WebSockets are told; the jobs and the intake of the worker
are cancelled; the encode call in progress is finished and committed, and the rest given back;
the right to embed is resigned; and last of all the feed ends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TypeVar, TypeVarTuple

import trio

from actors.messages import Statistics
from pyrite import __version__
from pyrite.api.base import plain
from pyrite.api.index import embed_status
from pyrite.api.problems import ProblemError
from pyrite.auth.tokens import TokenService
from pyrite.config.live import LiveSettings
from pyrite.config.settings import Settings
from pyrite.embedding.leadership import Leadership
from pyrite.embedding.service import EmbeddingService
from pyrite.embedding.worker import EmbeddingWorker
from pyrite.encoders.protocol import TextEncoder
from pyrite.encoders.threads import PoliteQueries
from pyrite.knowledge.service import KBService
from pyrite.search.service import SearchService
from pyrite.server.feed.follow import Feed
from pyrite.server.jobs import Jobs
from pyrite.server.metrics import Metrics
from pyrite.storage.protocol import Storage
from pyrite.vault.sync import FolderSync
from pyrite.vault.watch import FolderWatch

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_log = logging.getLogger("pyrite.node")

#: Blocking calls that run at a time; more wait.
_THREADS = 40

#: The part of the grace period that the worker may use; what it leaves undone is given back in
#: the rest.
_WORKERS_GRACE = 0.8


class Node:
    """The services of one process, and what runs in it; used from the Trio thread."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        encoder: TextEncoder,
        *,
        environ: Mapping[str, str] = MappingProxyType({}),
        clock: Callable[[], float] = time.time,
        version: str = __version__,
    ) -> None:
        """Make a node that does nothing yet.

        Args:
            settings: those in force now.
            storage: where everything is; whoever opened it closes it, after the run.
            encoder: makes the embeddings; nothing is loaded before it is needed.
            environ: what goes before the configuration file.
            clock: the time since the epoch.
            version: what the service says that it is.
        """
        self.settings = settings
        self.storage = storage
        self.encoder = encoder
        self.environ = environ
        self.clock = clock
        self.version = version
        self.kbs = KBService(storage, settings, clock=clock, wake=self.wrote)
        self.embedding = EmbeddingService(storage, settings, clock)
        self.sync = FolderSync(storage, settings, clock)
        queries = PoliteQueries(encoder, settings.niceness)
        self.search = SearchService(storage, queries, settings, clock)
        self.tokens = TokenService(storage, clock)
        self.feed = Feed(
            *(storage, self.run_sync),
            buffer=settings.websocket_buffer,
            snapshot=lambda: plain(embed_status(self.embedding.status())),
        )
        self.jobs = Jobs(storage, self.kbs, self.sync, self.run_sync, clock=clock, wrote=self.wrote)
        self.metrics = Metrics()
        self.closing = trio.Event()
        self.leadership = Leadership(storage, settings.leadership_s, clock)
        self._live = LiveSettings(settings, environ, _log.warning)
        self._threads = trio.CapacityLimiter(_THREADS)
        self._searching = trio.CapacityLimiter(1)
        self._acquiring: trio.CancelScope | None = None
        self._doing_jobs = trio.CancelScope()
        self._worker: EmbeddingWorker | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    async def run_sync(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """The result of a function that blocks, called in a thread."""
        return await trio.to_thread.run_sync(function, *args, limiter=self._threads)

    async def run_search(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """As :meth:`run_sync`, one at a time: the search service keeps state between searches."""
        return await trio.to_thread.run_sync(function, *args, limiter=self._searching)

    def wrote(self) -> None:
        """Something was committed in this process; can be called from any thread."""
        token = self._token
        if token is not None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._look, idempotent=True)

    @property
    def leads(self) -> bool:
        """Whether this process has the right to embed."""
        return self.leadership.leads

    def worker_state(self) -> Statistics | None:
        """The numbers of the worker in this process, if it leads."""
        return None if self._worker is None else self._worker.statistics()

    def stop(self) -> None:
        """Begin a graceful stop; :meth:`run` returns when it is done."""
        self.closing.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run every part until stopped; a cancellation stops as gracefully.

        Raises:
            BaseExceptionGroup: a part has crashed; :func:`actors.pipeline.cause` says by what.
        """
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as beside:
            await beside.start(self.feed.run)
            await beside.start(self._run_jobs)
            async with trio.open_nursery() as leading:
                leading.start_soon(self._lead)
                task_status.started()
                await self.closing.wait()
                self._doing_jobs.cancel()
                if self._acquiring is not None:
                    self._acquiring.cancel()
                if self._worker is not None:
                    self._worker.stop()
            beside.cancel_scope.cancel()

    async def _run_jobs(self, task_status: trio.TaskStatus[None]) -> None:
        with self._doing_jobs:
            await self.jobs.run(task_status=task_status)

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
            *(self.storage, self.encoder, replace(live, grace_s=grace_s), self.clock),
            environ=self.environ,
            report=_log.warning,
            me=self.leadership.me,
            observer=self.metrics,
        )

    async def _embed(self, worker: EmbeddingWorker) -> None:
        """Serve the queue and follow the folders, from what was written while nobody looked."""
        if self.closing.is_set():
            return
        _log.info("this process embeds")
        self._worker = worker
        try:
            async with trio.open_nursery() as beside:
                # Followed first, so that nothing falls in between.
                if self.settings.watch_folders:
                    await beside.start(self._folders().run)
                # Refused where a stop has come first.
                with suppress(ProblemError):
                    await self.jobs.start_sync()
                await worker.run()
                beside.cancel_scope.cancel()
        finally:
            self._worker = None
        _log.info("this process embeds no longer")

    def _folders(self) -> FolderWatch:
        return FolderWatch(
            *(self.storage, self.sync),
            synced=lambda _: self._look(),
            max_bytes=self.settings.max_file_bytes,
        )

    def _look(self) -> None:
        self.feed.wake()
        if self._worker is not None:
            self._worker.wake()
