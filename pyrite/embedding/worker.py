"""The worker: a pipeline over a storage and an encoder, which follows the settings."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import outcome
import trio

from actors.fanout import Fanout, unchanged
from actors.messages import Statistics, WorkerState
from actors.packing import BatchLimits
from actors.pipeline import Pipeline, PipelineOptions, cause
from actors.ports import NO_OBSERVER, Observer, StorageUnavailableError
from actors.retry import Patience, StorageRetry
from pyrite.config.live import CHECK_EVERY_S, LiveSettings, warn
from pyrite.config.settings import Settings
from pyrite.embedding.process import Identity
from pyrite.embedding.queue import WorkerQueue, batch_limits, open_queue, retry_policy
from pyrite.encoders.protocol import TextEncoder
from pyrite.encoders.threads import EncodingThreads
from pyrite.errors import ModelError, PyriteError
from pyrite.neighbours.upkeep import GraphUpkeep
from pyrite.storage.protocol import Storage

#: Leases are renewed at this part of their length, so that two beats may be late.
_BEATS_PER_LEASE = 3

#: Chunks and claims that wait for a batch, for each text that a batch may have: enough to find
#: texts of like length among them.
_WINDOW_PER_TEXT = 16


class PausedError(PyriteError):
    """Embedding was asked for while the settings say that it is paused."""


def pipeline_options(settings: Settings, batch: BatchLimits) -> PipelineOptions:
    """The settings of the pipeline."""
    return PipelineOptions(
        claim_limit=settings.claim_limit,
        batch=batch,
        window=batch.texts * _WINDOW_PER_TEXT,
        beat_s=settings.lease_s / _BEATS_PER_LEASE,
        grace_s=settings.grace_s,
        retry=retry_policy(settings),
        idle_unload_s=settings.idle_unload_s or math.inf,
    )


class EmbeddingWorker:
    """Embeds what is queued: once, or until it is stopped. Each instance runs once.

    It follows the configuration file while it runs; see
    :mod:`pyrite.config.live` for which settings.
    """

    def __init__(
        self,
        storage: Storage,
        encoder: TextEncoder,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        *,
        environ: Mapping[str, str] = MappingProxyType({}),
        report: Callable[[str], None] = warn,
        me: Identity | None = None,
        observer: Observer = NO_OBSERVER,
        fanout: Fanout[Any] | None = None,
        retry: StorageRetry | None = None,
    ) -> None:
        """Make a worker that does nothing yet.

        Args:
            storage: where the queue is, and where embeddings go.
            encoder: makes them; whoever else uses it may go on doing so.
            settings: those in force now.
            clock: the time since the epoch.
            environ: what goes before the configuration file.
            report: is told, in a line for people, when that file has become invalid.
            me: the worker's name, where it has one already.
            observer: is told what was measured.
            fanout: the process's, where one runs already: it tells the worker of commits, and
                is told of the worker's.
            retry: what is done while the database is unavailable.
        """
        self._storage = storage
        self._encoder = encoder
        self._settings = settings
        self._live = LiveSettings(settings, environ, report)
        self._clock = clock
        self._me = me
        self._observer = observer
        self._runs_fanout = fanout is None
        self.fanout: Fanout[Any] = fanout or Fanout(
            storage, trio.to_thread.run_sync, unchanged, watch_s=settings.poll_interval_s
        )
        self._retry = retry or StorageRetry(report)
        self._pipeline: Pipeline | None = None
        self._opening = trio.CancelScope()
        self._limits = BatchLimits()
        self._upkeep: GraphUpkeep | None = None
        self._stopped = False

    async def process_queue(self, kb: str | None = None) -> Statistics:
        """Embed until nothing is pending or processing, retries included; returns the counts.

        A pause that begins meanwhile is waited out.

        Raises:
            PausedError: embedding is paused; nothing was claimed.
            ModelError: the model cannot be found or loaded; no entry was charged for it.
        """
        if self._settings.paused:
            raise PausedError("embedding is paused; `pyrite config set paused false` resumes it")
        # Whoever waits for the end of it is told what is wrong, and need not wait.
        once = Patience(tries=1)
        self._retry = StorageRetry(patience=once)
        options = replace(self._options(), patience=once)
        statistics = await self._run(options, kb=kb, drain=True)
        # Off the record since then. Who wrote before that may have left the entry to this worker.
        while not self._stopped and await trio.to_thread.run_sync(self._is_more, kb):
            statistics = statistics.plus(await self._run(options, kb=kb, drain=True))
        if not self._stopped:
            assert self._upkeep is not None
            await self._upkeep.update()
        return statistics

    def _is_more(self, kb: str | None) -> bool:
        return self._storage.counts(kb).unfinished > 0

    async def run(self) -> Statistics:
        """Serve the queue until stopped; a cancellation is a graceful stop.

        Raises:
            ModelError: the model cannot be found, or is not what it should be. One that
                merely cannot be loaded is tried again, and meanwhile the state is degraded.
        """
        return await self._run(self._options(), kb=None, drain=False)

    def _options(self) -> PipelineOptions:
        self._limits = batch_limits(self._settings, self._encoder)
        return pipeline_options(self._settings, self._limits)

    def stop(self) -> None:
        """Finish what has begun, give back the rest, and return from the run."""
        self._stopped = True
        self._opening.cancel()
        if self._pipeline is not None:
            self._pipeline.stop()

    def wake(self) -> None:
        """There may be work: look now. To be called on the Trio thread."""
        if self._pipeline is not None:
            self._pipeline.wake()

    def statistics(self) -> Statistics:
        """The worker's numbers now."""
        if self._pipeline is not None:
            return self._pipeline.statistics()
        reason = self._retry.reason
        return Statistics() if reason is None else Statistics(WorkerState.DEGRADED, reason)

    @property
    def building(self) -> tuple[int, int] | None:
        """While the graph of neighbours is being built: how many embeddings of how many."""
        return None if self._upkeep is None else self._upkeep.building

    async def _run(self, options: PipelineOptions, *, kb: str | None, drain: bool) -> Statistics:
        opened = partial(open_queue, kb=kb, me=self._me, observer=self._observer)
        what = (self._storage, self._encoder, self._settings, self._clock)
        queue: WorkerQueue | None = None
        # One for each run, since a scope can be entered once; a stop ends the wait in an outage.
        with trio.CancelScope() as self._opening:
            if self._stopped:
                self._opening.cancel()
            queue = await self._retry(partial(trio.to_thread.run_sync, opened, *what))
        if queue is None:
            return Statistics()
        self._upkeep = GraphUpkeep(self._storage, queue.model_id, self._settings, self._retry)
        threads = EncodingThreads(self._settings.niceness)
        self._pipeline = Pipeline(
            queue,
            self._encoder,
            options,
            self.fanout.tell,
            self._clock,
            run_encoder=threads,
            observer=self._observer,
            retry=self._retry,
        )
        self._pipeline.pause(self._settings.paused)
        if self._stopped:
            self._pipeline.stop()
        # A worker that crashes stays on record, so that the next one knows it for dead and
        # frees its claims at once. Every other end takes it off.
        try:
            statistics = await self._run_beside_upkeep(drain=drain)
        except (trio.Cancelled, ModelError, StorageUnavailableError):
            await _close(queue)
            raise
        finally:
            threads.close()
        await _close(queue)
        return statistics

    async def _run_beside_upkeep(self, *, drain: bool) -> Statistics:
        """Run the pipeline."""
        assert self._pipeline is not None
        assert self._upkeep is not None
        try:
            async with trio.open_nursery() as nursery:
                if self._runs_fanout:
                    await nursery.start(self.fanout.run)
                nursery.start_soon(self._wake_on_commits)
                nursery.start_soon(self._upkeep.run)
                nursery.start_soon(self._follow_settings)
                # Unwrapped out of the nursery, which would put what went wrong into a group.
                ended = await outcome.acapture(self._pipeline.run, drain=drain)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            # A cancellation is felt again below; anything else is a bug of those beside.
            _, bugs = group.split(trio.Cancelled)
            if bugs is not None:
                raise cause(bugs) from None
        await trio.lowlevel.checkpoint_if_cancelled()
        return ended.unwrap()

    async def _wake_on_commits(self) -> None:
        """Have the pipeline look for work whenever any process may have written some."""
        seen = self.fanout.commits
        while True:
            seen = await self.fanout.wait_committed(seen)
            self.wake()

    async def _follow_settings(self) -> None:
        """Apply the configuration file as it changes."""
        assert self._pipeline is not None
        while True:
            # A stat takes microseconds; reading the file need not.
            if self._live.has_changed():
                await self._apply(await trio.to_thread.run_sync(self._live.read))
            elif self._limits != batch_limits(self._settings, self._encoder):
                # Once it is loaded, the encoder knows what is best.
                await self._apply(self._settings)
            await trio.sleep(CHECK_EVERY_S)

    async def _apply(self, settings: Settings) -> None:
        """Put settings into force."""
        assert self._pipeline is not None
        before, self._settings = self._settings, settings
        self._limits = batch_limits(settings, self._encoder)
        options = pipeline_options(settings, self._limits)
        self._pipeline.pause(settings.paused)
        self._pipeline.tune(
            options.batch, window=options.window, idle_unload_s=options.idle_unload_s
        )
        if settings.threads != before.threads:
            # It may have to wait until the model is loaded.
            await trio.to_thread.run_sync(
                self._encoder.set_threads, settings.threads, abandon_on_cancel=True
            )


async def _close(queue: WorkerQueue) -> None:
    # Where the database is unavailable, it stays on record until its name is used again, or until
    # the next worker finds that its process has ended.
    with trio.CancelScope(shield=True), suppress(StorageUnavailableError):
        await trio.to_thread.run_sync(queue.close)
