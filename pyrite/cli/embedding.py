"""Draining the queue in view of a person: the progress bar, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass

import trio

from actors.messages import Statistics, WorkerState
from actors.pipeline import cause
from pyrite.cli.context import App
from pyrite.cli.output import note
from pyrite.cli.progress import Bar, Pace
from pyrite.services.embedding_worker import EmbeddingWorker
from pyrite.storage.records import QueueCounts

#: How often the progress is looked at, in seconds.
_TICK_S = 0.2

#: By convention, a command that a signal has ended exits with this more than its number.
_SIGNAL_EXIT = 128

_WORDS = {
    WorkerState.STARTING: "starting",
    WorkerState.LOADING: "loading the model",
    WorkerState.PAUSED: "paused",
    WorkerState.STOPPING: "stopping",
}


@dataclass(frozen=True, slots=True)
class Drained:
    """How a drain ended."""

    statistics: Statistics
    seconds: float
    #: The signal that stopped it, if one did.
    signal: int | None = None

    @property
    def stopped_by(self) -> str | None:
        """The signal's name."""
        return None if self.signal is None else signal.Signals(self.signal).name

    @property
    def exit_code(self) -> int:
        """0, or what a command stopped by the signal exits with."""
        return 0 if self.signal is None else _SIGNAL_EXIT + self.signal

    def leave(self) -> None:
        """End the process with the signal's exit code, without waiting for any thread."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(self.exit_code)


class _Drain:
    """One drain and those who watch it."""

    def __init__(self, app: App, kb: str | None, bar: Bar) -> None:
        self._app = app
        self._kb = kb
        self._bar = bar
        self._worker = EmbeddingWorker(
            app.storage, app.encoder, app.settings, environ=os.environ, report=note
        )
        self.signal: int | None = None

    async def run(self) -> Statistics:
        async with trio.open_nursery() as nursery:
            await nursery.start(self._watch_signals)
            nursery.start_soon(self._show_progress)
            statistics = await self._worker.process_queue(self._kb)
            nursery.cancel_scope.cancel()
        return statistics

    async def _watch_signals(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                if self.signal is not None:
                    # Whatever was committed is durable, and the rest is still in the queue:
                    # its claims are freed by the next worker, which will find this one dead.
                    self._bar.stop()
                    os._exit(_SIGNAL_EXIT + number)
                self.signal = number
                note("finishing the batch in progress; once more leaves at once")
                self._worker.stop()

    async def _show_progress(self) -> None:
        """Count entries that have ended since the start against those that have not."""
        base = None
        waited = 0
        while True:
            if self._worker.building is not None:
                self._bar.show(*self._worker.building, "building the graph of neighbours")
                await trio.sleep(_TICK_S)
                continue
            counts, waiting = await trio.to_thread.run_sync(self._look)
            ended = counts.done + counts.failed
            base = ended if base is None else min(base, ended)
            waited = max(waited, waiting)
            statistics = self._worker.statistics()
            text = _WORDS.get(statistics.state, "embedding")
            pace = None
            if statistics.characters_per_s:
                rate = f"{statistics.tokens_per_s:,.0f} tokens/s"
                # Of entries that are not finished, a part may have been encoded.
                begun = max(0, statistics.characters - (waited - waiting))
                pace = Pace(rate, max(0, waiting - begun) / statistics.characters_per_s)
            self._bar.show(ended - base, ended - base + counts.unfinished, text, pace)
            await trio.sleep(_TICK_S)

    def _look(self) -> tuple[QueueCounts, int]:
        """How many entries stand where, and how long the texts are that still wait."""
        storage = self._app.storage
        return storage.counts(self._kb), storage.unfinished_characters(self._kb)


def drain(app: App, kb: str | None, *, quiet: bool) -> Drained:
    """Embed what is queued, showing how far it is.

    Raises:
        ModelError: the model cannot be found or loaded.
    """
    started = time.monotonic()
    with Bar("embedding", quiet=quiet) as bar:
        running = _Drain(app, kb, bar)
        try:
            statistics = trio.run(running.run)
        except BaseExceptionGroup as group:
            raise cause(group) from None
    return Drained(statistics, time.monotonic() - started, running.signal)
