"""Draining the queue in view of a person: here, or by following the process that embeds already."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass

import trio

from actors.fanout import Fanout, unchanged
from actors.messages import Statistics, WorkerState
from actors.pipeline import cause
from pyrite.cli.context import App
from pyrite.cli.output import note
from pyrite.cli.progress import Bar, Pace
from pyrite.embedding.leadership import Leadership
from pyrite.embedding.process import is_dead
from pyrite.embedding.service import EmbedStatus
from pyrite.embedding.worker import EmbeddingWorker, PausedError
from pyrite.errors import PyriteError
from pyrite.services.signals import open_stop_signals
from pyrite.storage.queue_records import Leader, QueueCounts, WorkerRow

#: How often the progress is shown, in seconds. The database is asked only if something happened.
_TICK_S = 0.25

#: By convention, a command that a signal has ended exits with this more than its number.
_SIGNAL_EXIT = 128

_WORDS = {
    WorkerState.STARTING: "starting",
    WorkerState.LOADING: "loading the model",
    WorkerState.PAUSED: "paused",
    WorkerState.STOPPING: "stopping",
}


class OtherModelError(PyriteError):
    """The process that embeds does so with another model than the settings name."""


@dataclass(frozen=True, slots=True)
class Drained:
    """How a drain ended."""

    #: Entries that became searchable meanwhile, whoever embedded them.
    embedded: int
    seconds: float
    #: The last process that was followed, if one was.
    followed: int | None = None
    #: Whether that one has the right to embed still.
    goes_on: bool = False
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

    def __init__(self, app: App, kb: str | None, bar: Bar, *, here: bool) -> None:
        self._app = app
        self._kb = kb
        self._bar = bar
        self._here = here
        self._leadership = Leadership(app.storage, app.settings.leadership_s)
        self._fanout = Fanout(
            app.storage,
            trio.to_thread.run_sync,
            unchanged,
            watch_s=app.settings.poll_interval_s,
        )
        self._worker: EmbeddingWorker | None = None
        self._following: trio.CancelScope | None = None
        self._told: set[str] = set()
        #: Entries that had ended when the progress was first looked at.
        self._ended_before: int | None = None
        self.embedded = 0
        self.followed: int | None = None
        self.signal: int | None = None

    @property
    def goes_on(self) -> bool:
        """Whether another process has the right to embed."""
        return self._leadership.leader is not None

    async def run(self) -> None:
        """Embed, or follow whoever embeds, until nothing is unfinished or a signal comes.

        Raises:
            PausedError: embedding is paused.
            OtherModelError: whoever embeds does so with another model.
            ModelError: the model cannot be found or loaded.
        """
        if self._app.settings.paused:
            raise PausedError("embedding is paused; `pyrite config set paused false` resumes it")
        async with trio.open_nursery() as nursery:
            await nursery.start(self._watch_signals)
            await nursery.start(self._fanout.run)
            await self._embed_or_follow()
            nursery.cancel_scope.cancel()

    async def _embed_or_follow(self) -> None:
        if self._here:
            await self._embed()
            return
        ended = False
        while not ended and self.signal is None:
            await self._leadership.try_acquire()
            if self._leadership.leads:
                lost = self._leadership.lost
                await self._leadership.hold(self._embed, self._stop_worker)
                ended = self._leadership.lost == lost
            else:
                ended = await self._follow()

    async def _embed(self) -> None:
        """Drain the queue in this process."""
        app = self._app
        self._worker = EmbeddingWorker(
            *(app.storage, app.encoder, app.settings),
            environ=os.environ,
            report=note,
            me=self._leadership.me,
            fanout=self._fanout,
        )
        if self.signal is not None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._show_progress, self._worker)
            statistics = await self._worker.process_queue(self._kb)
            nursery.cancel_scope.cancel()
        self.embedded += statistics.done
        self._worker = None

    def _stop_worker(self) -> None:
        if self._worker is not None:
            self._worker.stop()

    async def _watch_signals(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with open_stop_signals() as signals:
            task_status.started()
            async for number in signals:
                if self.signal is not None:
                    # Whatever was committed is durable, and the rest is still in the queue:
                    # its claims are freed by the next worker, which will find this one dead.
                    self._bar.stop()
                    os._exit(_SIGNAL_EXIT + number)
                self.signal = number
                if self._following is not None:
                    self._following.cancel()
                if self._worker is not None:
                    note("finishing the batch in progress; once more leaves at once")
                    self._worker.stop()

    async def _follow(self) -> bool:
        """Show how far another process is; False once this one has the right to embed itself."""
        done_before = None
        done, seen = 0, -1
        last: Leader | None = None
        # One for each time, since a scope can be entered once, and the right be lost often.
        with trio.CancelScope() as self._following:
            while self.signal is None:
                leader = await self._leadership.try_acquire()
                if self._leadership.leads:
                    break
                # Whatever the other process does or says of itself is a commit.
                if seen != self._fanout.commits:
                    seen = self._fanout.commits
                    status = await trio.to_thread.run_sync(self._app.embedding.status, self._kb)
                done = status.counts.done
                done_before = done if done_before is None else min(done, done_before)
                self._tell(leader, status.worker)
                last = leader
                if not status.counts.unfinished:
                    break
                self._show_status(status)
                await trio.sleep(_TICK_S)
        self.embedded += done - (done_before or 0)
        if self._leadership.leads and last is not None:
            await self._say_who_goes_on(last)
        return not self._leadership.leads

    async def _say_who_goes_on(self, last: Leader) -> None:
        """Say that this process embeds what the one that was followed has left, if there is any."""
        counts = await trio.to_thread.run_sync(self._app.storage.counts, self._kb)
        if counts.unfinished:
            went = "has ended" if is_dead(last) else "does not embed any more"
            note(f"process {last.pid} on {last.host} {went}: this one embeds now")

    def _tell(self, leader: Leader, worker: WorkerRow | None) -> None:
        """Say whom this follows, and what is in the way there.

        Raises:
            OtherModelError: it embeds with another model.
        """
        self.followed = leader.pid
        them = f"process {leader.pid} on {leader.host}"
        self._say_once(
            f"{them} embeds already: following it. Ctrl-C ends only that; --here embeds in this "
            "process as well."
        )
        if worker is None or worker.worker_id != leader.worker_id:
            return
        if worker.model != self._app.encoder.name:
            raise OtherModelError(
                f"{them} embeds with the model {worker.model}, and the settings name "
                f"{self._app.encoder.name}: restart that process, or stop it"
            )
        if worker.kb not in {None, self._kb}:
            self._say_once(f"{them} embeds only the knowledge base {worker.kb} until that is done")
        if worker.state == WorkerState.DEGRADED:
            self._say_once(f"{them} has no model and tries again: {worker.reason}")
        elif worker.state == WorkerState.PAUSED:
            self._say_once(f"{them} is paused: `pyrite config set paused false` resumes it")

    def _say_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            note(text)

    def _show_status(self, status: EmbedStatus) -> None:
        """Show what another process has told of itself."""
        worker = status.worker
        state = WorkerState.STARTING if worker is None else WorkerState(worker.state)
        pace = None
        if worker is not None and worker.tokens_per_s and status.time_left_s is not None:
            pace = Pace(f"{worker.tokens_per_s:,.0f} tokens/s", status.time_left_s)
        self._show(status.counts, state, pace)

    async def _show_progress(self, worker: EmbeddingWorker) -> None:
        """Show how far the worker in this process is."""
        with self._fanout.subscribe() as subscription:
            counts, waiting = await trio.to_thread.run_sync(self._look)
            waited = waiting
            while True:
                if worker.building is not None:
                    self._bar.show(*worker.building, "building the graph of neighbours")
                else:
                    self._show_worker(worker.statistics(), counts, waiting, waited)
                await trio.sleep(_TICK_S)
                if subscription.waiting:
                    await subscription.take()
                    counts, waiting = await trio.to_thread.run_sync(self._look)
                    waited = max(waited, waiting)

    def _show_worker(
        self, statistics: Statistics, counts: QueueCounts, waiting: int, waited: int
    ) -> None:
        """Show what the worker in this process does, and how fast.

        Args:
            statistics: its numbers.
            counts: how many entries stand where.
            waiting: characters of the texts that are not finished.
            waited: the most that these have been.
        """
        pace = None
        if statistics.characters_per_s:
            rate = f"{statistics.tokens_per_s:,.0f} tokens/s"
            # Of entries that are not finished, a part may have been encoded.
            begun = max(0, statistics.characters - (waited - waiting))
            pace = Pace(rate, max(0, waiting - begun) / statistics.characters_per_s)
        self._show(counts, statistics.state, pace)

    def _show(self, counts: QueueCounts, state: WorkerState, pace: Pace | None) -> None:
        """Count entries that have ended since the start against those that have not."""
        ended = counts.done + counts.failed
        before = self._ended_before
        self._ended_before = before = ended if before is None else min(before, ended)
        done = ended - before
        self._bar.show(done, done + counts.unfinished, _WORDS.get(state, "embedding"), pace)

    def _look(self) -> tuple[QueueCounts, int]:
        """How many entries stand where, and how long the texts are that still wait."""
        state = self._app.embedding.queue_state(self._kb)
        return state.counts, state.unfinished_characters


def drain(app: App, kb: str | None, *, quiet: bool, here: bool = False) -> Drained:
    """Embed what is queued, or see it being embedded, showing how far it is.

    Args:
        app: what it works with.
        kb: only this knowledge base.
        quiet: show nothing.
        here: embed in this process, even if another one does so already.

    Raises:
        PausedError: embedding is paused.
        OtherModelError: the process that embeds does so with another model.
        ModelError: the model cannot be found or loaded.
    """
    started = time.monotonic()
    with Bar("embedding", quiet=quiet) as bar:
        running = _Drain(app, kb, bar, here=here)
        try:
            trio.run(running.run)
        except BaseExceptionGroup as group:
            raise cause(group) from None
    return Drained(
        running.embedded,
        time.monotonic() - started,
        running.followed,
        running.goes_on,
        running.signal,
    )
