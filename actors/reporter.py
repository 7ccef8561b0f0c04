"""The reporter: the only actor that ends a claim, when the last of its chunks is in.

Each report becomes one guarded transaction with its embeddings, queue rows and feed events.
The fan-out is told of events that the database says it has: a claim that was lost meanwhile
changes nothing, is counted, and is no error. Between reports the reporter renews leases and
beats the worker's heart.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import trio

from actors.auto_reset_event import AutoResetEvent
from actors.in_flight import InFlight
from actors.lifecycle import Embedded, Failed, Occurrence, RetryPolicy, Status, after
from actors.messages import Claim, Encoded, Event, Report, StateChange
from actors.ports import Ending, Queue, RunSync, Settled
from actors.retry import StorageRetry
from actors.tally import Tally


@dataclass
class Assembly:
    """Which chunks of which claims are still to come."""

    in_flight: InFlight
    policy: RetryPolicy
    clock: Callable[[], float]
    chance: Callable[[], float] = random.random
    _remaining: dict[str, set[bytes]] = field(default_factory=dict)

    def take(self, report: Report) -> tuple[Ending, ...]:
        """The claims that this report ends, and how."""
        return tuple(self._endings(report))

    def _endings(self, report: Report) -> Iterator[Ending]:
        for claim in report.ready:
            yield self._end(claim, Embedded())
        for refused in report.refused:
            claim = refused.piece.claim
            if claim in self.in_flight:
                yield self._end(claim, Failed(refused.error, final=not refused.retryable))
        for encoded in report.encoded:
            claim = encoded.piece.claim
            if claim in self.in_flight and self._last(encoded):
                yield self._end(claim, Embedded())

    def _last(self, encoded: Encoded) -> bool:
        """Whether this was the last chunk that its claim waited for."""
        claim = encoded.piece.claim
        missing = self._remaining.setdefault(claim.token, {c.digest for c in claim.missing})
        missing.discard(encoded.piece.chunk.digest)
        return not missing

    def _end(self, claim: Claim, occurrence: Occurrence) -> Ending:
        # Out of flight at once, so that a further chunk of a failed claim ends nothing again.
        self.in_flight.leave([claim])
        self._remaining.pop(claim.token, None)
        transition = after(
            Status.PROCESSING,
            claim.attempt,
            occurrence,
            now=self.clock(),
            policy=self.policy,
            chance=self.chance(),
        )
        return Ending(claim, transition)


async def reporter(
    reports: trio.MemoryReceiveChannel[Report | StateChange],
    *,
    queue: Queue,
    run_sync: RunSync,
    retry: StorageRetry,
    assembly: Assembly,
    tally: Tally,
    wake: AutoResetEvent,
    committed: Callable[[], None],
    beat_s: float,
) -> None:
    """Settle report after report until they end; beat every ``beat_s`` seconds.

    ``committed`` is called after each commit that brought events.
    """
    with reports:
        await beat(queue, run_sync, retry, assembly.in_flight, tally)
        next_beat = trio.current_time() + beat_s
        while True:
            with trio.move_on_at(next_beat) as waiting:
                try:
                    message = await reports.receive()
                except trio.EndOfChannel:
                    return
            if waiting.cancelled_caught:
                await beat(queue, run_sync, retry, assembly.in_flight, tally)
                next_beat = trio.current_time() + beat_s
            elif isinstance(message, StateChange):
                if tally.state(message):
                    next_beat = trio.current_time()
            else:
                if await settle(message, queue, run_sync, retry, assembly, tally):
                    committed()
                wake.set()


async def settle(
    report: Report,
    queue: Queue,
    run_sync: RunSync,
    retry: StorageRetry,
    assembly: Assembly,
    tally: Tally,
) -> tuple[Event, ...]:
    """Commit what a report brings, as soon as the database can be used."""
    tally.report(report)
    endings = assembly.take(report)
    if not report.encoded and not endings:
        return ()

    async def commit() -> tuple[Settled, float]:
        started = time.perf_counter()
        # Whatever is cancelled meanwhile, and bounded by the queue's own time-outs: a thread in
        # a transaction is never abandoned.
        with trio.CancelScope(shield=True):
            settled: Settled = await run_sync(queue.settle, report.encoded, endings)
        return settled, time.perf_counter() - started

    try:
        settled, took_s = await retry(commit)
    except BaseException:
        # A stop, or the patience, was over before the outage: they are still to be given back.
        assembly.in_flight.enter(ending.claim for ending in endings)
        raise
    tally.settled(endings, settled, took_s)
    return settled.events


async def beat(
    queue: Queue, run_sync: RunSync, retry: StorageRetry, in_flight: InFlight, tally: Tally
) -> None:
    """Renew the leases in flight, and say what the worker is doing."""

    async def say() -> bool:
        """Whether what was said is that the database is unavailable."""
        unavailable = retry.reason is not None
        await run_sync(queue.renew, in_flight.claims())
        await run_sync(queue.heartbeat, tally.snapshot(len(in_flight)))
        return unavailable

    # What was said when the outage ended is no longer true.
    while await retry(say) and retry.reason is None:
        pass
