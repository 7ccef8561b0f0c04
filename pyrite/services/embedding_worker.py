"""The pipeline's face for the product: one worker over a storage and an encoder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import outcome
import trio

from actors.embedder import Patience
from actors.fanout import Subscription
from actors.messages import Statistics
from actors.pipeline import Pipeline, PipelineOptions, cause
from pyrite.config import Settings
from pyrite.encoders.protocol import TextEncoder
from pyrite.errors import ModelError
from pyrite.services.encoding_thread import EncodingThread
from pyrite.services.graph_upkeep import GraphUpkeep
from pyrite.services.worker_queue import WorkerQueue, batch_limits, open_queue, retry_policy
from pyrite.storage.protocol import Storage

#: Leases are renewed at this part of their length, so that two beats may be late.
_BEATS_PER_LEASE = 3


def pipeline_options(settings: Settings) -> PipelineOptions:
    """What the settings say of the pipeline."""
    return PipelineOptions(
        claim_limit=settings.claim_limit,
        batch=batch_limits(settings),
        window=settings.batch_texts * 8,
        poll_interval_s=settings.poll_interval_s,
        beat_s=settings.lease_s / _BEATS_PER_LEASE,
        grace_s=settings.grace_s,
        retry=retry_policy(settings),
    )


class EmbeddingWorker:
    """Embeds what is queued: once, or until it is stopped. Each instance runs once."""

    def __init__(
        self,
        storage: Storage,
        encoder: TextEncoder,
        settings: Settings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._storage = storage
        self._encoder = encoder
        self._settings = settings
        self._clock = clock
        self._pipeline: Pipeline | None = None
        self._upkeep: GraphUpkeep | None = None
        self._stopped = False

    async def process_queue(self, kb: str | None = None) -> Statistics:
        """Embed until nothing is pending or processing, retries included; returns the counts.

        Raises:
            ModelError: the model cannot be found or loaded; no entry was charged for it.
        """
        options = replace(pipeline_options(self._settings), patience=Patience(tries=1))
        return await self._run(options, kb=kb, drain=True)

    async def run(self) -> Statistics:
        """Serve the queue until stopped; a cancellation is a graceful stop.

        Raises:
            ModelError: the model cannot be found, or is not what it should be. One that
                merely cannot be loaded is tried again, and meanwhile the state is degraded.
        """
        return await self._run(pipeline_options(self._settings), kb=None, drain=False)

    def stop(self) -> None:
        """Finish what has begun, give back the rest, and return from the run."""
        self._stopped = True
        if self._pipeline is not None:
            self._pipeline.stop()

    def wake(self) -> None:
        """There may be work: look now. To be called on the Trio thread."""
        if self._pipeline is not None:
            self._pipeline.wake()

    def subscribe(self, buffer: int = 256) -> Subscription:
        """The events of this worker from now on, while it runs."""
        if self._pipeline is None:
            raise RuntimeError("the worker does not run yet")
        return self._pipeline.subscribe(buffer)

    def statistics(self) -> Statistics:
        """The worker's numbers now."""
        return Statistics() if self._pipeline is None else self._pipeline.statistics()

    @property
    def building(self) -> tuple[int, int] | None:
        """While the graph of neighbours is being built: how many embeddings of how many."""
        return None if self._upkeep is None else self._upkeep.building

    async def _run(self, options: PipelineOptions, *, kb: str | None, drain: bool) -> Statistics:
        queue = await trio.to_thread.run_sync(
            open_queue, self._storage, self._encoder, self._settings, self._clock, kb
        )
        self._upkeep = GraphUpkeep(self._storage, queue.model_id, self._settings)
        thread = EncodingThread(self._settings.niceness)
        self._pipeline = Pipeline(
            queue,
            self._encoder,
            self._storage.changed,
            options,
            self._clock,
            encoder_hop=thread,
        )
        if self._stopped:
            self._pipeline.stop()
        # A worker that crashes stays on record, so that the next one knows it for dead and
        # frees its claims at once. Every other end takes it off.
        try:
            statistics = await self._run_beside_upkeep(drain=drain)
        except (trio.Cancelled, ModelError):
            await _close(queue)
            raise
        finally:
            thread.close()
        await _close(queue)
        return statistics

    async def _run_beside_upkeep(self, *, drain: bool) -> Statistics:
        """Run the pipeline; in a drain, the graph is brought up to date at the end."""
        assert self._pipeline is not None
        assert self._upkeep is not None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._upkeep.run)
                # Unwrapped out of the nursery, which would put what went wrong into a group.
                ended = await outcome.acapture(self._pipeline.run, drain=drain)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            # A cancellation is felt again below; anything else is a bug of the upkeep's.
            _, bugs = group.split(trio.Cancelled)
            if bugs is not None:
                raise cause(bugs) from None
        await trio.lowlevel.checkpoint_if_cancelled()
        statistics = ended.unwrap()
        if drain and not self._stopped:
            await self._upkeep.update()
        return statistics


async def _close(queue: WorkerQueue) -> None:
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(queue.close)
