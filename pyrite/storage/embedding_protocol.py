"""The embeddings' part of the storage protocol: each text's vector once, by model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from pyrite.storage.records import EmbeddingState, Model, Passage


class Embeddings(Protocol):
    """Models, and the vectors that they have made."""

    def model(self, fingerprint: str, name: str) -> Model:
        """The model with that fingerprint, stored if it is new; that is its name from now on."""
        ...

    def models(self) -> list[Model]:
        """All models that have ever been used."""
        ...

    def known(self, model_id: int, digests: Collection[bytes]) -> dict[bytes, int]:
        """Which of these texts have been encoded, and their embeddings' numbers, from 1."""
        ...

    def embeddings(self, kb: str, entry_id: str) -> list[tuple[Passage, bytes]]:
        """An entry's passages in order, each with its embedding's bytes."""
        ...

    def embedding_state(self, model_id: int) -> EmbeddingState:
        """What a copy of the model's vectors has to agree with."""
        ...

    def embeddings_after(self, model_id: int, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Embeddings (number, float32 little-endian) with larger numbers, in their order."""
        ...

    def embeddings_by_id(self, model_id: int, ids: Collection[int]) -> list[tuple[int, bytes]]:
        """Those of the embeddings that there are, in order of their numbers."""
        ...

    def cached(self, model_id: int, after: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        """Embeddings (number, hash of the text, vector) with larger numbers, in their order."""
        ...

    def add_cached(self, model_id: int, vectors: Sequence[tuple[bytes, bytes]]) -> int:
        """Take in embeddings (hash of the text, vector); returns how many were new."""
        ...

    def collect_unused(self, *, now: float, unused_s: float, every_s: float = 0.0) -> int:
        """Delete embeddings that no entry has used for so long; returns how many.

        Deletes nothing while any entry is being embedded: its worker may be about to use one.
        Does nothing at all if it was done less than ``every_s`` ago.
        """
        ...
