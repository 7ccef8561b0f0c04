"""The embedder: the only actor that touches the model.

A batch that fails is halved until the text at fault stands alone; its neighbours succeed.
If it is the model that is at fault, nobody is charged: the embedder says that it is degraded,
waits, and goes on with the same batch.

When no batch has come for long, it has the encoder give back its memory; the next batch loads
again.

It works in lanes, each with a batch of its own: as many as the encoder does well with. While
one call ends or is being prepared, another keeps the processors busy.

On a stop it finishes the batches in progress. Batches reach it through a channel without a
buffer, so what it has not received has not been started.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import trio

from actors.messages import Batch, Encoded, Piece, Refused, Report, StateChange, WorkerState
from actors.ports import Encoder, EncoderUnavailableError, RefusedTextError, RunSync
from actors.retry import Patience

#: However short the rest, the encoder is looked at no more often than this, in seconds.
_SHORTEST_REST_S = 0.05


class Rest:
    """How long the embedder waits for a batch before the memory is given back; can be changed.

    Attributes:
        state: what the worker is said to be doing afterwards.
    """

    def __init__(self, unload_s: float = math.inf) -> None:
        self.state = WorkerState.IDLE
        self._unload_s = unload_s
        self._since = 0.0
        self._waiting: trio.CancelScope | None = None

    def tune(self, unload_s: float) -> None:
        """Wait for so many seconds, the present wait included; infinity is for ever."""
        self._unload_s = unload_s
        if self._waiting is not None:
            self._waiting.deadline = self._until()

    def begin(self) -> trio.CancelScope:
        """A scope that is left when the rest, which begins now, has been long enough."""
        self._since = trio.current_time()
        self._waiting = trio.CancelScope(deadline=self._until())
        return self._waiting

    def _until(self) -> float:
        return self._since + max(self._unload_s, _SHORTEST_REST_S)


@dataclass
class Work:
    """One batch in progress: what is still to be encoded, and what came of the rest."""

    #: A stack of groups, each to be encoded in one call.
    groups: list[tuple[Piece, ...]]
    encoded: list[Encoded] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    #: How long this batch has been in the encoder.
    took_s: float = 0.0


class Meter:
    """Time in which the encoder works, which calls side by side share."""

    def __init__(self) -> None:
        self._calls = 0
        self._since = 0.0
        self._spent_s = 0.0

    @property
    def runs(self) -> bool:
        """Whether a call is under way."""
        return self._calls > 0

    def begin(self, now: float) -> None:
        """A call begins."""
        if not self._calls:
            self._since = now
        self._calls += 1

    def end(self, now: float) -> None:
        """A call ends."""
        self._spent_s += now - self._since
        self._since = now
        self._calls -= 1

    def take(self) -> float:
        """The seconds since they were last taken, up to the last end of a call."""
        spent, self._spent_s = self._spent_s, 0.0
        return spent


async def embedder(
    batches: trio.MemoryReceiveChannel[Batch],
    reports: trio.MemorySendChannel[Report | StateChange],
    *,
    encoder: Encoder,
    run_sync: RunSync,
    stopping: trio.Event,
    patience: Patience,
    rest: Rest,
    asked: trio.Semaphore,
) -> None:
    """Encode batch after batch until they end, or until a stop finds the model away.

    ``asked`` is released once for each batch that could be taken.

    Raises:
        EncoderUnavailableError: the model stayed away for longer than the patience.
    """
    with batches, reports:
        lanes = Lanes(batches, reports, encoder, run_sync, stopping, patience, rest, asked)
        await lanes.run()


@dataclass
class Lanes:
    """What encodes one batch after another, several times over."""

    batches: trio.MemoryReceiveChannel[Batch]
    reports: trio.MemorySendChannel[Report | StateChange]
    encoder: Encoder
    run_sync: RunSync
    stopping: trio.Event
    patience: Patience
    rest: Rest
    asked: trio.Semaphore
    meter: Meter = field(default_factory=Meter)

    def __post_init__(self) -> None:
        self._open: set[int] = set()
        self._unavailable: EncoderUnavailableError | None = None

    async def run(self) -> None:
        """Run the first lane, which opens others; returns when all have ended.

        Raises:
            EncoderUnavailableError: the model stayed away for longer than the patience.
        """
        async with trio.open_nursery() as self._nursery:
            self._open_lanes(1)
        # Out of the nursery, which would have put it into a group, with another lane's perhaps.
        if self._unavailable is not None:
            raise self._unavailable

    def _open_lanes(self, count: int) -> None:
        for number in set(range(count)) - self._open:
            self._open.add(number)
            self._nursery.start_soon(self._lane, number)

    async def _lane(self, number: int) -> None:
        # How many do well is known once the model is loaded, and may change when it is again.
        while not number or number < self.encoder.concurrency:
            self.asked.release()
            batch = await (self._next() if number == 0 else receive(self.batches))
            if batch is None:
                break
            try:
                await self._embed(batch)
            except EncoderUnavailableError as error:
                self._unavailable = error
                self._nursery.cancel_scope.cancel()
        self._open.discard(number)

    async def _next(self) -> Batch | None:
        """The next batch, or None if none will come; meanwhile unload what has rested for long."""
        while True:
            with self.rest.begin():
                return await receive(self.batches)
            # Somebody else may have had it loaded again since the last look.
            if self.encoder.ready and not self.meter.runs:
                await self.run_sync(self.encoder.unload, abandon_on_cancel=True)
                await self.reports.send(StateChange(self.rest.state))

    async def _embed(self, batch: Batch) -> None:
        """Encode a batch, however often that has to be tried, and report it.

        Raises:
            EncoderUnavailableError: the model stayed away for longer than the patience.
        """
        work = Work([batch.pieces] if batch.pieces else [])
        tried = 0
        while work.groups and not (tried and self.stopping.is_set()):
            try:
                if not self.encoder.ready:
                    await self.reports.send(StateChange(WorkerState.LOADING))
                    if not await load_unless_stopping(self.encoder, self.run_sync, self.stopping):
                        break
                self._open_lanes(self.encoder.concurrency)
                await self.reports.send(StateChange(WorkerState.ENCODING))
                await encode(work, self.encoder, self.run_sync, self.meter)
            except EncoderUnavailableError as error:
                tried += 1
                if tried >= self.patience.tries:
                    raise
                await self.reports.send(StateChange(WorkerState.DEGRADED, str(error)))
                with trio.move_on_after(self.patience.delay(tried)):
                    await self.stopping.wait()
        done = tuple(work.encoded), tuple(work.refused)
        await self.reports.send(Report(*done, batch.ready, self.meter.take(), work.took_s))


async def receive(batches: trio.MemoryReceiveChannel[Batch]) -> Batch | None:
    """The next batch, or None if none will come."""
    try:
        return await batches.receive()
    except trio.EndOfChannel:
        return None


async def load_unless_stopping(encoder: Encoder, run_sync: RunSync, stopping: trio.Event) -> bool:
    """Load the model; False if a stop came first, and loading was left to itself.

    Raises:
        EncoderUnavailableError: it cannot be loaded.
    """

    async def cancel_on_stop() -> None:
        await stopping.wait()
        nursery.cancel_scope.cancel()

    loaded = False
    unavailable = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_on_stop)
        try:
            await run_sync(encoder.load, abandon_on_cancel=True)
            loaded = True
        except EncoderUnavailableError as error:
            unavailable = error
        nursery.cancel_scope.cancel()
    if unavailable is not None:
        raise unavailable
    return loaded


async def encode(work: Work, encoder: Encoder, run_sync: RunSync, meter: Meter) -> None:
    """Encode the groups one by one, halving those that fail.

    Raises:
        EncoderUnavailableError: the group in question is still on the stack.
    """
    while work.groups:
        group = work.groups[-1]
        started = time.perf_counter()
        meter.begin(started)
        try:
            # Abandoned only when the grace period of a stop is over: a call that hangs must
            # not keep the process alive.
            texts = list(dict.fromkeys(piece.chunk.text for piece in group))
            vectors = await run_sync(encoder.encode, texts, abandon_on_cancel=True)
        except EncoderUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an encoder raises is that text's failure
            work.groups.pop()
            work.groups.extend(halves(group))
            if len(group) == 1:
                work.refused.append(refusal(group[0], error))
        else:
            work.groups.pop()
            # Fewer vectors than texts would be a bug of the encoder's: it must not pass for a loss.
            by_text = dict(zip(texts, vectors, strict=True))
            work.encoded.extend(Encoded(piece, by_text[piece.chunk.text]) for piece in group)
        finally:
            ended = time.perf_counter()
            meter.end(ended)
            work.took_s += ended - started


def halves(group: tuple[Piece, ...]) -> list[tuple[Piece, ...]]:
    """The group's two halves, to be stacked so that the first is encoded first; none of one."""
    middle = len(group) // 2
    return [group[middle:], group[:middle]] if middle else []


def refusal(piece: Piece, error: Exception) -> Refused:
    """The encoder's error as a value."""
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Refused(piece, reason, retryable=not isinstance(error, RefusedTextError))
