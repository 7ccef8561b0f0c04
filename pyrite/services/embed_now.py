"""Embedding one entry in the caller's thread, as a worker would, but without a pipeline."""

from __future__ import annotations

from collections.abc import Callable

from actors.embedder import refusal
from actors.in_flight import InFlight
from actors.messages import Claim, Encoded, Report
from actors.packing import BatchLimits, Window
from actors.ports import EncoderUnavailableError
from actors.reporter import Assembly
from pyrite.config import Settings
from pyrite.encoders.protocol import TextEncoder
from pyrite.services.worker_queue import batch_limits, open_queue, retry_policy
from pyrite.storage.protocol import Storage


def embed_now(
    storage: Storage,
    encoder: TextEncoder,
    settings: Settings,
    clock: Callable[[], float],
    key: tuple[str, str],
) -> None:
    """Claim the entry (knowledge base, id), encode it, and end the claim; nothing if it is held.

    Raises:
        ModelError: the model cannot be found or loaded; the entry stays queued.
    """
    kb, entry_id = key
    queue = open_queue(storage, encoder, settings, clock, kb)
    try:
        storage.retry_failed(kb, [entry_id], now=clock())
        for claim in queue.claim(1, entry_id=entry_id).claims:
            try:
                report = encode(claim, encoder, batch_limits(settings, encoder))
                held = InFlight()
                held.enter([claim])
                endings = Assembly(held, retry_policy(settings), clock).take(report)
                queue.settle(report.encoded, endings)
            except BaseException:
                # Changes nothing where the claim has ended already.
                queue.release([claim])
                raise
    finally:
        queue.close()


def encode(claim: Claim, encoder: TextEncoder, limits: BatchLimits) -> Report:
    """Encode what a claim lacks; an error of the text becomes its refusal.

    Raises:
        ModelError: the model cannot be found or loaded.
    """
    if not claim.missing:
        return Report(ready=(claim,))
    window = Window(limits, capacity=len(claim.missing))
    window.add([claim])
    encoded: list[Encoded] = []
    while window:
        pieces = window.take().pieces
        try:
            vectors = encoder.encode([piece.chunk.text for piece in pieces])
        except EncoderUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an encoder raises is the text's failure
            # All pieces are of one entry, so it does not matter which of them is at fault.
            return Report(encoded=tuple(encoded), refused=(refusal(pieces[0], error),))
        # Fewer vectors than texts would be a bug of the encoder's: it must not pass for a loss.
        encoded += (Encoded(p, v) for p, v in zip(pieces, vectors, strict=True))
    return Report(encoded=tuple(encoded))
