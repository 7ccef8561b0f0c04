"""The queue of one worker: claims with their texts split, under its name and lease."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property

from actors.lifecycle import RetryPolicy
from actors.messages import Chunk, Claim, Encoded, Span, Statistics, WorkerState
from actors.packing import BatchLimits
from actors.ports import (
    NO_OBSERVER,
    Claimed,
    Ending,
    Observer,
    Settled,
    StorageUnavailableError,
)
from pyrite.config.settings import DAY_S, Settings
from pyrite.embedding.process import Identity, identity, is_dead
from pyrite.encoders.protocol import TextEncoder
from pyrite.markdown.chunks import Splitter
from pyrite.neighbours.dimension import expect_stored
from pyrite.storage.protocol import ClaimRequest, Storage
from pyrite.storage.queue_records import DueEntry, WorkerRow
from pyrite.storage.records import Model

#: How often unused embeddings are searched for, which reads an index of all of them.
_COLLECT_EVERY_S = DAY_S


class WorkerQueue:
    """The pipeline's port to the storage; see :class:`actors.ports.Queue`."""

    def __init__(
        self,
        storage: Storage,
        encoder: TextEncoder,
        model: Model,
        settings: Settings,
        clock: Callable[[], float],
        *,
        kb: str | None = None,
        me: Identity | None = None,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        """Make a queue whose worker is not yet on record; see :func:`open_queue`."""
        self._storage = storage
        self._encoder = encoder
        self._model = model
        self._settings = settings
        self._policy = retry_policy(settings)
        self._kb = kb
        self._identity = me or identity()
        self._clock = clock
        self._observer = observer
        self._started_at = clock()
        #: Claims that nobody works on, and that could not be given back yet.
        self._unheld: list[Claim] = []

    @property
    def model_id(self) -> int:
        """The model whose embeddings this worker makes."""
        return self._model.model_id

    @cached_property
    def _splitter(self) -> Splitter:
        """Made for the first claim: an empty queue needs no tokenizer."""
        return Splitter(self._encoder.tokenizer(), self._encoder.window)

    def open(self) -> None:
        """Record this worker, and free what dead ones held, or an earlier one of its name.

        That one has stopped in an outage, when it could not give its claims back.
        """
        self.heartbeat(Statistics())
        dead = [w.worker_id for w in self._storage.workers() if is_dead(w)]
        freed = [self._identity.worker_id, *dead]
        if rescued := self._storage.rescue(freed, self._policy, now=self._clock()):
            self._observer.rescued(rescued)
        if dead:
            self._storage.retire(dead)

    def close(self) -> None:
        """Take this worker off the record."""
        self._release_unheld()
        self._storage.retire([self._identity.worker_id])

    def claim(self, limit: int, urgent: bool = False, *, entry_id: str | None = None) -> Claimed:
        """Claim due entries, or one entry that need not be due, and split their texts."""
        self._release_unheld()
        rows = self._storage.claim(
            ClaimRequest(
                worker_id=self._identity.worker_id,
                now=self._clock(),
                lease_s=self._settings.lease_s,
                policy=self._policy,
                limit=limit,
                kb=self._kb,
                entry_id=entry_id,
                urgent=urgent,
            )
        )
        if rows.rescued:
            self._observer.rescued(rows.rescued)
        try:
            claims = tuple(self._claims(rows.due))
        except BaseException:
            # Nobody holds them who could: a worker's own claims are never rescued by itself. What
            # made this fail may keep them from being released as well; then that is done later.
            self._unheld += [_claim(due, (), {}) for due in rows.due]
            with suppress(StorageUnavailableError):
                self._release_unheld()
            raise
        return Claimed(claims, rows.next_due_s, rows.unfinished)

    def _release_unheld(self) -> None:
        if self._unheld:
            self._storage.release(self._unheld)
            self._unheld = []

    def _claims(self, entries: Sequence[DueEntry]) -> Iterator[Claim]:
        """The claims with their layouts and those of their chunks that are not yet encoded."""
        split = [self._splitter.split(due) for due in entries]
        digests = {chunk.digest for pairs in split for _, chunk in pairs}
        known = self._storage.known(self._model.model_id, digests)
        for due, pairs in zip(entries, split, strict=True):
            yield _claim(due, pairs, known)

    def settle(self, encoded: Sequence[Encoded], endings: Sequence[Ending]) -> Settled:
        """Store embeddings and end claims in one transaction."""
        return self._storage.settle(self._model.model_id, encoded, endings, now=self._clock())

    def renew(self, claims: Sequence[Claim]) -> None:
        """Extend the leases of those claims that are still held."""
        if claims:
            self._storage.renew(claims, self._clock() + self._settings.lease_s)

    def release(self, claims: Sequence[Claim]) -> int:
        """Give claims back without charging an attempt."""
        return self._storage.release(claims)

    def heartbeat(self, statistics: Statistics) -> None:
        """Write a heartbeat; keep the feed within its bounds."""
        self._storage.beat(
            WorkerRow(
                worker_id=self._identity.worker_id,
                pid=self._identity.pid,
                host=self._identity.host,
                process_started=self._identity.process_started,
                started_at=self._started_at,
                heartbeat_at=self._clock(),
                state=statistics.state,
                reason=statistics.reason,
                model=self._model.name,
                tokens_per_s=statistics.tokens_per_s,
                characters_per_s=statistics.characters_per_s,
                kb=self._kb,
            )
        )
        self._storage.prune_events(self._settings.event_retention)
        if statistics.state == WorkerState.IDLE:
            self._storage.collect_unused(
                now=self._clock(),
                unused_s=self._settings.unused_days * DAY_S,
                every_s=_COLLECT_EVERY_S,
            )


def _claim(due: DueEntry, pairs: Sequence[tuple[Span, Chunk]], known: Mapping[bytes, int]) -> Claim:
    """The claim of an entry, given its chunks and the numbers of the embeddings there are."""
    by_digest = {chunk.digest: chunk for _, chunk in pairs}
    return Claim(
        kb=due.kb,
        entry_id=due.entry_id,
        revision=due.revision,
        token=due.token,
        attempt=due.attempt,
        queued_at=due.queued_at,
        priority=due.priority,
        layout=tuple(span for span, _ in pairs),
        missing=tuple(
            chunk
            for digest, chunk in by_digest.items()
            if known.get(digest, 0) <= due.renew_through
        ),
        renew_through=due.renew_through,
    )


def batch_limits(settings: Settings, encoder: TextEncoder) -> BatchLimits:
    """What the settings say of batches and, where they leave it open, the encoder."""
    best = encoder.call_limits
    return BatchLimits(settings.batch_texts or best.texts, settings.batch_tokens or best.tokens)


def retry_policy(settings: Settings) -> RetryPolicy:
    """What the settings say of retries."""
    return RetryPolicy(settings.max_attempts, settings.retry_base_s, settings.retry_cap_s)


def open_queue(
    storage: Storage,
    encoder: TextEncoder,
    settings: Settings,
    clock: Callable[[], float],
    kb: str | None = None,
    me: Identity | None = None,
    observer: Observer = NO_OBSERVER,
) -> WorkerQueue:
    """The queue of a new worker, with the entries of other models queued for this one.

    Args:
        storage: where the queue is.
        encoder: makes the embeddings.
        settings: how it is worked off.
        clock: the time since the epoch.
        kb: only the entries of this knowledge base.
        me: the worker's name, where it has one already.
        observer: is told what was rescued.

    Raises:
        ModelError: the model cannot be found, or is not what it should be.
    """
    model = storage.model(encoder.fingerprint(), encoder.name)
    expect_stored(storage, encoder, model)
    # In this order: another worker may finish entries in between.
    done = storage.counts(kb).done
    if storage.counts(kb, model_id=model.model_id).done < done:
        storage.reembed(kb, now=clock(), force=False, other_than=model.model_id)
    queue = WorkerQueue(storage, encoder, model, settings, clock, kb=kb, me=me, observer=observer)
    queue.open()
    return queue
