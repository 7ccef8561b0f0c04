"""The pipeline: opens the channels and the nurseries, and knows how to start, drain and stop.

Two nurseries, one inside the other::

    finishing: embedder, reporter       ends as its channels close, under a deadline
        intake: poller, batcher         is cancelled by a stop

The fifth actor, the fan-out, runs beside it in every process that serves, embedding or not.

A stop cancels the intake. Its channels close, the embedder finishes what it has begun, the
reporter commits it, and what is still in flight after that is given back without charge. An
actor that crashes takes the whole pipeline with it; then nothing is given back, for the next
start should find that these claims cost somebody an attempt.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import outcome
import trio

from actors.auto_reset_event import AutoResetEvent
from actors.batcher import batcher
from actors.embedder import Rest, embedder
from actors.in_flight import InFlight
from actors.lifecycle import RetryPolicy
from actors.messages import Batch, Claim, Report, StateChange, Statistics, WorkerState
from actors.packing import BatchLimits, Window
from actors.poller import poller
from actors.ports import (
    NO_OBSERVER,
    Encoder,
    EncoderUnavailableError,
    Observer,
    Queue,
    RunSync,
    StorageUnavailableError,
)
from actors.reporter import Assembly, reporter
from actors.retry import Patience, StorageRetry
from actors.tally import Tally


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """What can be tuned; times are in seconds."""

    #: Entries claimed at a time.
    claim_limit: int = 10
    batch: BatchLimits = BatchLimits()
    #: Chunks and claims that wait for a batch before back-pressure sets in.
    window: int = 64
    #: How often leases are renewed and the heart beats; a third of the lease or less.
    beat_s: float = 5.0
    #: How long a stop may take to finish what has begun.
    grace_s: float = 10.0
    retry: RetryPolicy = RetryPolicy()
    patience: Patience = Patience()
    #: How long the model stays loaded while nothing comes to be encoded; infinite for ever.
    idle_unload_s: float = math.inf


@dataclass
class Pipeline:
    """The four actors that embed, over one queue and one encoder; runs once."""

    queue: Queue
    encoder: Encoder
    options: PipelineOptions = PipelineOptions()
    #: Called on the Trio thread after each commit that brought events.
    committed: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.time
    #: How blocking calls leave the event loop; tests put an inline fake here.
    run_sync: RunSync = trio.to_thread.run_sync
    run_encoder: RunSync | None = None
    #: Is told how long encoding and committing take.
    observer: Observer = NO_OBSERVER
    #: What is done while the database is unavailable.
    retry: StorageRetry = field(default_factory=StorageRetry)
    _in_flight: InFlight = field(default_factory=InFlight)

    def __post_init__(self) -> None:
        self._wake = AutoResetEvent()
        self._stopping = trio.Event()
        self._tally = Tally(self.clock, self.observer, self.retry)
        self._intake = trio.CancelScope()
        self._finishing = trio.CancelScope()
        self._ended = False
        self._window = Window(self.options.batch, self.options.window)
        self._rest = Rest(self.options.idle_unload_s)
        self._paused = False
        if self.run_encoder is None:
            # A limiter of its own: encoding neither waits for other threads nor takes theirs.
            limiter = trio.CapacityLimiter(math.inf)
            self.run_encoder = partial(trio.to_thread.run_sync, limiter=limiter)

    def wake(self) -> None:
        """There may be work: look now. To be called on the Trio thread."""
        self._wake.set()

    def stop(self) -> None:
        """Begin a graceful stop; :meth:`run` returns when it is done."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._finishing.deadline = trio.current_time() + self.options.grace_s
            self._intake.cancel()

    def pause(self, paused: bool) -> None:
        """Claim nothing more, and finish what is in flight; or go on."""
        self._paused = paused
        self._rest.state = WorkerState.PAUSED if paused else WorkerState.IDLE
        self._wake.set()

    def tune(self, batch: BatchLimits, *, window: int, idle_unload_s: float) -> None:
        """Change these options from the next batch on, and from the present rest on."""
        self._window.tune(batch, window)
        self._rest.tune(idle_unload_s)
        self._wake.set()

    def statistics(self) -> Statistics:
        """The worker's numbers now."""
        now = self._tally.snapshot(len(self._in_flight))
        stopping = self._stopping.is_set() and not self._ended
        return replace(now, state=WorkerState.STOPPING) if stopping else now

    async def run(self, *, drain: bool = False) -> Statistics:
        """Embed what is queued until stopped or, in a drain, until nothing is unfinished.

        A cancellation from outside begins a graceful stop, and is felt after it. A time-out of
        the caller's is felt at once, during a stop as well: what is in flight is given back.

        Raises:
            EncoderUnavailableError: the model stayed away for longer than the patience.
            StorageUnavailableError: so did the database.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_when_cancelled)
            with trio.CancelScope(shield=True):
                ended = await outcome.acapture(self._run_to_the_end, drain=drain)
            self._ended = True
            nursery.cancel_scope.cancel()
        # Out of the nursery, which would have wrapped either in a group; a crash goes first.
        if isinstance(ended, outcome.Value):
            await trio.lowlevel.checkpoint_if_cancelled()
        return ended.unwrap()

    async def _run_to_the_end(self, *, drain: bool) -> Statistics:
        """Run the actors, and give back what they left, unless it was a crash that ended them."""
        try:
            await self._run_actors(drain=drain)
        except BaseExceptionGroup as group:
            failure = cause(group)
            if isinstance(failure, (EncoderUnavailableError, StorageUnavailableError)):
                await self._give_back()
            raise failure from None
        await self._give_back()
        return self._tally.snapshot(len(self._in_flight))

    async def _run_actors(self, *, drain: bool) -> None:
        """Run the two nurseries to their end."""
        options, run_sync = self.options, self.run_sync
        window, asked = self._window, trio.Semaphore(0)
        to_batcher, from_poller = trio.open_memory_channel[tuple[Claim, ...]](0)
        to_embedder, from_batcher = trio.open_memory_channel[Batch](0)
        to_reporter, from_embedder = trio.open_memory_channel[Report | StateChange](2)
        assert self.run_encoder is not None
        with self._finishing:
            async with trio.open_nursery() as finishing:
                finishing.start_soon(
                    partial(
                        embedder,
                        encoder=self.encoder,
                        run_sync=self.run_encoder,
                        stopping=self._stopping,
                        patience=options.patience,
                        rest=self._rest,
                        asked=asked,
                    ),
                    from_batcher,
                    to_reporter,
                )
                finishing.start_soon(
                    partial(
                        reporter,
                        queue=self.queue,
                        run_sync=run_sync,
                        retry=self.retry,
                        assembly=Assembly(self._in_flight, options.retry, self.clock),
                        tally=self._tally,
                        wake=self._wake,
                        committed=self.committed,
                        beat_s=options.beat_s,
                    ),
                    from_embedder,
                )
                with self._intake:
                    async with trio.open_nursery() as intake:
                        intake.start_soon(
                            partial(
                                poller,
                                queue=self.queue,
                                run_sync=run_sync,
                                retry=self.retry,
                                in_flight=self._in_flight,
                                wake=self._wake,
                                has_room=window.has_room,
                                paused=lambda: self._paused,
                                limit=options.claim_limit,
                                drain=drain,
                            ),
                            to_batcher,
                            to_reporter.clone(),
                        )
                        intake.start_soon(
                            partial(batcher, window=window, asked=asked, has_room=self._wake),
                            from_poller,
                            to_embedder,
                        )

    async def _stop_when_cancelled(self) -> None:
        # The cancellation is felt again at the end of the run, and not in a nursery's group.
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            timed_out = cancelled.source == "deadline"
        if not self._ended:
            self.stop()
            # Whoever set a limit meant it; a grace on top would swallow it.
            if timed_out:
                self._finishing.cancel()

    async def _give_back(self) -> None:
        """Release what is in flight; where the database is unavailable, the leases expire."""
        claims = self._in_flight.claims()
        if claims:
            with suppress(StorageUnavailableError):
                self._tally.released(await self.run_sync(self.queue.release, claims))
            self._in_flight.leave(claims)


def cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong, without its consequences: one exception if it was only one.

    An actor that crashes closes its channels, and its neighbour upstream finds it gone.
    """
    _, causes = group.split(trio.BrokenResourceError)
    error: BaseException = causes or group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
