"""The queue for those who run no worker: its status, its failures, one entry embedded at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from pyrite.config.settings import DAY_S, Settings
from pyrite.embedding.process import is_dead
from pyrite.encoders.protocol import TextEncoder
from pyrite.errors import NotFoundError
from pyrite.storage.protocol import Storage
from pyrite.storage.queue_records import Failure, LastError, QueueCounts, QueueState, WorkerRow
from pyrite.storage.records import NO_MODEL, StoredEntry


@dataclass(frozen=True, slots=True)
class EmbedStatus:
    """Where the embedding of the knowledge bases stands."""

    counts: QueueCounts
    #: The newest error that no success has followed.
    last_error: LastError | None
    #: Seconds since the entry that has waited longest was queued; None when none waits.
    oldest_pending_age_s: float | None
    #: Share of entries that wait for no embedding, from 0 to 1; 1 when there are none.
    coverage: float
    #: The model that the settings name.
    model: str
    #: The worker that does it, if one is alive.
    worker: WorkerRow | None
    #: How long that worker will take for what waits, from the length of the texts and its rate
    #: over the last minute; None where nothing waits or no rate is known.
    time_left_s: float | None


def model_name(model: str) -> str:
    """What to call a model that may be given as a folder."""
    is_folder = Path(model).is_absolute() or model.startswith((".", "~"))
    return Path(model).name if is_folder else model


def coverage(counts: QueueCounts) -> float:
    """The share that is done, rounded down: 1 only where nothing is missing."""
    return counts.done * 10_000 // counts.total / 10_000 if counts.total else 1.0


def model_in_use(storage: Storage, name: str) -> int:
    """The number of the model of that name, the latest of several; `NO_MODEL` where it is new.

    The fingerprint would tell them apart, but finding it out may take reading the model's files.
    """
    return max((m.model_id for m in storage.models() if m.name == name), default=NO_MODEL)


class EmbeddingService:
    """The status of the queue, and commands to it; loads no model."""

    def __init__(
        self, storage: Storage, settings: Settings, clock: Callable[[], float] = time.time
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._clock = clock

    def status(self, kb: str | None = None) -> EmbedStatus:
        """The queue's state, of everything or of one knowledge base."""
        state = self.queue_state(kb)
        oldest, waiting = state.oldest_pending, state.unfinished_characters
        worker = self._worker(kb)
        rate = 0.0 if worker is None else worker.characters_per_s
        return EmbedStatus(
            counts=state.counts,
            last_error=state.last_error,
            oldest_pending_age_s=None if oldest is None else max(0.0, self._clock() - oldest),
            coverage=coverage(state.counts),
            model=self._settings.model,
            worker=worker,
            time_left_s=waiting / rate if waiting and rate else None,
        )

    def live_worker(self) -> WorkerRow | None:
        """A worker that embeds whatever is written, if one is alive.

        One that was told to embed a single knowledge base, or a single entry, does not count.
        """
        return next((each for each in self._live_workers() if each.kb is None), None)

    def _worker(self, kb: str | None) -> WorkerRow | None:
        """Of those that are alive, the worker that the entries in question wait for.

        It is one that embeds them all, if there is one, and among several the one that has the
        right to.
        """
        # Whoever had it last, if nobody has it now.
        leader = self._storage.leader()
        leading = None if leader is None else leader.worker_id
        return min(
            self._live_workers(),
            key=lambda each: (each.kb not in {None, kb}, each.worker_id != leading),
            default=None,
        )

    def _live_workers(self) -> list[WorkerRow]:
        """Those that are not known to be dead and have not long been silent, last heard first."""
        now, lease_s = self._clock(), self._settings.lease_s
        # A heartbeat of the future is from before the clock was set back: it tells nothing.
        return [
            worker
            for worker in self._storage.workers()
            if abs(now - worker.heartbeat_at) < lease_s and not is_dead(worker)
        ]

    def counts(self, kb: str | None = None) -> QueueCounts:
        """How many entries stand where with the model in use: the count that people see."""
        return self._storage.counts(kb, model_id=self._model_in_use())

    def queue_state(self, kb: str | None = None) -> QueueState:
        """The same, with how long what waits is, since when, and the newest error."""
        kbs = () if kb is None else (kb,)
        return self._storage.queue_state(kbs, model_id=self._model_in_use())

    def _model_in_use(self) -> int:
        return model_in_use(self._storage, self._settings.model)

    def failures(self, kb: str | None = None, limit: int | None = None) -> list[Failure]:
        """Entries that could not be embedded, newest first."""
        return self._storage.failures(kb, limit)

    def retry_failed(
        self, kb: str | None = None, entry_ids: Collection[str] | None = None
    ) -> list[tuple[str, str]]:
        """Queue failed entries again, all or those named.

        Raises:
            NotFoundError: one of those named has not failed; then none is queued.
        """
        if entry_ids is not None:
            failed = {failure.entry_id for failure in self._storage.failures(kb)}
            unknown = sorted(set(entry_ids) - failed)
            if unknown:
                message = f"{unknown[0]!r} is not among the failed entries"
                raise NotFoundError(
                    f"{message}; `pyrite index embed --failed` lists them", public=message
                )
        return self._storage.retry_failed(kb, entry_ids, now=self._clock())

    def reembed(self, kb: str | None = None) -> int:
        """Queue every entry to be encoded afresh; returns how many."""
        return self._storage.reembed(kb, now=self._clock(), force=True, other_than=None)

    def collect_unused(self, *, everything: bool = False) -> int:
        """Delete embeddings that no entry has used for long, or at all; returns how many."""
        unused_s = 0.0 if everything else self._settings.unused_days * DAY_S
        return self._storage.collect_unused(now=self._clock(), unused_s=unused_s)

    def embed_entry(self, encoder: TextEncoder, kb: str, entry_id: str) -> StoredEntry:
        """Embed one entry now, through the same claim and the same guarded end as a worker's.

        An entry that another worker holds, or that is embedded already, is left as it is.
        Interrupted at any point, it stays queued.

        Returns:
            The entry as it is afterwards; its ``embedding`` says what became of it.

        Raises:
            NotFoundError: there is no such entry.
            ModelError: the model cannot be found or loaded; the entry stays queued.
        """
        # Imported only here: the pipeline's parts are slow to import, and status must be instant.
        from pyrite.embedding.embed_now import embed_now  # noqa: PLC0415

        embed_now(self._storage, encoder, self._settings, self._clock, [(kb, entry_id)])
        stored = self._storage.entry(kb, entry_id)
        if stored is None:
            raise NotFoundError(f"there is no entry {entry_id!r} in {kb!r}")
        return stored
