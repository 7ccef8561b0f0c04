"""The dimension of a model's stored embeddings, and the check that the model still has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrite.encoders.protocol import Expecting
from pyrite.errors import ModelError

if TYPE_CHECKING:
    from actors.messages import Vector
    from pyrite.encoders.protocol import TextEncoder
    from pyrite.neighbours.protocol import VectorSource
    from pyrite.storage.protocol import Storage
    from pyrite.storage.records import Model

#: Embeddings are stored as float32.
_BYTES = 4


def expect_stored(storage: Storage, encoder: TextEncoder, model: Model) -> None:
    """Tell the encoder what dimension the model's stored embeddings have, if it can use it."""
    if isinstance(encoder, Expecting):
        encoder.expect(dimension_of(storage, model.model_id))


def require_stored(storage: Storage, vector: Vector, model: Model) -> None:
    """Refuse a query that cannot be compared with the model's stored embeddings.

    Raises:
        ModelError: it has another dimension.
    """
    stored = dimension_of(storage, model.model_id)
    if stored not in {None, len(vector)}:
        raise ModelError(
            f"the model {model.name} gives vectors of {len(vector)} numbers, and its embeddings "
            f"have {stored}: it is another model under the same name"
        )


def dimension_of(source: VectorSource, model_id: int) -> int | None:
    """Components of a model's vectors; None where it has none yet."""
    first = source.embeddings_after(model_id, 0, 1)
    return len(first[0][1]) // _BYTES if first else None
