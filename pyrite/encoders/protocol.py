"""What the product asks of an encoder beyond what the pipeline does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from actors.messages import Vector
from actors.packing import BatchLimits
from actors.ports import Encoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class TextEncoder(Encoder, Protocol):
    """An encoder that can say which model it is before it has loaded it."""

    @property
    def name(self) -> str:
        """The model's name, for people."""
        ...

    @property
    def window(self) -> int:
        """How many tokens of a text the model reads, special ones included."""
        ...

    def tokenizer(self) -> Tokenizer:
        """What makes the model's tokens of a text; needs no model to be loaded.

        Raises:
            ModelError: the model cannot be found, or has no tokenizer that can be used alone.
        """
        ...

    def fingerprint(self) -> str:
        """What tells this model's embeddings from any other's.

        Raises:
            ModelError: the model cannot be found, or is not what it should be.
        """
        ...

    @property
    def call_limits(self) -> BatchLimits:
        """How large the calls are that encode fastest, as far as is known before it is loaded."""
        ...

    def set_threads(self, threads: int) -> None:
        """Encode with so many threads from now on; what is loaded is unloaded for it.

        0 leaves it to the encoder.
        """
        ...

    def encode_query(self, text: str) -> Vector:
        """The embedding of a search query: float32, shape (dimension,), unit length.

        Raises:
            ModelError: the model cannot be loaded.
        """
        ...
