"""Jobs: long work in the background that a client starts, and whose progress it can query."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http import HTTPStatus

import trio

from actors.retry import StorageRetry
from pyrite.api import index
from pyrite.api.base import encode
from pyrite.api.problems import ProblemError
from pyrite.auth.credentials import RunSync
from pyrite.embedding.process import identity, is_dead
from pyrite.errors import FolderMissingError, NotFoundError, PyriteError
from pyrite.knowledge.knowledge_bases import KnowledgeBases
from pyrite.storage.protocol import Storage
from pyrite.storage.records import JobRow
from pyrite.vault.sync import FolderSync, SyncResult

_log = logging.getLogger("pyrite.folders")

#: How often a job's progress is written down, at most, in seconds.
_NOTE_S = 0.25

#: Jobs that may wait for :meth:`Jobs.run` to begin.
_WAITING = 100

#: The one kind there is.
SYNC = "sync"

#: How long a stop waits for the last word on a job, in seconds.
_LAST_NOTE_S = 2.0


class Jobs:
    """The jobs of one process, and a look at those of all."""

    def __init__(
        self,
        storage: Storage,
        kbs: KnowledgeBases,
        sync: FolderSync,
        run_sync: RunSync,
        *,
        clock: Callable[[], float] = time.time,
        wrote: Callable[[], None] = lambda: None,
        retry: StorageRetry | None = None,
    ) -> None:
        self._storage = storage
        self._kbs = kbs
        self._sync = sync
        self._run_sync = run_sync
        self._clock = clock
        self._wrote = wrote
        self._retry = retry or StorageRetry()
        self._me = identity()
        self._starting = trio.Lock()
        self._send, self._receive = trio.open_memory_channel[tuple[JobRow, bool]](_WAITING)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do what is asked for until cancelled; what is in hand then has failed, and says so."""
        async with trio.open_nursery() as nursery, self._receive:
            task_status.started()
            async for job, full in self._receive:
                nursery.start_soon(self._run, job, full)

    async def start_sync(self, kb: str | None = None, *, full: bool = False) -> tuple[JobRow, bool]:
        """Begin to bring one knowledge base or all in step with their folders.

        Returns:
            The job, and whether it is new: one that runs already for as much is not run twice.

        Raises:
            NotFoundError: there is no such knowledge base.
        """
        async with self._starting:
            if kb is not None:
                await self._run_sync(self._kbs.kb, kb)
            for job in await self.jobs():
                if (job.kind, job.kb, job.state) == (SYNC, kb, "running"):
                    return job, False
            job = self._new(kb)
            await self._run_sync(self._storage.put_job, job)
            try:
                self._send.send_nowait((job, full))
            except (trio.WouldBlock, trio.BrokenResourceError) as error:
                busy = isinstance(error, trio.WouldBlock)
                reason = "too many jobs wait already" if busy else "the server is stopping"
                await self._put(replace(job, state="failed", error=reason))
                raise ProblemError(
                    HTTPStatus.SERVICE_UNAVAILABLE, "Busy" if busy else "Stopping", reason
                ) from None
            return job, True

    async def jobs(self) -> list[JobRow]:
        """All that are remembered, newest first; what a dead process left has failed."""
        return await self._run_sync(self._jobs)

    async def job(self, job_id: str) -> JobRow:
        """One of them.

        Raises:
            NotFoundError: there is none.
        """
        for job in await self.jobs():
            if job.job_id == job_id:
                return job
        raise NotFoundError(f"there is no job {job_id!r}")

    def _jobs(self) -> list[JobRow]:
        return [
            replace(job, state="failed", error="the process that did it has ended")
            if job.state == "running" and is_dead(job)
            else job
            for job in self._storage.jobs()
        ]

    def _new(self, kb: str | None) -> JobRow:
        now = self._clock()
        return JobRow(
            job_id=secrets.token_hex(8),
            kind=SYNC,
            kb=kb,
            state="running",
            done=0,
            total=None,
            result=None,
            error=None,
            created_at=now,
            updated_at=now,
            pid=self._me.pid,
            host=self._me.host,
            process_started=self._me.process_started,
        )

    async def _run(self, job: JobRow, full: bool) -> None:
        """Do a job; whatever becomes of it is written down."""
        begun = job

        async def sync() -> JobRow:
            # From the beginning again after an outage: what was brought in step stays so.
            work = _Sync(self._storage, self._kbs, self._sync, self._clock, begun, full=full)
            return await self._run_sync(work.run)

        try:
            job = await self._retry(sync)
        except PyriteError as error:
            job = replace(job, state="failed", error=error.public)
        except (trio.Cancelled, Exception) as error:
            # The service ends by any but the first; its log has the reason.
            stopped = isinstance(error, trio.Cancelled)
            reason = "the server was stopped" if stopped else "the server failed"
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _LAST_NOTE_S):
                await self._retry(partial(self._put, replace(job, state="failed", error=reason)))
            raise
        self._wrote()
        await self._retry(partial(self._put, job))

    async def _put(self, job: JobRow) -> None:
        await self._run_sync(self._storage.put_job, replace(job, updated_at=self._clock()))


class _Sync:
    """A sync under way, in a thread."""

    def __init__(
        self,
        storage: Storage,
        kbs: KnowledgeBases,
        sync: FolderSync,
        clock: Callable[[], float],
        job: JobRow,
        *,
        full: bool,
    ) -> None:
        self._storage = storage
        self._kbs = kbs
        self._sync = sync
        self._clock = clock
        self._job = job
        self._full = full
        self._before = 0

    def run(self) -> JobRow:
        """Sync, and say what came of it.

        Raises:
            NotFoundError: the one knowledge base, or its folder, is not there.
        """
        kb = self._job.kb
        results: list[SyncResult] = []
        missing: list[str] = []
        for each in self._kbs.kbs() if kb is None else [self._kbs.kb(kb)]:
            try:
                results.append(self._sync.sync(each, full=self._full, progress=self._progress))
            except FolderMissingError as error:
                if kb is not None:
                    raise
                missing.append(error.public)
                _log.warning("%s", error)
            self._before = self._job.done
        result = encode(index.job_result(results, missing)).decode()
        done = self._job.done
        return replace(self._job, state="done", done=done, total=done, result=result)

    def _progress(self, done: int, total: int) -> None:
        """Note how far it is; a service that stops ends the sync here, between two batches."""
        trio.from_thread.check_cancelled()
        now = self._clock()
        self._job = replace(self._job, done=self._before + done, total=self._before + total)
        if now - self._job.updated_at >= _NOTE_S:
            self._job = replace(self._job, updated_at=now)
            self._storage.put_job(self._job)
