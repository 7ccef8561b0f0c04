"""Seeing that a model which may change unseen still is the one that the embeddings are of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrite.encoders.protocol import Expecting
from pyrite.errors import ModelError

if TYPE_CHECKING:
    from actors.messages import Vector
    from pyrite.encoders.protocol import TextEncoder
    from pyrite.storage.protocol import Storage
    from pyrite.storage.records import Model

#: Embeddings are stored as float32.
_BYTES = 4


def expect_stored(storage: Storage, encoder: TextEncoder, model: Model) -> None:
    """Tell the encoder what dimension the model's stored embeddings have, if it can use it."""
    if isinstance(encoder, Expecting):
        encoder.expect(_stored(storage, model))


def require_stored(storage: Storage, vector: Vector, model: Model) -> None:
    """See that a query can be compared with the model's stored embeddings.

    Raises:
        ModelError: it has another dimension.
    """
    stored = _stored(storage, model)
    if stored not in {None, len(vector)}:
        raise ModelError(
            f"the model {model.name} gives vectors of {len(vector)} numbers, and its embeddings "
            f"have {stored}: it is another model under the same name"
        )


def _stored(storage: Storage, model: Model) -> int | None:
    first = storage.embeddings_after(model.model_id, 0, 1)
    return len(first[0][1]) // _BYTES if first else None
