"""Embedding entries in the caller's thread, as a worker would, but without a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from actors.embedder import halves, refusal
from actors.in_flight import InFlight
from actors.messages import Claim, Encoded, Piece, Refused, Report
from actors.packing import BatchLimits, Window
from actors.ports import EncoderUnavailableError
from actors.reporter import Assembly
from pyrite.config.settings import Settings
from pyrite.embedding.queue import WorkerQueue, batch_limits, open_queue, retry_policy
from pyrite.encoders.protocol import TextEncoder
from pyrite.storage.protocol import Storage
from pyrite.storage.records import Key


def embed_now(
    storage: Storage,
    encoder: TextEncoder,
    settings: Settings,
    clock: Callable[[], float],
    keys: Iterable[Key],
    *,
    between: Callable[[], None] | None = None,
) -> dict[Key, str]:
    """Claim the entries, encode them together, and end the claims; what others hold is left.

    Args:
        storage: where the queue is.
        encoder: makes the embeddings.
        settings: how it is done.
        clock: the time since the epoch.
        keys: the entries.
        between: called before each call of the encoder. What it raises stops the work; what was
            claimed is given back.

    Returns:
        Why an entry could not be embedded, for those that could not.

    Raises:
        ModelError: the model cannot be found or loaded; the entries stay queued.
    """
    refused: dict[Key, str] = {}
    ids: dict[str, list[str]] = {}
    for kb, entry_id in dict.fromkeys(keys):
        ids.setdefault(kb, []).append(entry_id)
    for kb, wanted in ids.items():
        queue = open_queue(storage, encoder, settings, clock, kb)
        try:
            storage.retry_failed(kb, wanted, now=clock())
            # No more at a time than can be done while the lease lasts.
            for first in range(0, len(wanted), settings.claim_limit):
                some = wanted[first : first + settings.claim_limit]
                report = _embed(queue, encoder, settings, clock, some, between)
                refused |= {(kb, each.piece.claim.entry_id): each.error for each in report.refused}
        finally:
            queue.close()
    return refused


def _embed(
    queue: WorkerQueue,
    encoder: TextEncoder,
    settings: Settings,
    clock: Callable[[], float],
    ids: Sequence[str],
    between: Callable[[], None] | None,
) -> Report:
    """Claim these entries, encode them, and end the claims."""
    claims: list[Claim] = []
    try:
        for entry_id in ids:
            claims += queue.claim(1, entry_id=entry_id).claims
        report = encode(claims, encoder, batch_limits(settings, encoder), between)
        held = InFlight()
        held.enter(claims)
        endings = Assembly(held, retry_policy(settings), clock).take(report)
        queue.settle(report.encoded, endings)
    except BaseException:
        # Changes nothing where the claim has ended already.
        queue.release(claims)
        raise
    return report


def encode(
    claims: Sequence[Claim],
    encoder: TextEncoder,
    limits: BatchLimits,
    between: Callable[[], None] | None = None,
) -> Report:
    """Encode what the claims lack; an error of a text becomes the refusal of its claim alone.

    Raises:
        ModelError: the model cannot be found or loaded.
    """
    window = Window(limits, capacity=sum(len(claim.missing) for claim in claims))
    window.add(claims)
    encoded: list[Encoded] = []
    refused: dict[str, Refused] = {}
    ready: list[Claim] = []
    while window:
        batch = window.take()
        ready += batch.ready
        groups = [batch.pieces]
        while groups:
            group = tuple(piece for piece in groups.pop() if piece.claim.token not in refused)
            if not group:
                continue
            if between is not None:
                between()
            try:
                encoded += _encoded(group, encoder)
            except _TextError as error:
                if len({piece.claim.token for piece in group}) > 1:
                    groups += halves(group)
                else:
                    # All are of one entry, so it does not matter which of them is at fault.
                    refused[group[0].claim.token] = refusal(group[0], error.cause)
    return Report(tuple(encoded), tuple(refused.values()), tuple(ready))


class _TextError(Exception):
    """An encoder could not encode a text."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _encoded(group: Sequence[Piece], encoder: TextEncoder) -> list[Encoded]:
    """The pieces with their vectors, each text encoded once."""
    texts = list(dict.fromkeys(piece.chunk.text for piece in group))
    try:
        vectors = encoder.encode(texts)
    except EncoderUnavailableError:
        raise
    except Exception as error:
        raise _TextError(error) from error
    # Fewer vectors than texts would be a bug of the encoder's: it must not pass for a loss.
    by_text = dict(zip(texts, vectors, strict=True))
    return [Encoded(piece, by_text[piece.chunk.text]) for piece in group]
