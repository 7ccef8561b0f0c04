"""The embedding of what was just written, where no worker is running.

A live worker that serves this database embeds it, in this process or another, and the entry
stays queued for it. Where there is none (a command, an MCP server, a single request) it is
embedded at once, through the same claim and the same guarded end as the pipeline's. Whatever
comes in between, the write stands and the entry stays queued, and the caller is told why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from actors.lifecycle import Status
from actors.messages import WorkerState
from actors.ports import EncoderUnavailableError
from pyrite.errors import PyriteError
from pyrite.storage.records import Key
from pyrite.storage.sqlite.driver import sqlite3

if TYPE_CHECKING:
    from pyrite.config.settings import Settings
    from pyrite.embedding.service import EmbeddingService
    from pyrite.encoders.protocol import TextEncoder
    from pyrite.storage.protocol import Storage
    from pyrite.storage.queue_records import WorkerRow

#: How far each state is from being searchable by meaning, the furthest first.
_FURTHEST = (Status.FAILED, Status.PENDING, Status.PROCESSING, Status.DONE)

_LATER = "stays queued, and `pyrite index embed` or the next worker embeds it"


class Handling(StrEnum):
    """What is to be done about entries that were just written."""

    #: Nobody else will do it: embed them here and now.
    EMBED = "embed"
    #: The caller wanted them queued and no more.
    QUEUE = "queue"
    #: A worker that is alive does it.
    WORKER = "worker"
    #: Nothing is embedded while the setting says so.
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Decision:
    """How entries are handled, and what the caller should know of it."""

    handling: Handling
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """What became of entries that were written."""

    handling: Handling
    #: Where the embedding of each stands; one that was deleted meanwhile is left out.
    statuses: Mapping[Key, Status]
    #: Why they cannot all be found by meaning soon, in a sentence; None where they can.
    warning: str | None = None
    #: Whether the caller broke the embedding off.
    interrupted: bool = False

    @property
    def embedding(self) -> Status:
        """Where the one stands that is furthest from being searchable."""
        return min(self.statuses.values(), key=_FURTHEST.index, default=Status.DONE)


def decide(*, embed: bool, paused: bool, worker: WorkerRow | None) -> Decision:
    """What is to be done; pure.

    Args:
        embed: whether the caller wants it embedded if nobody else does it.
        paused: the setting of that name.
        worker: one that is alive and serves the whole database.
    """
    if not embed:
        return Decision(Handling.QUEUE)
    if paused:
        return Decision(
            Handling.PAUSED,
            "embedding is paused; it stays queued until `pyrite config set paused false`",
        )
    # A worker that is about to stop takes nothing more.
    if worker is None or worker.state == WorkerState.STOPPING:
        return Decision(Handling.EMBED)
    if worker.state == WorkerState.DEGRADED:
        reason = f": {worker.reason}" if worker.reason else ""
        return Decision(
            Handling.WORKER,
            f"it stays queued, for the worker that is running cannot use its model{reason}",
        )
    if worker.state == WorkerState.PAUSED:
        return Decision(
            Handling.WORKER, "it stays queued, for the worker that is running is paused"
        )
    return Decision(Handling.WORKER)


class Fallback:
    """Embeds entries that were just written, unless a worker will."""

    def __init__(
        self,
        storage: Storage,
        encoder: Callable[[], TextEncoder],
        embedding: EmbeddingService,
        settings: Callable[[], Settings],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Ask nothing yet.

        Args:
            storage: where the queue is.
            encoder: gives the encoder, which is made for the first entry that needs it.
            embedding: knows whether a worker is alive.
            settings: gives those in force.
            clock: the time since the epoch.
        """
        self._storage = storage
        self._encoder = encoder
        self._embedding = embedding
        self._settings = settings
        self._clock = clock

    def after(
        self, keys: Iterable[Key], *, embed: bool = True, between: Callable[[], None] | None = None
    ) -> WriteOutcome:
        """Embed entries, or leave them to a worker; several are embedded in one go.

        Ctrl-C in the midst of it breaks the embedding off and is no error: the write stands.

        Args:
            keys: entries that were written by one call.
            embed: False leaves them queued, whoever may embed them.
            between: called before each call of the encoder. What it raises passes through, and
                the entries stay queued.
        """
        keys = list(dict.fromkeys(keys))
        waiting = [key for key, status in self._statuses(keys).items() if status != Status.DONE]
        if not waiting:
            return WriteOutcome(Handling.QUEUE, self._statuses(keys))
        worker = self._embedding.live_worker() if embed else None
        decision = decide(embed=embed, paused=self._settings().paused, worker=worker)
        warning, interrupted = decision.warning, False
        if decision.handling is Handling.EMBED:
            try:
                warning = self._embed(waiting, between)
            except KeyboardInterrupt:
                warning, interrupted = f"embedding was interrupted; it {_LATER}", True
        return WriteOutcome(decision.handling, self._statuses(keys), warning, interrupted)

    def _embed(self, keys: list[Key], between: Callable[[], None] | None) -> str | None:
        """Embed them here; returns what went wrong, if anything did."""
        # Imported only here: the pipeline's parts are slow to import.
        from pyrite.embedding.embed_now import embed_now  # noqa: PLC0415

        try:
            refused = embed_now(
                *(self._storage, self._encoder(), self._settings(), self._clock, keys),
                between=between,
            )
        # What the database, the disk or the model refuses must not hide that the write stands.
        except (PyriteError, EncoderUnavailableError, sqlite3.Error, OSError) as error:
            return f"it could not be embedded; it {_LATER}: {error}"
        if not refused:
            return None
        (key, reason), *others = refused.items()
        who = "it" if len(keys) == 1 else f"{key[0]}/{key[1]}"
        more = f", nor could {len(others)} more" if others else ""
        after = "it stays queued for another attempt"
        if self._statuses([key]).get(key) is Status.FAILED:
            after = "`pyrite index embed --retry-failed` tries again"
        return f"{who} could not be embedded{more} ({reason}); {after}"

    def _statuses(self, keys: Iterable[Key]) -> dict[Key, Status]:
        """Where each of them stands now."""
        found = ((key, self._storage.entry(*key)) for key in keys)
        return {key: stored.embedding for key, stored in found if stored is not None}
